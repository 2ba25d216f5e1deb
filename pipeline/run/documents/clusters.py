"""The strategies inside the classes of a run (SpRAy)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from pipeline.run import folder
from pipeline.run.documents.base import Document


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
    TABLE: ClassVar[str] = folder.CLUSTERS_TABLE

    classes: tuple[ClassStrategies, ...]

    def content(self) -> dict[str, Any]:
        entries = [asdict(c) | {"n_candidates": len(c.candidates)} for c in self.classes]
        return super().content() | {"classes": entries}
