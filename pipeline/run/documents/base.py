"""What all documents of a run folder have in common: how they are read, checked and written.

What is read is untrusted: a document is checked as a whole, strictly, before anything of it is used. Fields
that a run folder written by an earlier version has not yet are optional.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import TypeAdapter, ValidationError

from pipeline.errors import InputError
from pipeline.json_text import parse_json
from pipeline.run.folder import INVENTORY, RunFolder
from pipeline.run.hashes import HASH, bytes_hash, hashed, is_altered
from pipeline.run.inventory import ShardsSeen

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Document:
    """A JSON file of a run folder, named ``FILE``; the command ``MADE_BY`` writes it.

    ``TABLE``: the file beside it that says the same or more, where there is one; ``OF_SHARDS``: it is
    computed from the stored parts, and no longer holds when these are others.

    Attributes:
        run_id, shards: the run, and what of it was finished when it was computed.
        table_sha256: of the table's bytes; sha256: of the content (:mod:`pipeline.run.hashes`).
            All are None in folders written before there were any.
    """

    FILE: ClassVar[str]
    MADE_BY: ClassVar[str]
    TABLE: ClassVar[str] = ""
    OF_SHARDS: ClassVar[bool] = True

    # two documents are equal when they say the same, wherever they lie
    run_id: str | None = field(default=None, compare=False)
    shards: ShardsSeen | None = field(default=None, compare=False)
    table_sha256: str | None = field(default=None, compare=False)
    sha256: str | None = field(default=None, compare=False)

    @classmethod
    def read(cls, run: RunFolder) -> Self | None:
        """The document of ``run``; None where it has none. Raises :class:`InputError` for a faulty one."""
        raw = run.files.get(cls.FILE)
        return None if raw is None else cls.parse(raw, f"{run.path}/{cls.FILE}")

    @classmethod
    def current(cls, run: RunFolder) -> Self | None:
        """As :meth:`read`, but None also for one that is of another run, or of other parts than lie there."""
        document = cls.read(run)
        return None if document is None or document.misfit(run) else document

    @classmethod
    def parse(cls, raw: bytes | str, where: str) -> Self:
        """Check and read ``raw``. Raises :class:`InputError`: place, what was received, what is valid."""
        try:
            document = TypeAdapter(cls).validate_json(raw, strict=True)
        except ValidationError as error:
            fault = error.errors()[0]
            again = f"was it edited? Remove it, and `{cls.MADE_BY}` writes it again"
            if fault["type"] == "json_invalid":
                raise InputError(f"{where}: not valid JSON ({fault['ctx']['error']}); {again}") from None
            place = ".".join(map(str, fault["loc"])) or "content"
            received = repr(fault["input"])
            received = received if len(received) <= 60 else received[:57] + "..."
            raise InputError(f"{where}: {place}: {fault['msg']} (received {received}); {again}") from None
        if is_altered(parse_json(raw, where)):
            raise InputError(
                f"{where}: its content is not what `{cls.MADE_BY}` wrote ({HASH}); was it edited? "
                "Remove it, and the same command writes it again"
            )
        return document

    def misfit(self, run: RunFolder) -> str | None:
        """Why this does not belong to ``run`` as it is, if so."""
        manifest = run.manifest
        if self.run_id not in (None, manifest["run_id"]):
            return f"is of run {self.run_id}, this is run {manifest['run_id']}"
        if self.sha256 is None and manifest.get(INVENTORY):
            return f"carries no {HASH}"
        if self.shards is None:
            return None
        present = ShardsSeen.of(run)
        if self.shards.n != present.n:
            return f"is of {self.shards.n} finished shards, the run has {present.n}"
        if self.shards != present:
            return f"is of {present.n} other shards than the {present.n} finished ones of the run"
        return None

    def content(self) -> dict[str, Any]:
        """What is written, JSON-ready, without :data:`pipeline.run.hashes.HASH`."""
        about = ("run_id", "shards", "table_sha256", HASH)
        content = asdict(self)
        said = {name: content.pop(name) for name in about}
        return content | {name: value for name, value in said.items() if value is not None and name != HASH}

    def text(self) -> str:
        """The file's content."""
        return json.dumps(hashed(self.content()), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def write(self, run: RunFolder, name: str = "", table: str = "") -> None:
        """Write it into ``run``, and which run that is where this does not say so yet.

        Its table is written before. ``name``, ``table``: other names than ``FILE`` and ``TABLE``.
        """
        document = self
        if run.exists:
            shards = self.shards or (ShardsSeen.of(run) if self.OF_SHARDS else None)
            document = replace(self, run_id=self.run_id or run.manifest["run_id"], shards=shards)
        if raw := run.files.get(table or self.TABLE) if table or self.TABLE else None:
            document = replace(document, table_sha256=bytes_hash(raw))
        run.files.put(name or self.FILE, document.text().encode())


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON-ready dictionaries: undefined and infinite values become None."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [
        {str(k): None if isinstance(v, float) and math.isinf(v) else v for k, v in row.items()}
        for row in rows
    ]
