"""What all documents of a run folder have in common: how they are read, checked and written.

What is read is untrusted: a document is checked as a whole, strictly, before anything of it is used. Fields
that a run folder written by an earlier version has not yet are optional.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import TypeAdapter, ValidationError

from pipeline.errors import InputError
from pipeline.run.folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Document:
    """A JSON file of a run folder, named ``FILE``; the command ``MADE_BY`` writes it."""

    FILE: ClassVar[str]
    MADE_BY: ClassVar[str]

    @classmethod
    def read(cls, run: RunFolder) -> Self | None:
        """The document of ``run``; None where it has none. Raises :class:`InputError` for a faulty one."""
        raw = run.files.get(cls.FILE)
        return None if raw is None else cls.parse(raw, f"{run.path}/{cls.FILE}")

    @classmethod
    def parse(cls, raw: bytes | str, where: str) -> Self:
        """Check and read ``raw``. Raises :class:`InputError`: place, what was received, what is valid."""
        try:
            return TypeAdapter(cls).validate_json(raw, strict=True)
        except ValidationError as error:
            fault = error.errors()[0]
            again = f"was it edited? Remove it, and `{cls.MADE_BY}` writes it again"
            if fault["type"] == "json_invalid":
                raise InputError(f"{where}: not valid JSON ({fault['ctx']['error']}); {again}") from None
            place = ".".join(map(str, fault["loc"])) or "content"
            received = repr(fault["input"])
            received = received if len(received) <= 60 else received[:57] + "..."
            raise InputError(f"{where}: {place}: {fault['msg']} (received {received}); {again}") from None

    def content(self) -> dict[str, Any]:
        """What is written, JSON-ready."""
        return asdict(self)

    def text(self) -> str:
        """The file's content."""
        return json.dumps(self.content(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def write(self, run: RunFolder, name: str = "") -> None:
        """Write it into ``run`` (under another ``name`` than ``FILE`` if one is given)."""
        run.files.put(name or self.FILE, self.text().encode())


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON-ready dictionaries: undefined and infinite values become None."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [
        {str(k): None if isinstance(v, float) and math.isinf(v) else v for k, v in row.items()}
        for row in rows
    ]
