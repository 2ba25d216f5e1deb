"""Many small parts become few large ones: neighbouring finished shards are merged, their rows stay.

A merged shard is a shard like any other, with a key, an inventory and parts. The manifest, one file that is
replaced whole, says at every moment which ones count:

1. ``superseded`` names the merged shard: what lies there of it does not count yet;
2. its inventory and parts are written, ``examples`` last;
3. the manifest plans it in place of those that it was merged from, which are ``superseded`` now;
4. their parts are removed, and ``superseded`` is empty again.

Whatever happens in between, readers see each row once, and :func:`compact` goes on: it first removes what is
superseded. Inventories of merged shards name what they were merged from, so that documents that were computed
before still fit (:class:`pipeline.run.inventory.ShardsSeen`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipeline.errors import InputError
from pipeline.inputs.shards import parse_key
from pipeline.run.folder import COMMIT, inventory_name, part_name
from pipeline.run.inventory import sources_of
from pipeline.run.manifest import SUPERSEDED
from pipeline.run.parts import Parts
from pipeline.run.store import Store
from pipeline.schema import TABLES

LEAST, USUAL, MOST = 32, 128, 256  # MB of a merged shard's largest part
_MB = 1_000_000


@dataclass(frozen=True)
class Compaction:
    """What was done: finished shards before and after, bytes of the largest part, and of all parts."""

    before: int
    after: int
    largest: int
    total: int


def check_size(megabytes: int) -> None:
    """Raises :class:`InputError` for parts that would be small still, or too large to be read whole."""
    if not LEAST <= megabytes <= MOST:
        raise InputError(f"size {megabytes} MB: valid are {LEAST} to {MOST} MB for a shard's largest part")


def compact(run: Store, most: int = USUAL * _MB) -> Compaction:
    """Merge neighbours for as long as no part gets more than ``most`` bytes.

    Memory: the parts of one merged shard, decoded. Space: as much again as that shard's parts.

    Raises:
        InputError: another process writes the run, a part is not what was written, or there is no space.
    """
    with run.lock_existing():
        _remove_superseded(run)
        parts = Parts.whole(run)
        before = len(parts.keys)
        for keys in list(_groups(parts, most)):
            _merge(run, parts, keys)
        parts = Parts.whole(run)
        sizes = [parts.contents.size(table, key) or 0 for table in TABLES for key in parts.keys]
        return Compaction(before, len(parts.keys), max(sizes, default=0), sum(sizes))


def _groups(parts: Parts, most: int) -> Iterator[list[str]]:
    """Two or more finished shards that follow one another in the plan and fit into one."""
    group: list[str] = []
    sums = dict.fromkeys(TABLES, 0)
    for key in [*parts.contents.manifest["shards"], None]:
        finished = key is not None and key in parts.contents.done
        own = (
            {t: parts.contents.size(t, key) or 0 if parts.has(t, key) else 0 for t in TABLES}
            if finished
            else {}
        )
        fits = finished and max(sums[t] + own[t] for t in TABLES) <= most
        if not fits or not _same_tables(parts, group, key):
            if len(group) > 1:
                yield group
            group, sums = [], dict.fromkeys(TABLES, 0)
        if finished:
            group.append(key)
            sums = {t: sums[t] + own[t] for t in TABLES}


def _same_tables(parts: Parts, group: Sequence[str], key: str) -> bool:
    """A part that one of them lacks would be missing from a part of the merged shard."""
    return not group or all(parts.has(t, group[0]) == parts.has(t, key) for t in TABLES)


def _merge(run: Store, parts: Parts, keys: Sequence[str]) -> str:
    """Merge the shards of ``keys`` into one; returns its key."""
    first, last = parse_key("", keys[0]), parse_key("", keys[-1])
    merged = f"{first.split}-{first.start:09d}-{last.stop:09d}"
    _supersede(run, [merged])
    tables = {t: _joined(parts, t, keys, merged) for t in TABLES if parts.has(t, keys[0])}
    sources: dict[str, str] = {}
    for key in keys:
        sources |= sources_of(key, parts.contents.inventory(key))
    run.write_shard(merged, tables, sources)
    manifest, gone = run.manifest, set(keys)
    planned = [merged if key == keys[0] else key for key in manifest["shards"] if key not in gone - {keys[0]}]
    run.put_manifest(manifest | {"shards": planned, SUPERSEDED: list(keys)})
    _remove_superseded(run)
    return merged


def _joined(parts: Parts, table: str, keys: Sequence[str], merged: str) -> pa.Table:
    """The rows of all parts, one below the other."""
    pieces = [parts.table(table, key, TABLES[table].names) for key in keys]
    joined = pa.concat_tables([TABLES[table].empty_table(), *(p for p in pieces if p is not None)])
    joined = joined.replace_schema_metadata(None).unify_dictionaries().combine_chunks()
    if table == COMMIT:
        field = TABLES[table].field("shard")
        name = pa.DictionaryArray.from_arrays(pa.array([0] * len(joined), pa.int32()), pa.array([merged]))
        joined = joined.set_column(joined.column_names.index("shard"), field, name)
    return joined


def _supersede(run: Store, keys: Sequence[str]) -> None:
    """From now on the parts of these shards do not count; of none, if there are none."""
    manifest = {name: value for name, value in run.manifest.items() if name != SUPERSEDED}
    run.put_manifest(manifest | ({SUPERSEDED: list(keys)} if keys else {}))


def _remove_superseded(run: Store) -> None:
    """Remove what does not count any more, and say so."""
    keys = run.manifest.get(SUPERSEDED) or []
    for key in keys:
        for table in TABLES:
            run.files.remove(part_name(table, key))
        run.files.remove(inventory_name(key))
    if keys:
        _supersede(run, [])
