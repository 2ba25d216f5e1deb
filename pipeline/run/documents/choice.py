"""Which method a run explains with where nobody named one: what was tried, and why this one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pipeline.run import folder
from pipeline.run.documents.base import Document
from pipeline.run.documents.sanity import MethodSanity


@dataclass(frozen=True)
class Candidate:
    """A method that was tried.

    Attributes:
        passes: it fits the network, passed its sanity checks, and its gap is surely above 0.
        verdict: why it is used or not, a sentence without a full stop.
        sanity: None where it could not be checked; without the stages that only the chosen one gets.
        gap: mean over ``images`` of the area between the two perturbation curves (least relevant regions
            first, most relevant first), the drop of the explained class's probability; low, high: its 95 %
            interval, shared over all looks. None where there is none.
        seconds: its own fitting, maps and checks, and its share of the curves.
    """

    method: str
    passes: bool
    verdict: str
    sanity: MethodSanity | None
    gap: float | None
    low: float | None
    high: float | None
    images: int
    seconds: float


@dataclass(frozen=True)
class ChoiceDocument(Document):
    """How ``auto`` chose the ``method`` of a run among ``candidates``, in the order in which they are wanted.

    Attributes:
        passed: the chosen method passes; otherwise none does, and nothing may be concluded from maps alone.
        images: of the sample, at most measured; looks: how often it was looked at, at most.
        share: a method with surely less than this share of the best gap is not used.
        passes: forward passes of the curves; seconds: of everything.
    """

    FILE: ClassVar[str] = folder.CHOICE
    MADE_BY: ClassVar[str] = "hansaudit run"
    OF_SHARDS: ClassVar[bool] = False  # of the network and a sample of the images, before the first shard

    method: str
    passed: bool
    candidates: tuple[Candidate, ...]
    images: int
    looks: int
    share: float
    passes: int
    seconds: float

    @property
    def chosen(self) -> Candidate:
        """The row of the method that is used."""
        return next(row for row in self.candidates if row.method == self.method)
