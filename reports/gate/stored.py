"""Stored per-image metrics, read for a gate: one value per image, then one per class or run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.run.scores import read_scores
from pipeline.run.store import Store
from reports.gate.policy import one_of

# columns of `examples` that may be asked for like a metric
_COLUMNS = {
    "accuracy": "correct",
    "accuracy_top5": "correct_top5",
    "confidence": "confidence",
    "label_probability": "label_probability",
    "box_area": "box_area",
}
_REDUCE: Mapping[str, Callable[[NDArray[Any]], Any]] = {
    "mean": np.mean,
    "median": np.median,
    "min": np.min,
    "max": np.max,
}


@dataclass(frozen=True)
class Stored:
    """Defined values of one metric: value, label and whether the image is correctly classified, each (n,)."""

    value: NDArray[Any]
    label: NDArray[Any]
    correct: NDArray[Any]


def read_metric(path: str, metric: str, method: str) -> Stored:
    """All defined values of ``metric`` (of ``method``).

    Raises:
        PolicyError: the run holds no such metric or method; the nearest is named.
    """
    store, column = Store(path), _COLUMNS.get(metric)
    columns = ["label", "correct", *([column] if column else [])]
    scores = read_scores(store, columns, [] if column else [(method, metric)])
    label = scores.examples["label"].to_numpy()
    correct = scores.examples["correct"].fill_null(False).to_numpy()
    if column is None:
        one_of(metric, {name for _, name in scores.names} | set(_COLUMNS), f"{store.path}: metric")
        one_of(method, scores.methods, f"{store.path}: method")
        value = scores.values[:, 0]
    else:
        value = scores.examples[column].cast(pa.float64()).fill_null(float("nan")).to_numpy()
    keep = ~np.isnan(value)
    return Stored(value[keep], label[keep], correct[keep])


def aggregate(stored: Stored, how: str, images: str, per_class: bool) -> dict[int, float]:
    """``how`` (mean, median, min, max) over the ``images`` ("all", "correct"): by label, or under -1."""
    keep = stored.correct if images == "correct" else np.ones(len(stored.value), dtype=bool)
    keep = keep & (stored.label >= 0) if per_class else keep
    value = stored.value[keep]
    group = stored.label[keep] if per_class else np.full(len(value), -1)
    return {int(k): float(_REDUCE[how](value[group == k])) for k in np.unique(group)}
