"""The effects of edits on images that two runs edited alike, after minus before."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.measure.interventions.kinds import all_contrasts
from pipeline.run.edited_parts import read_edited
from pipeline.run.store import Store
from pipeline.statistics.arrays import Floats
from pipeline.statistics.differences import RELEVANT_EFFECT, MeasuredChange, Pairs, measure_change


def effect_changes(run: Store, baseline: Store, n_min: int) -> dict[str, MeasuredChange]:
    """Deciding contrast -> its change per class; empty where one of the runs has no edited images.

    Raises:
        InputError: a part of the table ``interventions`` cannot be used.
    """
    before, now = read_edited(baseline), read_edited(run)
    if before is None or now is None:
        return {}
    chunks = before["example_id"].chunks + now["example_id"].chunks
    ids = pc.unique(pa.chunked_array(chunks, pa.string()))
    old, new = _Edited(before, ids), _Edited(now, ids)
    made = {}
    for contrast in all_contrasts().values():
        if contrast.decides:
            change = new.contrast(contrast.of, contrast.less) - old.contrast(contrast.of, contrast.less)
            rows = np.flatnonzero(np.isfinite(change))
            rows = rows[np.argsort(new.label[rows], kind="stable")]
            pairs = Pairs(new.label[rows], change[rows], RELEVANT_EFFECT, 1)
            made[contrast.name] = measure_change(pairs, n_min)
    return made


class _Edited:
    """The answers to edited images, by image: the place of each in ``ids``."""

    def __init__(self, table: pa.Table, ids: pa.Array) -> None:
        self._image = pc.index_in(table["example_id"], ids).to_numpy()
        self._probability = table["probability"].cast(pa.float64()).fill_null(np.nan).to_numpy()
        edit = pc.split_pattern(table["edit"].cast(pa.string()), ":", max_splits=1)
        self._kind = pc.list_element(edit, 0).to_numpy()
        self._size = len(ids)
        self.label = np.zeros(self._size, dtype=np.int64)
        self.label[self._image] = table["label"].to_numpy()

    def contrast(self, of: str, less: str) -> Floats:
        """Mean over the variants of one edit minus that of another (images,), nan where one is missing."""
        return self._mean(of) - self._mean(less)

    def _mean(self, kind: str) -> Floats:
        rows = (self._kind == kind) & np.isfinite(self._probability)
        count = np.bincount(self._image[rows], minlength=self._size)
        total = np.bincount(self._image[rows], self._probability[rows], self._size)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)
