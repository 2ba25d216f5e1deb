"""The sanity checks of the methods of a run, and what a method failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pipeline.run import folder
from pipeline.run.documents.base import Document
from pipeline.run.folder import RunFolder

FAILURES: Mapping[str, str] = {
    "insensitive": "insensitive to the weights",
    "class_blind": "class blind",
    "unproven": "not shown to follow the network",
}


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
        unproven: it was chosen by default, and its perturbation curves do not show that it ranks regions as
            the network does.
    """

    method: str
    randomised: dict[str, tuple[float | None, float | None]]
    other_class: tuple[float | None, float | None]
    insensitive: bool
    class_blind: bool
    images: int
    unproven: bool = False

    @property
    def failures(self) -> tuple[str, ...]:
        """What the method failed, in words."""
        failed = {
            "insensitive": self.insensitive,
            "class_blind": self.class_blind,
            "unproven": self.unproven,
        }
        return tuple(words for name, words in FAILURES.items() if failed[name])


@dataclass(frozen=True)
class SanityDocument(Document):
    """The sanity checks of the methods of a run; ``limits``: from which correlation on a check is failed.

    ``unchecked``: why a method could not be checked, for each of which that is so.
    """

    FILE: ClassVar[str] = folder.SANITY
    MADE_BY: ClassVar[str] = "hansaudit run"
    OF_SHARDS: ClassVar[bool] = False  # of the methods and a sample of the images, explained anew

    images: int
    seconds: float
    limits: dict[str, float]
    methods: tuple[MethodSanity, ...]
    unchecked: dict[str, str] | None = None

    def failures(self, method: str) -> tuple[str, ...] | None:
        """What ``method`` failed, in words; empty where it passed, None where it was not checked."""
        return next((m.failures for m in self.methods if m.method == method), None)


def sanity_failures(run: RunFolder, method: str) -> tuple[str, ...] | None:
    """:meth:`SanityDocument.failures` of a run; None also where it has no sanity checks."""
    checks = SanityDocument.read(run)
    return None if checks is None else checks.failures(method)
