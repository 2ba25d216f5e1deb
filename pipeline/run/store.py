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
from pipeline.run.folder import COMMIT, MANIFEST, SCHEMA_VERSION, RunFolder, part_name
from pipeline.run.preflight import KEY, Preflight
from pipeline.run.provenance import Provenance, differing, manifest_of
from pipeline.schema import TABLES


@dataclass
class Session:
    """One process at work on the run: what it did and how long it took."""

    # to the microsecond: it tells sessions apart, and a killed one may be followed within a second
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="microseconds"))
    ended: str | None = None
    images: int = 0
    seconds: float = 0.0
    setup_seconds: float = 0.0  # reading and compiling the model, before the first image


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
            self._put_manifest(new)
            return new
        old = self.manifest
        self._refuse_differences(old, new)
        afterwards = {name: new["config"][name] for name in AFTERWARDS if name != "execution"}
        current = old | {"config": old["config"] | afterwards}
        if current != old:
            self._put_manifest(current)
        return current

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
        data = {"fingerprint": fingerprint} if fingerprint else {}
        self._refuse_differences(
            old, old | {"config": config.model_dump(mode="json"), "dataset": old["dataset"] | data}
        )

    def _refuse_strangers(self) -> None:
        if strangers := self.files.names("") + self.files.names(COMMIT):
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
        self._put_manifest(self.manifest | {KEY: preflight.to_dict()})

    def record(self, session: Session) -> None:
        """Note a session in the manifest; the same one (by its start) is replaced."""
        manifest = self.manifest
        others = [s for s in manifest["sessions"] if s["started"] != session.started]
        self._put_manifest(manifest | {"sessions": [*others, asdict(session)]})

    def end(self, session: Session) -> None:
        """Note that ``session`` is over."""
        session.ended = _now()
        self.record(session)

    def _put_manifest(self, manifest: Mapping[str, Any]) -> None:
        self.files.put(MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False).encode())

    # -- writing

    def lock(self) -> AbstractContextManager[None]:
        """Context in which nobody else writes this run. Raises :class:`InputError` when one already does."""
        return self.files.lock()

    def lock_existing(self) -> AbstractContextManager[None]:
        """:meth:`lock` of a run that is there: what is no run gets no folder and no lock file."""
        _ = self.manifest  # raises InputError where there is none
        return self.files.lock()

    def write_shard(self, key: str, tables: Mapping[str, pa.Table]) -> None:
        """Write the parts of one shard, each whole or not at all, ``examples`` last.

        Raises:
            InputError: no space or no right to write; nothing already written is touched.
            ValueError: a table is unknown, has not its schema, or ``examples`` is missing.
        """
        if COMMIT not in tables:
            raise ValueError(f"shard {key}: no {COMMIT!r} table; received {sorted(tables)}")
        manifest = self.manifest
        for name in sorted(tables, key=lambda n: n == COMMIT):
            expected = TABLES.get(name)
            if expected is None or not tables[name].schema.equals(expected):
                raise ValueError(f"shard {key}: table {name!r} has not the columns of pipeline.schema")
            table = tables[name].replace_schema_metadata(_file_metadata(manifest))
            sink = io.BytesIO()
            pq.write_table(table, sink, compression="zstd")
            self.files.put(part_name(name, key), sink.getbuffer())

    def write_side_table(self, name: str, table: pa.Table) -> None:
        """Write a table of one file, such as :data:`~pipeline.run.folder.CLUSTERS_TABLE`."""
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd")
        self.files.put(name, sink.getbuffer())

    # -- reading

    def missing(self, shards: Sequence[str] | None = None) -> tuple[str, ...]:
        """Keys of the planned shards (or of ``shards``) that are not finished, in order."""
        planned = self.manifest["shards"] if shards is None else shards
        done = self.done
        return tuple(key for key in planned if key not in done)

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
            InputError: unknown table or column, or parts that disagree in their schema.
        """
        dataset = self._dataset(table, columns)
        if dataset is None:
            return
        scanner = dataset.scanner(
            columns=None if columns is None else list(columns),
            filter=filter,
            batch_size=65_536,
            batch_readahead=2,
            fragment_readahead=2,
        )
        try:
            yield from scanner.to_batches()
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{self.path}: table {table!r} cannot be read: {reason(error)}") from None

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
            return None if raw is None else pq.read_table(io.BytesIO(raw))
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{self.path}/{name}: not a readable Parquet file ({reason(error)}); "
                "remove it to have it made again"
            ) from None

    def _dataset(self, table: str, columns: Sequence[str] | None) -> ds.Dataset | None:
        if table not in TABLES:
            raise InputError(f"table {table!r} is unknown; tables: {', '.join(TABLES)}")
        schema = TABLES[table]
        if unknown := [c for c in columns or () if c not in schema.names]:
            raise InputError(
                f"table {table!r} has no column {unknown[0]!r}; it has {', '.join(schema.names)}"
            )
        names = self.parts(table, self.done)
        if not names:
            return None
        paths, filesystem = self.files.arrow(names)
        for path in paths:
            _check_part(path, filesystem, schema)
        return ds.dataset(paths, schema=schema, format="parquet", filesystem=filesystem)


def _file_metadata(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Key-value metadata of every part; units and descriptions of the columns are in the fields' own."""
    return {
        "schema_version": str(manifest["schema_version"]),
        "run_id": manifest["run_id"],
        "hansaudit": manifest["hansaudit"],
        "config": json.dumps(manifest["config"], sort_keys=True),
    }


def _check_part(path: str, filesystem: Any, expected: pa.Schema) -> None:
    try:
        found = pq.read_schema(path, filesystem=filesystem)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path}: not a readable Parquet file ({reason(error)}); remove it and run again to make it anew"
        ) from None
    if not found.equals(expected, check_metadata=False):
        raise InputError(f"{path}: {_schema_difference(found, expected)}; parts of one run must agree")
    version = (found.metadata or {}).get(b"schema_version")
    if version is not None and version != str(SCHEMA_VERSION).encode():
        raise InputError(f"{path}: schema version {version.decode()}, the others have {SCHEMA_VERSION}")


def _schema_difference(found: pa.Schema, expected: pa.Schema) -> str:
    for name in expected.names:
        if name not in found.names:
            return f"column {name!r} is missing"
        if found.field(name).type != expected.field(name).type:
            return f"column {name!r} is {found.field(name).type}, expected {expected.field(name).type}"
    extra = [n for n in found.names if n not in expected.names]
    return f"column {extra[0]!r} is not part of the table" if extra else "columns are in another order"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
