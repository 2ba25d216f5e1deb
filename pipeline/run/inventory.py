"""What a finished shard consists of, and how much of a run is finished: light, JSON and file names only.

A shard's inventory is written before its parts, its ``examples`` part after all others: a finished shard has
one, and whatever part is missing, cut or another's is noticed against it. Runs that were begun before there
were inventories have none; of their shards only the presence of the tables is known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from hashlib import sha256
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipeline.run.folder import COMMIT, INVENTORY, RunFolder, inventory_name, part_key, part_name
from pipeline.run.hashes import bytes_hash

_NAME = re.compile(r"[a-z_]{1,40}")  # of a table: a folder below the run's


@dataclass(frozen=True)
class PartRecord:
    """One part: its rows, its size in bytes, the sha256 of these bytes."""

    rows: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Inventory:
    """The parts of one shard, by table; ``run_id``: of the run that it belongs to.

    ``sources``: key -> digest of the shards that it was merged from; empty for one that the audit wrote. A
    shard that had no inventory has no digest.
    """

    run_id: str
    parts: dict[str, PartRecord]
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """sha256 over the parts: equal for equal content of the shard."""
        lines = [f"{table} {part.sha256}" for table, part in sorted(self.parts.items())]
        return sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()

    def write(self, run: RunFolder, key: str) -> None:
        """Write it into ``run`` as that of shard ``key``."""
        content = {name: value for name, value in asdict(self).items() if value != {}}
        run.files.put(inventory_name(key), (json.dumps(content, indent=1) + "\n").encode())

    @classmethod
    def parse(cls, raw: bytes) -> Inventory | None:
        """What was written; None for what cannot be."""
        try:
            inventory = _reader().validate_json(raw, strict=True)
        except ValidationError:
            return None
        names = inventory.parts
        return inventory if COMMIT in names and all(_NAME.fullmatch(name) for name in names) else None

    @classmethod
    def read_all(cls, run: RunFolder) -> dict[str, Inventory | None]:
        """Key of a shard -> its inventory, None for one that cannot be read."""
        suffix = inventory_name("").rpartition("/")[2]
        files = run.files.read_all(INVENTORY)
        return {name.removesuffix(suffix): cls.parse(raw) for name, raw in files.items()}


@cache
def _reader() -> TypeAdapter[Inventory]:
    """Made once: it takes longer than what it reads, and a run has hundreds."""
    return TypeAdapter(Inventory)


@dataclass(frozen=True)
class Fault:
    """Something in a run folder that is not what it should be.

    Attributes:
        file: path in the run folder; received, expected: what is there, and what should be.
        shard: key of the shard that has to be made again; empty where it is no shard's part.
        made_by: command that writes the file again.
    """

    file: str
    received: str
    expected: str
    shard: str = ""
    made_by: str = ""

    def __str__(self) -> str:
        return f"{self.file}: {self.received}; expected {self.expected}"


def planned_tables(config: Mapping[str, Any]) -> frozenset[str]:
    """Names of the tables that every shard of a run without inventories has a part of.

    Where there are inventories they say it: tables that came later (``properties``) are not here.
    """
    audit = config.get("audit") or {}
    asked = {
        COMMIT: True,
        "scores": True,
        "maps": bool(audit.get("maps", True)),
        "thumbnails": bool(audit.get("thumbnails", True)),
        "curves": config.get("perturbation") is not None,
    }
    return frozenset(name for name, is_asked in asked.items() if is_asked)


class Contents:
    """What lies in a run folder, listed once: finished shards, sizes of their parts, their inventories."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.manifest = run.manifest
        self.done = run.done
        self._sizes: dict[str, Mapping[str, int]] = {}

    @cached_property
    def _inventories(self) -> Mapping[str, Inventory | None]:
        return Inventory.read_all(self.run)

    @cached_property
    def tables(self) -> frozenset[str]:
        """The tables that every shard has a part of."""
        return planned_tables(self.manifest["config"])

    @property
    def has_inventories(self) -> bool:
        """Whether every finished shard must have an inventory."""
        return bool(self.manifest.get(INVENTORY))

    def inventory(self, key: str) -> Inventory | None:
        """That of a shard; None where it has none."""
        return self._inventories.get(key)

    def size(self, table: str, key: str) -> int | None:
        """Bytes of a part; None where there is none."""
        if table not in self._sizes:
            sizes = self.run.files.sizes(table)
            keys = {name: part_key(name) for name in sizes}
            self._sizes[table] = {key: sizes[name] for name, key in keys.items() if key is not None}
        return self._sizes[table].get(key)

    def record(self, table: str, key: str) -> PartRecord | None:
        """What the inventory says of a part; None where there is no inventory or it names no such part."""
        inventory = self.inventory(key)
        return inventory.parts.get(table) if inventory else None

    def faults(self) -> Iterator[Fault]:
        """Of all finished shards, as far as can be said without opening a part."""
        yield from self.strangers()
        for key in sorted(self.done):
            yield from self.shard_faults(key)

    def altered_parts(self, tables: Collection[str]) -> Iterator[Fault]:
        """Parts of ``tables`` whose content is not what their inventory says: they are read whole."""
        for key in sorted(self.done):
            for table in tables:
                record, name = self.record(table, key), part_name(table, key)
                if record is not None and altered(self.run.files.get(name) or b"", record):
                    yield Fault(name, "its content is not what was written", "that of its inventory", key)

    def strangers(self) -> list[Fault]:
        """Finished shards that the run never planned."""
        planned = set(self.manifest["shards"])
        return [
            Fault(part_name(COMMIT, key), "a shard that is not planned", "one of the manifest's", key)
            for key in sorted(self.done - planned)
        ]

    def shard_faults(self, key: str) -> list[Fault]:
        """Parts of a finished shard that are missing or of another size: nothing is opened."""
        inventory = self.inventory(key)
        if inventory is None and (self.has_inventories or key in self._inventories):
            return [Fault(inventory_name(key), "missing or not readable", "the parts of its shard", key)]
        if inventory is not None and inventory.run_id != self.manifest["run_id"]:
            own = f"run {self.manifest['run_id']}"
            return [Fault(inventory_name(key), f"belongs to run {inventory.run_id}", own, key)]
        promised = inventory.parts.keys() if inventory else self.tables
        faults = [self._presence(table, key, inventory) for table in sorted(promised)]
        return [fault for fault in faults if fault is not None]

    def _presence(self, table: str, key: str, inventory: Inventory | None) -> Fault | None:
        name, size = part_name(table, key), self.size(table, key)
        if size is None:
            return Fault(name, "is missing", "a part of every table for a finished shard", key)
        if inventory is not None and inventory.parts[table].size != size:
            return Fault(name, f"has {size} bytes", f"{inventory.parts[table].size}", key)
        return None


def altered(raw: bytes, record: PartRecord | None) -> bool:
    """Whether a part's bytes are not those of its record; False where there is no record."""
    return record is not None and bytes_hash(raw) != record.sha256


def sources_of(key: str, inventory: Inventory | None) -> dict[str, str]:
    """Key -> digest of the shards, as the audit wrote them, whose rows the shard ``key`` holds."""
    if inventory is None:
        return {key: ""}
    return inventory.sources or {key: inventory.digest}


@dataclass(frozen=True)
class ShardsSeen:
    """The finished shards that something is computed from: their number, and one sha256 over all.

    It is taken over the sorted keys, each with the digest of its inventory where it has one. A merged shard
    counts as those that it was merged from: merging changes no row, and what was computed before still fits.
    """

    n: int
    sha256: str

    @classmethod
    def of(cls, run: RunFolder) -> ShardsSeen:
        """Of ``run`` as it is."""
        inventories = Inventory.read_all(run)
        seen: dict[str, str] = {}
        for key in run.done:
            seen |= sources_of(key, inventories.get(key))
        lines = [f"{key} {digest}" if digest else key for key, digest in sorted(seen.items())]
        return cls(len(lines), sha256("\n".join(lines).encode()).hexdigest())
