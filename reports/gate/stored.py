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
from reports.decisions.fields import one_of
from reports.gate import intervals
from reports.gate.operators import Estimate

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


def aggregate(stored: Stored, how: str, images: str, per_class: bool) -> dict[int, tuple[Estimate, int]]:
    """``how`` (mean, median, min, max) over the ``images`` ("all", "correct"), and how many these are.

    By label, or under -1; only where there are images.
    """
    keep = stored.correct if images == "correct" else np.ones(len(stored.value), dtype=bool)
    keep = keep & (stored.label >= 0) if per_class else keep
    value = stored.value[keep]
    group = stored.label[keep] if per_class else np.full(len(value), -1)
    order = np.argsort(group, kind="stable")
    labels, first = np.unique(group[order], return_index=True)
    parts = np.split(value[order], first[1:])
    return {int(k): (_estimate(part, how), len(part)) for k, part in zip(labels, parts, strict=True)}


def _estimate(values: NDArray[Any], how: str) -> Estimate:
    """The aggregate of some values with its interval; of a minimum or maximum there is none."""
    found = float(_REDUCE[how](values))
    if how == "mean":
        return Estimate(found, *mean_interval(values))
    if how == "median" and (places := intervals.median_places(len(values))):
        ordered = np.sort(values)
        return Estimate(found, float(ordered[places[0]]), float(ordered[places[1]]))
    return Estimate(found)


def mean_interval(values: NDArray[Any]) -> tuple[float | None, float | None]:
    """Of a mean: Wilson's where the values are all 0 or 1, else Student's t; None of a single value."""
    n, mean = len(values), float(values.mean())
    if np.isin(values, (0, 1)).all():
        return intervals.wilson(mean, n)
    if n < 2:
        return None, None
    from scipy.special import stdtrit  # only where tables are read

    half = float(stdtrit(n - 1, 1 - intervals.LEVEL / 2) * values.std(ddof=1) / np.sqrt(n))
    return mean - half, mean + half
