"""Tables whose parts belong to blocks of classes, each of one run, its shards and its settings.

A part is there, whole, or it is not. Its name ends with a hash of what it is made of (the run, the settings,
the images of its classes), its metadata say of which finished shards: a part of others counts as missing.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterator, Mapping
from hashlib import sha256
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import InputError, reason
from pipeline.run.folder import RunFolder, part_key, part_name
from pipeline.run.inventory import Fault, ShardsSeen
from pipeline.run.parts import FAULTY, open_parquet

MADE_BY = "hansaudit run"


def block_key(name: str, of: Mapping[str, Any]) -> str:
    """Key of the part ``name`` that is made of ``of``, JSON-ready."""
    text = json.dumps(of, sort_keys=True, separators=(",", ":"))
    return f"{name}-{sha256(text.encode()).hexdigest()[:16]}"


class BlockParts:
    """The parts of one such table of ``run``, a run folder as it is now.

    Attributes:
        TABLE, SCHEMA: the table's folder and columns.
        FURTHER: what keys begin with of parts that are no block of the run's own stage; empty: none are.
        keys: of all parts that lie there, sorted.
    """

    TABLE: ClassVar[str]
    SCHEMA: ClassVar[pa.Schema]
    FURTHER: ClassVar[str] = ""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.keys = sorted(key for name in run.files.names(self.TABLE) if (key := part_key(name)) is not None)
        self._belongs = {"run_id": run.manifest["run_id"], "shards": ShardsSeen.of(run).sha256}

    def write(self, key: str, rows: pa.Table, about: Mapping[str, str]) -> None:
        """Write the part ``key``, whole or not at all.

        ``about``: goes into its metadata: ``passes``, the forward passes that it took, and ``settings``.

        Raises:
            InputError: no space or no right to write.
        """
        sink = io.BytesIO()
        table = rows.cast(self.SCHEMA).replace_schema_metadata(self._belongs | dict(about))
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
        self.run.files.put(part_name(self.TABLE, key), sink.getvalue())

    def usable(self) -> dict[str, pa.Table]:
        """Key -> rows, of the parts that are whole and of the run's finished shards."""
        tables = {key: self._opened(key)[0] for key in self.keys}
        return {key: table for key, table in tables.items() if table is not None}

    def drop_others(self, planned: Collection[str], settings: str) -> None:
        """Remove the blocks that are not ``planned``, and further parts that cannot be used or are of other
        ``settings``."""
        for key in self.keys:
            table, _ = self._opened(key)
            further = bool(self.FURTHER) and key.startswith(self.FURTHER) and table is not None
            if key not in planned and not (further and said(table, "settings") == settings):
                self.run.files.remove(part_name(self.TABLE, key))

    def faults(self) -> Iterator[Fault]:
        """What is wrong with the parts; those of other shards are left to be made again."""
        for key in self.keys:
            fault = self._opened(key)[1]
            if fault is not None and fault.made_by:
                yield fault

    def read(self) -> pa.Table | None:
        """All rows of the parts that count; None where there are none.

        Raises:
            InputError: a part cannot be used.
        """
        for fault in self.faults():
            raise InputError(
                f"{self.run.path}/{fault}; `hansaudit verify {self.run.path} --repair` drops this part, the "
                "same `hansaudit run` makes it again"
            )
        return self.rows_of(self.keys) if self.usable() else None

    def rows_of(self, keys: Collection[str]) -> pa.Table:
        """The rows of the usable parts among ``keys``."""
        pieces = [t.replace_schema_metadata(None) for key, t in self.usable().items() if key in keys]
        return pa.concat_tables([self.SCHEMA.empty_table(), *pieces]).unify_dictionaries()

    @property
    def passes(self) -> int:
        """Forward passes that the parts took."""
        return sum(_passes(table) for table in self.usable().values())

    def passes_of(self, keys: Collection[str]) -> int:
        """Those that the parts of ``keys`` took."""
        return sum(_passes(table) for key, table in self.usable().items() if key in keys)

    def _opened(self, key: str) -> tuple[pa.Table | None, Fault | None]:
        """The rows of a part, with its metadata; or why it does not count: without ``made_by`` it is whole,
        but of other shards of the run."""
        name = part_name(self.TABLE, key)
        try:  # reading decodes all pages, and compares their checksums
            table = open_parquet(self.run.files.get(name) or b"").read(use_threads=False)
        except FAULTY as error:
            return None, Fault(name, f"cannot be read ({reason(error)})", "a whole part", made_by=MADE_BY)
        if not table.schema.equals(self.SCHEMA, check_metadata=False):
            expected = ", ".join(self.SCHEMA.names)
            return None, Fault(name, "has other columns", expected, made_by=MADE_BY)
        run_id, own = said(table, "run_id"), self._belongs["run_id"]
        if run_id != own:
            return None, Fault(name, f"belongs to run {run_id}", f"run {own}", made_by=MADE_BY)
        if said(table, "shards") != self._belongs["shards"]:
            return None, Fault(name, "is of other shards", "the finished ones of the run")
        return table, None


def _passes(table: pa.Table) -> int:
    return int(said(table, "passes") or 0)


def said(table: pa.Table | None, name: str) -> str:
    """A value of a part's metadata; empty where it says nothing."""
    metadata = (table.schema.metadata if table is not None else None) or {}
    return metadata.get(name.encode(), b"").decode("utf-8", "replace")
