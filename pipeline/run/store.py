"""A run on disk: one Parquet part per shard and table, and a manifest.

A shard is there, whole, or it is not: its ``examples`` part is written last and is the commit mark. Resuming
is therefore :meth:`Store.missing`, whatever happened to the process that wrote before.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipeline.config import AFTERWARDS, Config
from pipeline.errors import InputError, reason
from pipeline.inputs.shards import parse_key
from pipeline.run.folder import CHOICE, COMMIT, MANIFEST, RunFolder, part_name
from pipeline.run.hashes import bytes_hash, hashed
from pipeline.run.inventory import Contents, Inventory, PartRecord
from pipeline.run.parts import Parts, open_parquet
from pipeline.run.preflight import KEY, Preflight
from pipeline.run.provenance import Provenance, continued, differing, manifest_of
from pipeline.schema import TABLES, columns_of

_FORMAT = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True)
)


@dataclass
class Session:
    """One process at work on the run: what it did and how long it took."""

    # to the microsecond: it tells sessions apart, and a killed one may be followed within a second
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="microseconds"))
    ended: str | None = None
    images: int = 0
    seconds: float = 0.0
    setup_seconds: float = 0.0  # reading and compiling the model, before the first image
    # seconds until each step before the first shard was done: see pipeline.run.start_up
    start_up: dict[str, float] = field(default_factory=dict)
    # seconds by stage, and what was forecast for them: see pipeline.run.costs
    spent: dict[str, float] = field(default_factory=dict)
    forecast: list[dict[str, Any]] = field(default_factory=list)
    busy: dict[str, float] = field(default_factory=dict)  # seconds inside the audit: see pipeline.busy
    traffic: dict[str, Any] = field(default_factory=dict)  # what object stores were asked for the images
    at_once: int = 0  # images that a device's memory held, where that were fewer than asked for
    finished_before: int = 0  # images that earlier sessions had finished


class Store(RunFolder):
    """A run folder with its tables, read and written."""

    # -- the manifest

    def open_or_create(self, config: Config, provenance: Provenance) -> dict[str, Any]:
        """Begin a run, or go on with the same one. Call it inside :meth:`lock`.

        What follows the audit (ranking, follow-ups) may be asked for differently each time: the manifest
        says what was asked last, and the run's own ranking is made by that.

        Raises:
            InputError: the folder holds a run of another configuration, dataset or model (what differs is
                listed, field by field), or other things than a run.
        """
        new = manifest_of(config, provenance)
        if not self.exists:
            self._refuse_strangers()
            self.put_manifest(new)
            return new
        old = self.manifest
        self._refuse_differences(old, new)
        afterwards = {name: new["config"][name] for name in AFTERWARDS if name != "execution"}
        current = old | {"config": old["config"] | afterwards}
        if current != old:
            self.put_manifest(current)
        return current

    def settled(self, config: Config) -> Config:
        """``config``, with the method that this run chose when it began, where the choice is left open."""
        return continued(config, self.manifest) if self.exists else config

    def refuse_other(self, config: Config, fingerprint: str | None) -> None:
        """As :meth:`open_or_create` would, as far as it can be told without the model; changes nothing.

        ``fingerprint``: of the dataset, where it is known already.
        Raises:
            InputError: the folder holds another run, or other things than a run.
        """
        if not self.exists:
            self._refuse_strangers()
            return
        old = self.manifest
        config = continued(config, old)
        data = {"fingerprint": fingerprint} if fingerprint else {}
        self._refuse_differences(
            old, old | {"config": config.model_dump(mode="json"), "dataset": old["dataset"] | data}
        )

    def _refuse_strangers(self) -> None:
        strangers = [name for name in self.files.names("") if name != CHOICE] + self.files.names(COMMIT)
        if strangers:  # a choice is written just before the manifest
            raise InputError(
                f"{self.path}: holds other files ({', '.join(strangers[:3])}) but no {MANIFEST}; "
                "choose an empty or new folder"
            )

    def _refuse_differences(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        if differences := differing(old, new):
            raise InputError(
                f"{self.path}: holds another run; choose another folder, or the same settings:\n"
                + "\n".join(differences)
            )

    def note(self, preflight: Preflight) -> None:
        """Note in the manifest what was seen before the first image."""
        self.put_manifest(self.manifest | {KEY: preflight.to_dict()})

    def record(self, session: Session) -> None:
        """Note a session in the manifest; the same one (by its start) is replaced."""
        manifest = self.manifest
        others = [s for s in manifest["sessions"] if s["started"] != session.started]
        self.put_manifest(manifest | {"sessions": [*others, asdict(session)]})

    def end(self, session: Session) -> None:
        """Note that ``session`` is over."""
        session.ended = _now()
        self.record(session)

    def put_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write it in place of the one that is there. Call it inside :meth:`lock`."""
        self.files.put(MANIFEST, json.dumps(hashed(manifest), indent=1, ensure_ascii=False).encode())

    # -- writing

    def lock(self) -> AbstractContextManager[None]:
        """Context in which nobody else writes this run. Raises :class:`InputError` when one already does."""
        return self.files.lock()

    def lock_existing(self) -> AbstractContextManager[None]:
        """:meth:`lock` of a run that is there: what is no run gets no folder and no lock file."""
        _ = self.manifest  # raises InputError where there is none
        return self.files.lock()

    def write_shard(
        self, key: str, tables: Mapping[str, pa.Table], sources: Mapping[str, str] | None = None
    ) -> None:
        """Write the inventory of one shard, then its parts, each whole or not at all, ``examples`` last.

        ``sources``: the shards that it was merged from, as in :class:`Inventory`.

        Raises:
            InputError: no space or no right to write (nothing already written is touched), or ``examples``
                has not the rows that the key names.
            ValueError: a table is unknown, has not its schema, or ``examples`` is missing.
        """
        _check_tables(key, tables)
        manifest = self.manifest
        metadata = _file_metadata(manifest)
        parts = {
            name: parquet_bytes(
                table.select(columns_of(name, manifest["schema_version"]).names).replace_schema_metadata(
                    metadata
                )
            )
            for name, table in tables.items()
        }
        records = {
            name: PartRecord(tables[name].num_rows, len(p), bytes_hash(p)) for name, p in parts.items()
        }
        Inventory(manifest["run_id"], records, dict(sources or {})).write(self, key)
        for name in sorted(parts, key=lambda n: n == COMMIT):
            self.files.put(part_name(name, key), parts[name])

    def write_side_table(self, name: str, table: pa.Table) -> None:
        """Write a table of one file, such as :data:`~pipeline.run.folder.CLUSTERS_TABLE`."""
        self.files.put(name, parquet_bytes(table))

    # -- reading

    def missing(self) -> tuple[str, ...]:
        """Keys of the planned shards that are not finished, in order.

        One that lacks a part, or has one of another size than its inventory says, is not.
        """
        contents = Contents(self)
        planned = contents.manifest["shards"]
        return tuple(k for k in planned if k not in contents.done or contents.shard_faults(k))

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables that have parts."""
        return tuple(name for name in TABLES if self.files.names(name))

    def scan(
        self, table: str, columns: Sequence[str] | None = None, filter: pc.Expression | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Stream a table, in order of the shards; memory does not grow with their number.

        Parts of unfinished shards are left out. A table without parts yields nothing.

        Raises:
            InputError: unknown table or column, or a part that is not what it should be.
        """
        schema = _known_columns(table, columns)
        parts = Parts.whole(self)
        for key in parts.keys:
            raw = parts.raw(table, key)
            if raw is None:
                continue
            scanner = _FORMAT.make_fragment(pa.py_buffer(raw)).scanner(
                schema=schema,
                columns=None if columns is None else list(columns),
                filter=filter,
                batch_size=65_536,
            )
            try:
                yield from scanner.to_batches()
            except (pa.ArrowException, OSError) as error:
                name = part_name(table, key)
                raise InputError(f"{self.path}/{name}: cannot be read: {reason(error)}") from None

    def read(
        self, table: str, columns: Sequence[str] | None = None, filter: pc.Expression | None = None
    ) -> pa.Table:
        """A whole table (or what ``filter`` leaves of it) with unified dictionaries."""
        batches = list(self.scan(table, columns, filter))
        schema = TABLES[table]
        if columns is not None:
            schema = pa.schema([schema.field(c) for c in columns])
        return pa.Table.from_batches(batches, schema).unify_dictionaries()

    def read_side_table(self, name: str) -> pa.Table | None:
        """A table of one file; None where there is none. Raises :class:`InputError` for a faulty one."""
        raw = self.files.get(name)
        try:
            return None if raw is None else open_parquet(raw).read()
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{self.path}/{name}: not a readable Parquet file ({reason(error)}); "
                "remove it to have it made again"
            ) from None


