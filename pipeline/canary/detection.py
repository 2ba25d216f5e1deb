"""Figures of a detector against a known truth: how well an order of the classes finds the planted ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import numpy as np

from pipeline.verdicts import InterventionVerdict

# Orders of the classes whose figures are compared: name in canary.json -> title on the page.
CLASS_ORDERS: Final = {
    "adjusted": "its heat maps alone",
    InterventionVerdict.CONFIRMED.value: "this audit's ranking",
    "ratio": "ratio of Alber (2019)",
    "small_box": "small box",
}

USED: Final = 0.1  # probability that a mark must add on its class for the network to use it


def detection(order: Sequence[int], planted: Collection[int]) -> dict[str, float | None]:
    """Figures of ``order`` (classes, most suspicious first) for the classes ``planted``.

    ``ap``: average precision, the mean over the planted classes of the precision at their place; ``auc``:
    probability that a planted class stands before another; ``recall``: share of the planted among the first
    as many. None where nothing, or everything, is planted.
    """
    hit = np.array([label in planted for label in order])
    n, total = int(hit.sum()), len(hit)
    if n in (0, total):
        return {"ap": None, "auc": None, "recall": None}
    precision = np.cumsum(hit) / np.arange(1, total + 1)
    others_before = np.cumsum(~hit)[hit]
    return {
        "ap": float(precision[hit].mean()),
        "auc": float(1 - others_before.mean() / (total - n)),
        "recall": float(hit[:n].mean()),
    }


def recall_curve(order: Sequence[int], planted: Collection[int]) -> list[float]:
    """Recall at k = 1, 2, ...: share of the planted classes among the first k."""
    hit = np.array([label in planted for label in order])
    return (np.cumsum(hit) / max(hit.sum(), 1)).tolist()


def mean_figures(figures: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Mean of each figure over those trials that have it."""
    names = figures[0].keys() if figures else ()
    defined = {name: [f[name] for f in figures if f[name] is not None] for name in names}
    return {name: float(np.mean(np.array(v, float))) if v else None for name, v in defined.items()}
