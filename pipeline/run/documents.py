"""The JSON documents of a run folder: what each holds, and the one place where it is read and written.

What is read is untrusted: a document is checked as a whole, strictly, before anything of it is used. Fields
that a run folder written by an earlier version has not yet are optional.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # pydantic reads typing's only from Python 3.12 on

from pipeline.errors import InputError
from pipeline.run import folder
from pipeline.run.folder import SCHEMA_VERSION, RunFolder
from pipeline.run.ranking_settings import differing_settings, read_settings

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


# -- the ranking of the classes


@dataclass(frozen=True)
class ShardsSeen:
    """The finished shards that a ranking is of: their number, and the sha256 of their sorted keys."""

    n: int
    sha256: str

    @classmethod
    def of(cls, keys: Iterable[str]) -> ShardsSeen:
        """Of these keys, in whatever order."""
        ordered = sorted(keys)
        return cls(len(ordered), sha256("\n".join(ordered).encode()).hexdigest())


class Curve(TypedDict):
    """The lift expected of an image by the share of the picture that its box covers."""

    box_area: list[float]
    lift: list[float]


@with_config(ConfigDict(extra="allow"))
class RankingSummary(TypedDict):
    """Counts and correlations of a ranking; ``method_marks``: sanity checks failed, None if unchecked."""

    verdicts: dict[str, int]
    n_classes: int
    n_classes_tested: int
    n_images: int
    n_images_used: int
    n_outside: int
    statuses: dict[str, int]
    accuracy: float | None
    correlations: dict[str, float | None]
    ratio_correlations: dict[str, float | None]
    tau: float | None
    scale: float | None
    expected: Curve | None
    absolute_test: bool
    method_marks: list[str] | None
    n_shards: int
    config: dict[str, Any]


@with_config(ConfigDict(extra="allow"))
class RankedClass(TypedDict):
    """A row of the ranking: these columns, and all others of the table."""

    rank: int
    label: int
    class_name: str
    n: int
    n_images: int
    verdict: str


@dataclass(frozen=True, kw_only=True)
class RankingDocument(Document):
    """A stored ranking, and what it is a ranking of.

    Attributes:
        run_id, shards: the run, and how much of it was finished; None in folders written before they were.
        method: key of the method whose maps it ranks by; its settings are ``summary["config"]``.
        classes: most suspicious first.
    """

    FILE: ClassVar[str] = folder.RANKING
    MADE_BY: ClassVar[str] = "hansaudit rank"

    schema_version: int
    run_id: str | None = None
    method: str
    shards: ShardsSeen | None = None
    summary: RankingSummary
    classes: list[RankedClass]

    def misfit(self, run: RunFolder) -> str | None:
        """Why this is not the ranking that ``run``, as it is, would be given by its own settings, if so."""
        manifest, done = run.manifest, run.done
        seen = self.summary["n_shards"]
        if self.schema_version != SCHEMA_VERSION:
            return f"has schema version {self.schema_version}, this hansaudit reads {SCHEMA_VERSION}"
        if self.run_id not in (None, manifest["run_id"]):
            return f"is of run {self.run_id}, this is run {manifest['run_id']}"
        if seen != len(done):
            return f"is of {seen} finished shards, the run has {len(done)}"
        if self.shards not in (None, ShardsSeen.of(done)):
            return f"is of {seen} other shards than the {len(done)} finished ones of the run"
        settings = read_settings(self.summary["config"], f"{run.path}/{self.FILE}")
        settings = settings.model_copy(update={"method": self.method})
        for name, (here, own) in differing_settings(manifest, settings).items():
            return f"was made with {name} = {here!r}, the run's own is {own!r}"
        return None


# -- interventions


Role = Literal["top", "control"]


@dataclass(frozen=True)
class EditEffect:
    """Mean over ``n`` images with its interval; None where it is not defined."""

    n: int
    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class EditedClass:
    """A class whose images were edited: verdict of the edits, and of the maps (``attribution``)."""

    label: int
    class_name: str
    role: Role
    verdict: str
    attribution: str
    strength: float | None
    low: float | None
    n_needed: int | None
    effects: dict[str, EditEffect]


@dataclass(frozen=True)
class ConfirmationDocument(Document):
    """What the interventions said.

    Attributes:
        plan: how much was asked for (:class:`pipeline.config.ConfirmConfig`).
        relevant: effect from which on it counts; passes: forward passes needed.
        n_shards: finished shards of the run at that time; counts: classes by verdict.
    """

    FILE: ClassVar[str] = folder.CONFIRMATION
    MADE_BY: ClassVar[str] = "hansaudit confirm"

    method: str
    plan: dict[str, int]
    relevant: float
    passes: int
    n_shards: int
    counts: dict[str, int]
    classes: tuple[EditedClass, ...]


# -- sanity checks of the methods

FAILURES: Mapping[str, str] = {"insensitive": "insensitive to the weights", "class_blind": "class blind"}


@dataclass(frozen=True)
class MethodSanity:
    """One method.

    Attributes:
        randomised: per stage the median over images of (Spearman's rank correlation, SSIM) between the map of
            the network and that of the network with shuffled weights.
        other_class: the same between the predicted class and a random other one.
        insensitive: the rank correlation stays >= 0.7 with all weights shuffled.
        class_blind: the rank correlation between two classes is >= 0.95.
        images: maps compared; undefined ones are left out.
    """

    method: str
    randomised: dict[str, tuple[float | None, float | None]]
    other_class: tuple[float | None, float | None]
    insensitive: bool
    class_blind: bool
    images: int

    @property
    def failures(self) -> tuple[str, ...]:
        """What the method failed, in words."""
        failed = {"insensitive": self.insensitive, "class_blind": self.class_blind}
        return tuple(words for name, words in FAILURES.items() if failed[name])


@dataclass(frozen=True)
class SanityDocument(Document):
    """The sanity checks of the methods of a run; ``limits``: from which correlation on a check is failed."""

    FILE: ClassVar[str] = folder.SANITY
    MADE_BY: ClassVar[str] = "hansaudit run"

    images: int
    seconds: float
    limits: dict[str, float]
    methods: tuple[MethodSanity, ...]

    def failures(self, method: str) -> tuple[str, ...] | None:
        """What ``method`` failed, in words; empty where it passed, None where it was not checked."""
        return next((m.failures for m in self.methods if m.method == method), None)


def sanity_failures(run: RunFolder, method: str) -> tuple[str, ...] | None:
    """:meth:`SanityDocument.failures` of a run; None also where it has no sanity checks."""
    checks = SanityDocument.read(run)
    return None if checks is None else checks.failures(method)


# -- strategies inside a class


@dataclass(frozen=True)
class Cluster:
    """One strategy of a class.

    Attributes:
        cluster: number within the class, 0 the largest; n: images; share: of the class's images.
        separability: Fisher separability from the other clusters, in [0, 1].
        adjusted_lift, low, high: mean over its images with the 95 % BCa interval (None for one image, and
            in a run of one class, where there is nothing to compare with).
        candidate: stands apart more than a Gaussian cloud would, and the interval of its lift lies below the
            relevant effect (-0.5 unless configured).
        prototypes: ids of its most central images.
    """

    cluster: int
    n: int
    share: float
    separability: float
    adjusted_lift: float | None
    low: float | None
    high: float | None
    candidate: bool
    prototypes: tuple[str, ...]


@dataclass(frozen=True)
class ClassStrategies:
    """What SpRAy found in one class; ``reason`` says why it found nothing to cluster."""

    label: int
    class_name: str
    method: str
    n: int
    tau: float | None
    tau_null: float | None
    eigenvalues: tuple[float, ...]
    clusters: tuple[Cluster, ...]
    reason: str | None = None

    @property
    def candidates(self) -> tuple[Cluster, ...]:
        """The clusters that look like Clever-Hans strategies."""
        return tuple(c for c in self.clusters if c.candidate)


@dataclass(frozen=True)
class ClustersDocument(Document):
    """The strategies of the classes that were looked into, by method, most candidates first."""

    FILE: ClassVar[str] = folder.CLUSTERS
    MADE_BY: ClassVar[str] = "hansaudit clusters"

    classes: tuple[ClassStrategies, ...]

    def content(self) -> dict[str, Any]:
        entries = [asdict(c) | {"n_candidates": len(c.candidates)} for c in self.classes]
        return {"classes": entries}


# -- the ranking of the methods


@dataclass(frozen=True)
class RankedMethod:
    """A row of :class:`pipeline.statistics.method_ranking.MethodRanking`."""

    rank: int
    method: str
    mean: float
    low: float | None
    high: float | None
    behind: float
    behind_low: float | None
    behind_high: float | None
    tied: bool
    insensitive: bool


@dataclass(frozen=True)
class MethodsDocument(Document):
    """The methods of a run, best first, by the ``metric`` of their curves.

    Attributes:
        n: images that count; left_out: images without a value for some method.
    """

    FILE: ClassVar[str] = folder.METHODS
    MADE_BY: ClassVar[str] = "hansaudit rank-methods"

    metric: str
    n: int
    left_out: int
    methods: tuple[RankedMethod, ...]
