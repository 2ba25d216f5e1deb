"""Where in a picture the window lies that is pasted onto others: most relevance beside the object. NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.measure.interventions.pictures import widen, window_sums

SHARES = (1 / 8, 1 / 5, 1 / 3)  # of the picture's side: how large a window may be
# The size with the largest sum of relevance over its area to this power: 0 would be the largest, 1, the mean,
# the smallest. Chosen on one network (docs/evidence.md): all are about as good, with this one all occur.
POWER = 0.25


@dataclass(frozen=True)
class Place:
    """A window in the model's input, pixel: left and upper edge from 0, size; ``relevance``: its share of the
    picture's."""

    x: int
    y: int
    width: int
    height: int
    relevance: float

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)


def best_place(cells: np.ndarray, taken: np.ndarray) -> Place | None:
    """The window that touches nothing ``taken`` and has most relevance over its area to the :data:`POWER`.

    ``cells``: relevance (r, c) >= 0 of a picture as the run stores it (:func:`~.rows.cell_sums`); ``taken``:
    (h, w) bool, the object in the picture. None where no window finds room, or there is no relevance beside
    the object.
    """
    (height, width), (rows, columns) = taken.shape, cells.shape
    top, left = (np.arange(n + 1) * side // n for n, side in ((rows, height), (columns, width)))
    touched = np.logical_or.reduceat(np.logical_or.reduceat(taken, top[:-1], axis=0), left[:-1], axis=1)
    best, score = None, 0.0
    for share in SHARES:
        h, w = max(1, round(rows * share)), max(1, round(columns * share))
        free = window_sums(touched, h, w) == 0
        scores = np.where(free, window_sums(cells, h, w) / (h * w) ** POWER, 0.0)
        y, x = map(int, np.unravel_index(scores.argmax(), scores.shape))
        if scores[y, x] > score:
            score = float(scores[y, x])
            held = float(cells[y : y + h, x : x + w].sum() / cells.sum())
            best = Place(
                int(left[x]), int(top[y]), int(left[x + w] - left[x]), int(top[y + h] - top[y]), held
            )
    return best


def object_mask(boxes: Sequence[dict[str, float]], height: int, width: int) -> np.ndarray:
    """(h, w) bool: the inclusive ``boxes`` in the model's input, and the rim that they cut off of objects."""
    mask = np.zeros((height, width), bool)
    for box in boxes:
        mask[int(box["ymin"]) : int(box["ymax"]) + 1, int(box["xmin"]) : int(box["xmax"]) + 1] = True
    return widen(mask) if boxes else mask
