"""The methods of a run, ranked by their perturbation curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pipeline.run import folder
from pipeline.run.documents.base import Document


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
