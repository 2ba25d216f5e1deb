"""What a ranking says of every class without any statistics: counts, means, who is planted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.run.images import Images
from pipeline.statistics.arrays import Flags


def describe(images: Images, used: Flags, dataset: dict[str, Any]) -> pd.DataFrame:
    """What needs no statistics: counts and means per class, one row per class that has images."""
    labelled = images.label >= 0
    labels, group = np.unique(images.label[labelled], return_inverse=True)

    def total(values: NDArray[Any], rows: Flags) -> NDArray[Any]:
        return np.bincount(group[rows[labelled]], values[rows].astype(float), minlength=len(labels))

    def mean(values: NDArray[Any], rows: Flags) -> NDArray[Any]:
        rows = rows & labelled & np.isfinite(values)
        with np.errstate(invalid="ignore", divide="ignore"):
            return total(values, rows) / total(np.ones(len(values)), rows)

    ones = np.ones(len(images))
    scores = images.scores
    inside, outside = (np.nan_to_num(scores[m]) for m in ("relevance_in", "relevance_out"))
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled = total(inside, used) / total(outside, used)
    area = images.area.astype(float)
    odds = np.divide(area, 1 - area, out=np.full(len(area), np.nan), where=(area > 0) & (area < 1))
    names, ids = dataset.get("class_names") or [], dataset.get("class_ids") or []
    class_name = [str(names[k]) if k < len(names) else f"class {k}" for k in labels]
    class_id = [str(ids[k]) if k < len(ids) else str(k) for k in labels]
    return pd.DataFrame(
        {
            "label": labels,
            "class_id": class_id,
            "class_name": class_name,
            "n": total(ones, used).astype(np.int64),
            "n_images": total(ones, labelled).astype(np.int64),
            "n_correct": total(ones, images.correct & labelled).astype(np.int64),
            "accuracy": mean(images.correct.astype(float), images.predicted),
            "confidence": mean(images.confidence, images.predicted),
            "box_area": mean(area, used),
            "n_boxed": total(ones, labelled & images.boxed).astype(np.int64),
            "n_undefined": total(ones, labelled & ~images.ok).astype(np.int64),
            "ratio": mean(scores["ratio"], used),
            "ratio_pooled": pooled if {"relevance_in", "relevance_out"} <= images.stored else np.nan,
            "mass": mean(scores["mass"], used),
            "lift": mean(scores["lift"], used),
            "constant_map": mean(odds, used),
            "planted": _planted(dataset.get("planted"), labels.tolist(), class_name, class_id),
        }
    )


def _planted(
    planted: dict[str, Any] | None, labels: list[int], names: list[str], ids: list[str]
) -> list[Any]:
    """Whether each class carries a labelled artefact; None where the dataset says nothing."""
    if planted is None:
        return [None] * len(labels)
    carries = {str(key) for key, what in planted.items() if what}
    return [not carries.isdisjoint((str(k), n, i)) for k, n, i in zip(labels, names, ids, strict=True)]
