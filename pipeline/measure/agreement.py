"""How far predictions and labels agree, against what knows nothing, and which mistake would explain them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.run.preflight import Accuracy

Z = 1.959964  # 97.5 % quantile of the normal distribution
_SURE = 3.3  # the same of 99.95 %: several other readings are tried, and one is not to fit by accident
FEW = 10  # images that say nothing about an accuracy
_NAMED = 10  # classes that a sentence names
_PER_CLASS = 5  # images per class that an order of classes is read from


def wilson(right: int, n: int, z: float = Z) -> tuple[float, float]:
    """Interval of a share (Wilson 1927, JASA 22, 209-212): ``right`` of ``n``, n > 0; 95 % by default.

    >>> [round(v, 3) for v in wilson(1, 64)]
    [0.003, 0.083]
    """
    p = right / n
    middle = p + z**2 / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def accuracy_of(labels: np.ndarray, predictions: np.ndarray, names: Sequence[str]) -> Accuracy | None:
    """Top-1 accuracy of (n,) predictions; ``names``: of the outputs. None for n = 0."""
    if not len(labels):
        return None
    right = int((labels == predictions).sum())
    low, high = wilson(right, len(labels))
    counts = np.bincount(labels)
    commonest = int(counts.argmax())
    majority = float(counts[commonest] / len(labels))
    return Accuracy(len(labels), right, low, high, 1 / len(names), majority, names[commonest])


def can_tell(n: int, chance: float) -> bool:
    """Whether ``n`` images would show an accuracy half way between chance and 1 to be no chance."""
    return n >= FEW and wilson(math.ceil(n * (1 + chance) / 2), n)[0] > chance


@dataclass(frozen=True)
class Reading:
    """Another reading of the outputs: how many predictions it makes right, and a sentence."""

    right: int
    words: str


@dataclass(frozen=True)
class Agreement:
    """(n,) labels and predictions among the network's outputs, whose ``names`` are given."""

    labels: np.ndarray
    predictions: np.ndarray
    names: Sequence[str]

    def explains_better(self, right: int) -> bool:
        """Whether ``right`` matches under another reading are more than these, beyond both intervals."""
        n = len(self.labels)
        own = int((self.labels == self.predictions).sum())
        return bool(n) and wilson(right, n, _SURE)[0] > wilson(own, n, _SURE)[1]

    def read_otherwise(self) -> str | None:
        """Which other reading of the outputs explains the labels far better, in words; None: none does."""
        readings = [reading for reading in (self.shifted(), self.reordered()) if reading]
        return max(readings, key=lambda reading: reading.right).words if readings else None

    def shifted(self) -> Reading | None:
        """The labels moved by one output; None where that does not explain them far better."""
        for step, where in ((1, "after"), (-1, "before")):
            right = int((self.predictions == self.labels + step).sum())
            if self.explains_better(right):
                return Reading(
                    right,
                    f"{right} of {len(self.labels)} predictions are the output just {where} the label's: the "
                    "classes seem to be off by one (a background class, in the network or in the card?)",
                )
        return None

    def reordered(self) -> Reading | None:
        """Another order of the classes; None where it does not explain the labels far better.

        Only asked where there are enough images per class: an order can always be fitted to few.
        """
        from scipy.optimize import linear_sum_assignment

        k, n = len(self.names), len(self.labels)
        present = np.unique(self.labels)
        if n < _PER_CLASS * k:
            return None
        table = np.zeros((k, k), int)
        np.add.at(table, (self.labels, self.predictions), 1)
        rows, columns = linear_sum_assignment(-table)
        right = int(table[rows, columns].sum())
        if not self.explains_better(right) or wilson(right, n, _SURE)[0] <= 0.5:
            return None
        moved = [(r, c) for r, c in zip(rows, columns, strict=True) if r != c and r in present]
        order = ", ".join(f"{self.names[r]} is output {c}" for r, c in moved[:_NAMED])
        return Reading(
            right,
            f"{right} of {n} predictions would be right under another order of the classes ({order}); give "
            "the model card the class_names in the order of its outputs",
        )