def _known_columns(table: str, columns: Sequence[str] | None) -> pa.Schema:
    """The schema of ``table``. Raises :class:`InputError` for one that there is not, and for columns."""
    if table not in TABLES:
        raise InputError(f"table {table!r} is unknown; tables: {', '.join(TABLES)}")
    schema = TABLES[table]
    if unknown := [c for c in columns or () if c not in schema.names]:
        raise InputError(f"table {table!r} has no column {unknown[0]!r}; it has {', '.join(schema.names)}")
    return schema


def _check_tables(key: str, tables: Mapping[str, pa.Table]) -> None:
    if COMMIT not in tables:
        raise ValueError(f"shard {key}: no {COMMIT!r} table; received {sorted(tables)}")
    for name, table in tables.items():
        if name not in TABLES or not table.schema.equals(TABLES[name]):
            raise ValueError(f"shard {key}: table {name!r} has not the columns of pipeline.schema")
    rows, planned = tables[COMMIT].num_rows, len(parse_key("", key))
    if rows != planned:
        raise InputError(
            f"shard {key}: the dataset gave {rows} of its {planned} images; did it change while it was read?"
        )


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as a Parquet file whose pages carry checksums."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def _file_metadata(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Key-value metadata of every part; units and descriptions of the columns are in the fields' own."""
    return {
        "schema_version": str(manifest["schema_version"]),
        "run_id": manifest["run_id"],
        "hansaudit": manifest["hansaudit"],
        "config": json.dumps(manifest["config"], sort_keys=True),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
