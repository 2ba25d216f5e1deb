"""A row per image of a run, as a report shows it: some 200 bytes each, however the run is cut into shards."""

from __future__ import annotations

from typing import Final

import pandas as pd

from pipeline.run.scores import read_scores
from pipeline.run.store import Store
from pipeline.statistics.frames import image_frame

# what a report shows of an image; other metrics stay in the tables
METRICS: Final = ("ratio", "mass", "lift", "pointing", "rank_accuracy")
_COLUMNS: Final = (
    "example_id",
    "index",
    "shard",
    "file_name",
    "label",
    "class_name",
    "prediction",
    "confidence",
    "label_probability",
    "correct",
    "boxes_model",
    "box_area",
    "box_distance",
    "status",
    "reason",
)
# of these only what is read of the few images that are shown
OF_SHOWN: Final = ("shard", "file_name", "class_name", "boxes_model", "reason")


def read_image_rows(store: Store, method: str) -> pd.DataFrame:
    """One row per image with the metrics of ``method``; names and boxes as :func:`image_frame` has them."""
    asked = [(method, metric) for metric in METRICS]
    scores = read_scores(store, _COLUMNS, asked)
    place = scores.examples.column_names.index("correct")
    answered = scores.examples["correct"].fill_null(False)
    images = image_frame(scores.examples.set_column(place, "correct", answered))
    named = {name: _named(images[name]) for name in ("class_name", "status")}
    return images.assign(**named, **dict(zip(METRICS, scores.values.T, strict=True)))


def _named(column: pd.Series) -> pd.Series:
    """Categories, empty text where there is none."""
    if not column.hasnans:
        return column
    return (column if "" in column.cat.categories else column.cat.add_categories("")).fillna("")
