"""The parts of a run's finished shards, each checked before anything of it is used.

A part is read whole: its bytes are compared with the shard's inventory, then its pages with their checksums,
its metadata with the run, its columns with :mod:`pipeline.schema`, the rows of ``examples`` with the shard's
key. Memory holds the bytes of one part at a time, however many shards there are. A part that was merged from
many has millions of rows: it is decoded piece by piece (:meth:`Parts.pieces`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NoReturn, Self, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import InputError, reason
from pipeline.inputs.shards import parse_key
from pipeline.run.folder import COMMIT, RunFolder, part_name
from pipeline.run.inventory import Contents, Fault, altered
from pipeline.schema import TABLES, columns_of

_Rows = TypeVar("_Rows", pa.Table, pa.RecordBatch)
FAULTY = (pa.ArrowException, OSError, ValueError, OverflowError)  # what pyarrow raises for spoilt files


class Parts:
    """The parts of ``run``, as it is now; ``keys``: its finished shards, in order."""

    def __init__(self, run: RunFolder, contents: Contents | None = None) -> None:
        self.run = run
        self.contents = contents or Contents(run)
        self.keys = sorted(self.contents.done)

    @classmethod
    def whole(cls, run: RunFolder) -> Self:
        """Those of a run none of whose finished shards lacks a part, or is a stranger's.

        Raises :class:`InputError`.
        """
        parts = cls(run)
        for fault in parts.contents.faults():
            parts._refuse(fault)
        return parts

    def has(self, table: str, key: str) -> bool:
        """Whether a shard has a part of ``table``.

        One that its inventory does not name was left by a process that died before it finished the shard.
        """
        if self.contents.size(table, key) is None:
            return False
        return self.contents.inventory(key) is None or self.contents.record(table, key) is not None

    def raw(self, table: str, key: str) -> bytes | None:
        """The checked bytes of a part; None where its shard has none. Raises :class:`InputError`."""
        if not self.has(table, key):
            return None
        raw = self.run.files.get(part_name(table, key))
        fault = self.fault(table, key, raw)
        if fault is not None:
            self._refuse(fault)
        return raw

    def table(self, table: str, key: str, columns: Sequence[str]) -> pa.Table | None:
        """Columns of a part; None where its shard has none. Raises :class:`InputError`."""
        raw = self.raw(table, key)
        if raw is None:
            return None
        try:
            part = open_parquet(raw).read(columns=list(columns), use_threads=False)
            return _completed(part, table, columns)
        except FAULTY as error:
            self._refuse(unreadable(table, key, error))

    def pieces(self, table: str, key: str, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """The same, decoded ``rows`` at a time; nothing where its shard has none.

        Raises :class:`InputError`.
        """
        raw = self.raw(table, key)
        if raw is None:
            return
        batches = open_parquet(raw).iter_batches(rows, columns=list(columns), use_threads=False)
        try:
            for batch in batches:
                yield _completed(batch, table, columns)
        except FAULTY as error:
            self._refuse(unreadable(table, key, error))

    def fault(self, table: str, key: str, raw: bytes | None) -> Fault | None:
        """What is wrong with the bytes of a part, before its pages are decoded."""
        name = part_name(table, key)
        if raw is None:
            return Fault(name, "is missing", "a part of every table for a finished shard", key)
        record = self.contents.record(table, key)
        if altered(raw, record):
            return Fault(name, "its content is not what was written", "that of its inventory", key)
        try:
            part = open_parquet(raw)
            schema, rows, metadata = part.schema_arrow, part.metadata.num_rows, part.metadata.metadata or {}
        except FAULTY as error:
            return unreadable(table, key, error)
        received, expected = self._misfit(table, key, schema, rows, metadata)
        return Fault(name, received, expected, key) if received else None

    def _misfit(
        self, table: str, key: str, schema: pa.Schema, rows: int, metadata: dict[bytes, bytes]
    ) -> tuple[str, str]:
        """What a part is and what it should be, both empty where it fits."""
        manifest = self.contents.manifest
        own = {b"schema_version": str(manifest["schema_version"]), b"run_id": manifest["run_id"]}
        for name, value in own.items():
            received = metadata.get(name, value.encode()).decode("utf-8", "replace")
            if received != value:
                return f"{name.decode().replace('_', ' ')} {received}", value
        expected = columns_of(table, manifest["schema_version"])
        if not schema.equals(expected, check_metadata=False):
            return _difference(schema, expected)
        record = self.contents.record(table, key)
        planned = len(parse_key("", key)) if table == COMMIT else record.rows if record else rows
        return (f"has {rows} rows", f"{planned}") if rows != planned else ("", "")

    def _refuse(self, fault: Fault) -> NoReturn:
        raise InputError(
            f"{self.run.path}/{fault}; `hansaudit verify {self.run.path} --repair` drops this shard, "
            "then the same run makes it anew"
        )


def shard_tables(
    run: RunFolder, example_columns: Sequence[str], table: str = "", columns: Sequence[str] = ()
) -> Iterator[tuple[str, pa.Table, pa.Table | None]]:
    """Per finished shard, in order of the keys: (key, its examples, its part of ``table`` or None)."""
    parts = Parts.whole(run)
    for key in parts.keys:
        examples = parts.table(COMMIT, key, example_columns)
        assert examples is not None
        yield key, examples, parts.table(table, key, columns) if table else None


def shard_pieces(
    run: RunFolder, example_columns: Sequence[str], table: str, columns: Sequence[str], rows: int
) -> Iterator[tuple[str, pa.Table, Iterator[pa.RecordBatch]]]:
    """:func:`shard_tables`, with the part of ``table`` as up to ``rows`` of its rows at a time."""
    parts = Parts.whole(run)
    for key in parts.keys:
        examples = parts.table(COMMIT, key, example_columns)
        assert examples is not None
        yield key, examples, parts.pieces(table, key, columns, rows)


def open_parquet(raw: bytes) -> pq.ParquetFile:
    """A part, the one way it is opened: pages that do not fit their checksum are an error."""
    return pq.ParquetFile(pa.BufferReader(raw), page_checksum_verification=True)


def _completed(part: _Rows, table: str, columns: Sequence[str]) -> _Rows:
    """``part`` with all ``columns``, in their order: those that came with a later version are null."""
    for name in columns:
        if name not in part.schema.names:
            field = TABLES[table].field(name)
            part = part.append_column(field, pa.nulls(part.num_rows, field.type))
    return part.select(columns)


def unreadable(table: str, key: str, error: Exception) -> Fault:
    return Fault(part_name(table, key), f"not a readable Parquet file ({reason(error)})", "one", key)


def _difference(received: pa.Schema, expected: pa.Schema) -> tuple[str, str]:
    for name in expected.names:
        position = received.get_field_index(name)
        if position < 0:
            return f"column {name!r} is missing", f"{expected.field(name).type}"
        types = received.field(position).type, expected.field(name).type
        if types[0] != types[1]:
            return f"column {name!r} is of type {types[0]}", f"{types[1]}"
    return f"columns {', '.join(received.names)}", ", ".join(expected.names)
