"""The stored ranking of the classes, and what it is a ranking of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NotRequired

from pydantic import AfterValidator, ConfigDict, with_config
from typing_extensions import TypedDict  # pydantic reads typing's only from Python 3.12 on

from pipeline.columns import RANKING
from pipeline.run import folder
from pipeline.run.documents.base import Document
from pipeline.run.documents.reference import ReferenceDocument
from pipeline.run.edited import edited_hash
from pipeline.run.folder import READABLE_VERSIONS, SCHEMA_VERSION, VERSIONS_READ, RunFolder
from pipeline.run.inventory import ShardsSeen
from pipeline.run.ranking_settings import differing_settings, read_settings


class Curve(TypedDict):
    """The lift expected of an image by the share of the picture that its box covers."""

    box_area: list[float]
    lift: list[float]


class MeanEffect(TypedDict):
    """Mean of an effect over classes, of ``n`` edited images, with its 95 % interval."""

    n: int
    mean: float
    low: float
    high: float


class EditedSummary(TypedDict):
    """Of the edited images: how many classes and images; how many classes the same rule confirms where
    foreign backgrounds stand for the own ones (should be 0); mean background gap of the classes (ImageNet-9).
    """

    n_classes_edited: int
    n_images_edited: int
    n_null_confirmed: int | None
    background_gap: MeanEffect | None


class TransferSummary(TypedDict):
    """Of the pasted windows: how many classes and windows; how many classes transfer."""

    n_classes_pasted: int
    n_windows: int
    n_transfer: int


@with_config(ConfigDict(extra="allow"))
class RankingSummary(TypedDict):
    """Counts and correlations of a ranking.

    ``verdicts``: classes by verdict; ``map_verdicts``: by what their heat maps say; ``method_marks``: sanity
    checks that the method failed, None if unchecked. Of edited images: :class:`EditedSummary`; of windows:
    :class:`TransferSummary`.
    """

    verdicts: dict[str, int]
    map_verdicts: NotRequired[dict[str, int]]  # not in one of an earlier version
    n_classes_edited: NotRequired[int]
    n_images_edited: NotRequired[int]
    n_null_confirmed: NotRequired[int | None]
    background_gap: NotRequired[MeanEffect | None]
    n_classes_pasted: NotRequired[int]
    n_windows: NotRequired[int]
    n_transfer: NotRequired[int]
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
    map_verdict: NotRequired[str]


_TYPES = {"integer": (int,), "number": (int, float), "text": (str,), "flag": (bool,)}


def _with_typed_columns(row: RankedClass) -> RankedClass:
    """``row`` if each of its columns holds what :mod:`pipeline.columns` says, or null; else ValueError."""
    for name, value in row.items():
        if name not in RANKING or value is None:
            continue
        kind = RANKING[name].kind
        # True is an integer in Python, and no number here
        if not isinstance(value, _TYPES[kind]) or isinstance(value, bool) != (kind == "flag"):
            raise ValueError(f"column {name!r} is {value!r}, must be null or a JSON {kind}")
    return row


def reference_hash(run: RunFolder) -> str | None:
    """sha256 of what a reference network shows of the images of ``run``; None where there is none."""
    document = ReferenceDocument.current(run)
    return None if document is None else document.table_sha256


@dataclass(frozen=True, kw_only=True)
class RankingDocument(Document):
    """A stored ranking, and what it is a ranking of.

    Attributes:
        method: key of the method whose maps it ranks by; its settings are ``summary["config"]``.
        edited: hash of what the network said to edited images (:mod:`pipeline.run.edited`), None: nothing.
        reference: hash of what a reference network shows of the same images, None: there is none.
        classes: most suspicious first.
    """

    FILE: ClassVar[str] = folder.RANKING
    MADE_BY: ClassVar[str] = "hansaudit rank"
    TABLE: ClassVar[str] = folder.RANKING_TABLE

    schema_version: int
    method: str
    edited: str | None = None
    reference: str | None = None
    summary: RankingSummary
    classes: list[Annotated[RankedClass, AfterValidator(_with_typed_columns)]]

    @property
    def is_outdated(self) -> bool:
        """Whether an earlier version made it, whose verdicts mean something else: it has to be made again."""
        return self.schema_version in READABLE_VERSIONS and self.schema_version != SCHEMA_VERSION

    def misfit(self, run: RunFolder) -> str | None:
        """Why this is not the ranking that ``run``, as it is, would be given by its own settings, if so."""
        seen, finished = self.summary["n_shards"], ShardsSeen.of(run).n
        if self.is_outdated:
            return "was made by an earlier version of hansaudit"
        if self.schema_version not in READABLE_VERSIONS:
            return f"has schema version {self.schema_version}, this hansaudit reads {VERSIONS_READ}"
        if seen != finished:
            return f"is of {seen} finished shards, the run has {finished}"
        if self.edited != edited_hash(run):
            return "rests on other edited images than the run has"
        if self.reference != reference_hash(run):
            return "rests on another comparison with a reference network than the run has"
        return super().misfit(run) or self._other_settings(run)

    def _other_settings(self, run: RunFolder) -> str | None:
        settings = read_settings(self.summary["config"], f"{run.path}/{self.FILE}")
        settings = settings.model_copy(update={"method": self.method})
        for name, (here, own) in differing_settings(run.manifest, settings).items():
            return f"was made with {name} = {here!r}, the run's own is {own!r}"
        return None
