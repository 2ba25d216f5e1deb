"""Parts of a run, read shard by shard and checked: memory does not grow with the number of shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import InputError, reason
from pipeline.run.folder import COMMIT, part_name
from pipeline.run.store import Store
from pipeline.schema import TABLES


def shard_tables(
    store: Store, example_columns: Sequence[str], table: str = "", columns: Sequence[str] = ()
) -> Iterator[tuple[str, pa.Table, pa.Table | None]]:
    """Per finished shard, in order of the keys: (key, its examples, its part of ``table`` or None)."""
    there = store.keys_of(table) if table else frozenset()
    for key in sorted(store.done):
        examples = _read_part(store, part_name(COMMIT, key), example_columns)
        yield key, examples, _read_part(store, part_name(table, key), columns) if key in there else None


def _read_part(store: Store, name: str, columns: Sequence[str]) -> pa.Table:
    (path,), filesystem = store.files.arrow([name])
    expected = TABLES[name.partition("/")[0]]
    try:
        with pq.ParquetFile(path, filesystem=filesystem) as part:
            columns_there = part.schema_arrow
            for column in columns:
                position = columns_there.get_field_index(column)
                if position < 0 or columns_there.field(position).type != expected.field(column).type:
                    is_ = "missing" if position < 0 else f"of type {columns_there.field(position).type}"
                    raise InputError(
                        f"{path}: column {column!r} is {is_}, expected {expected.field(column).type}; "
                        "the parts of one run must agree: remove this part and run again to make it anew"
                    )
            return part.read(columns=list(columns), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path}: not a readable Parquet file ({reason(error)}); remove it and run again to make it anew"
        ) from None
