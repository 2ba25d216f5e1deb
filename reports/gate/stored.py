"""Stored per-image metrics, read for a gate: one value per image, then one per class or run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

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
    store = Store(path)
    column = _COLUMNS.get(metric)
    extra = [column] if column not in (None, "correct") else []
    examples = store.read("examples", ["example_id", "label", "correct", *extra])
    label = examples["label"].to_numpy()
    correct = examples["correct"].fill_null(False).to_numpy()
    if column is not None:
        value = examples[column].cast(pa.float64()).fill_null(float("nan")).to_numpy()
    else:
        value = _scores(store, metric, method, examples["example_id"])
    keep = ~np.isnan(value)
    return Stored(value[keep], label[keep], correct[keep])


def _scores(store: Store, metric: str, method: str, ids: pa.ChunkedArray) -> NDArray[Any]:
    names = store.read("scores", ["metric", "method"])
    valid = set(pc.unique(names["metric"].cast(pa.string())).to_pylist())
    one_of(metric, valid | set(_COLUMNS), f"{store.path}: metric")
    one_of(method, set(pc.unique(names["method"].cast(pa.string())).to_pylist()), f"{store.path}: method")
    wanted = (pc.field("metric") == metric) & (pc.field("method") == method)
    scores = store.read("scores", ["example_id", "value"], wanted)
    row = pc.index_in(ids, scores["example_id"].combine_chunks())
    values = np.append(scores["value"].fill_null(float("nan")).to_numpy(), np.nan)
    return values[row.fill_null(len(scores)).to_numpy()]


def aggregate(stored: Stored, how: str, images: str, per_class: bool) -> dict[int, float]:
    """``how`` (mean, median, min, max) over the ``images`` ("all", "correct"): by label, or under -1."""
    keep = stored.correct if images == "correct" else np.ones(len(stored.value), dtype=bool)
    keep = keep & (stored.label >= 0) if per_class else keep
    value = stored.value[keep]
    group = stored.label[keep] if per_class else np.full(len(value), -1)
    return {int(k): float(_REDUCE[how](value[group == k])) for k in np.unique(group)}
