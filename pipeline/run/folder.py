"""The layout of a run folder, known here and nowhere else: names of its files, manifest, schema version.

::

    manifest.json                     what the run is made of, and the shards that are planned
    <table>/part-<shard>.parquet      a part per shard and table of :mod:`pipeline.schema`
    inventory/<shard>.json            what the shard consists of: rows, size and sha256 of each part
    ranking.json  confirm.json ...    documents: :mod:`pipeline.run.documents`
    confirm.parquet groups.csv ...    tables of one file, beside the document of the same name

Light: JSON and file names only, so that a gate starts fast. Tables are read by
:class:`pipeline.run.store.Store`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipeline.errors import InputError
from pipeline.json_text import parse_json
from pipeline.run import hashes
from pipeline.run.files import Files, open_files
from pipeline.run.manifest import SUPERSEDED, check_manifest

SCHEMA_VERSION: Final = 2  # of manifest, tables and documents; a change of a column is a change of it
READABLE_VERSIONS: Final = (1, SCHEMA_VERSION)  # earlier ones lack columns: pipeline.schema.columns_of
VERSIONS_READ: Final = " and ".join(map(str, READABLE_VERSIONS))

MANIFEST: Final = "manifest.json"
RANKING: Final = "ranking.json"
RANKING_TABLE: Final = "ranking.csv"
CONFIRMATION: Final = "confirm.json"
CONFIRMATION_TABLE: Final = "confirm.parquet"
CLUSTERS: Final = "clusters.json"
CLUSTERS_TABLE: Final = "clusters.parquet"
CONCEPTS: Final = "concepts.json"
CONCEPTS_TABLE: Final = "concepts.parquet"
VISUALIZED: Final = "visualized.json"
VISUALIZED_TABLE: Final = "visualized.parquet"
CHOICE: Final = "choice.json"
SANITY: Final = "sanity.json"
GROUPS: Final = "groups.json"
GROUPS_TABLE: Final = "groups.csv"
TRIAGE: Final = "triage.json"
TRIAGE_TABLE: Final = "triage.csv"
METHODS: Final = "methods.json"
PROPERTIES: Final = "properties.json"
REFERENCE: Final = "reference.json"
REFERENCE_TABLE: Final = "reference.parquet"
REFERENCE_RUN: Final = "reference-run"  # folder of the reference network's own run, where this run made it
CANARY: Final = "canary.json"
TRIAL: Final = "trial.json"  # of a canary's own runs
REPORT: Final = "report.html"


@dataclass(frozen=True)
class RankingFiles:
    """Names of what belongs to one ranking of a run."""

    document: str = RANKING
    table: str = RANKING_TABLE
    report: str = REPORT

    def beside(self, slug: str) -> RankingFiles:
        """The same for another ranking; ``slug`` says what it differs in.

        >>> RankingFiles().beside("images-all").document
        'ranking-images-all.json'
        """
        names = (name.partition(".") for name in (self.document, self.table, self.report))
        return RankingFiles(*(f"{stem}-{slug}.{suffix}" for stem, _, suffix in names))


INVENTORY: Final = hashes.INVENTORY  # folder
# table of what the network says to edited images: a part per block of classes
EDITED: Final = "interventions"
TRANSFER: Final = "transfer"  # the same of windows that were pasted onto other images
AGAIN: Final = "transfer_again"  # the same of windows that another run pasted, as its reference network
WINDOWS: Final = "pasted_windows"  # what these windows are: groups of like ones, what repeats in them
COMMIT: Final = "examples"  # the table whose part is written last: with it a shard is finished
_PREFIX, _SUFFIX = "part-", ".parquet"


def part_name(table: str, key: str) -> str:
    """Path of the part of a table that shard ``key`` wrote.

    >>> part_name("scores", "validation-000000000-000000128")
    'scores/part-validation-000000000-000000128.parquet'
    """
    return f"{table}/{_PREFIX}{key}{_SUFFIX}"


def inventory_name(key: str) -> str:
    """Path of the inventory of shard ``key``."""
    return f"{INVENTORY}/{key}.json"


def part_key(name: str) -> str | None:
    """Key of the shard that wrote the part ``name`` (without its folder); None for any other file.

    >>> part_key("part-validation-000000000-000000128.parquet")
    'validation-000000000-000000128'
    """
    if name.startswith(_PREFIX) and name.endswith(_SUFFIX):
        return name[len(_PREFIX) : -len(_SUFFIX)]
    return None


class RunFolder:
    """The folder (or object-store prefix) of one run."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self.files: Files = open_files(path)
        self._parsed: tuple[bytes, dict[str, Any]] | None = None  # the manifest's bytes, and what they say

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    @property
    def exists(self) -> bool:
        """Whether there is a manifest."""
        return self.files.get(MANIFEST) is not None

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest. Raises :class:`InputError` where there is none or it cannot be used."""
        raw = self.files.get(MANIFEST)
        if raw is None:
            raise InputError(
                f"{self.path}: no {MANIFEST}, so this is no run folder; give one that `hansaudit run` wrote"
            )
        if self._parsed is None or self._parsed[0] != raw:  # of a large run it takes longer than reading it
            self._parsed = raw, self._parse(raw)
        return dict(self._parsed[1])

    def _parse(self, raw: bytes) -> dict[str, Any]:
        manifest = parse_json(raw, f"{self.path}/{MANIFEST}")
        if not isinstance(manifest, dict):
            raise InputError(f"{self.path}/{MANIFEST}: holds no JSON object; was it edited?")
        version = manifest.get("schema_version")
        if version not in READABLE_VERSIONS:
            raise InputError(
                f"{self.path}: has schema version {version}, this hansaudit reads {VERSIONS_READ}; "
                "read it with the version that wrote it, or run the audit again in a new folder"
            )
        check_manifest(manifest, f"{self.path}/{MANIFEST}")
        return {name: value for name, value in manifest.items() if name != hashes.HASH}

    @property
    def done(self) -> frozenset[str]:
        """Keys of the finished shards, without those that others stand for."""
        finished = self.keys_of(COMMIT)
        return finished - frozenset(self.manifest.get(SUPERSEDED, ())) if finished else finished

    def keys_of(self, table: str) -> frozenset[str]:
        """Keys of the shards that have a part of ``table``, finished or not."""
        return frozenset(key for name in self.files.names(table) if (key := part_key(name)) is not None)
