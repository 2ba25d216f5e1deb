"""Box masks as disjoint rectangles, and sums of a map inside them without ever drawing a mask."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.statistics.arrays import Floats, Ints

SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Masks:
    """The union of the boxes of n images, each as disjoint rectangles on the grid of the stored maps.

    corners: (m, 4) left, top, right, bottom in cells (fractions where a box ends inside a cell).
    start: (n + 1,): rectangles ``start[i]:start[i+1]`` are image i.
    """

    corners: NDArray[np.float32]
    start: Ints

    def take(self, images: Ints) -> tuple[Floats, Ints]:
        """Rectangles (r, 4) of ``images``, one after the other; whose they are, as positions in it."""
        count = self.start[images + 1] - self.start[images]
        owner = np.repeat(np.arange(len(images)), count)
        first = np.repeat(self.start[images] - np.concatenate([[0], np.cumsum(count)[:-1]]), count)
        return self.corners[first + np.arange(len(owner))].astype(float), owner


def masks_from(boxes: pa.ListArray, scale_x: float, scale_y: float) -> Masks:
    """``boxes_model`` (0-based, inclusive pixels) as masks; ``scale``: cells per pixel."""
    flat = boxes.flatten()
    sides = [flat.field(s).to_numpy(zero_copy_only=False).astype(float) for s in SIDES]
    corners = np.stack([sides[0], sides[1], sides[2] + 1, sides[3] + 1], axis=1)
    count = boxes.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    start = np.concatenate([[0], np.cumsum(count)])
    if (count > 1).any():
        pieces = [union(corners[i:j]) if j - i > 1 else corners[i:j] for i, j in pairwise(start)]
        start = np.concatenate([[0], np.cumsum([len(p) for p in pieces])])
        corners = np.concatenate(pieces)
    scale = np.array([scale_x, scale_y, scale_x, scale_y])
    return Masks((corners * scale).astype(np.float32), start)


def concatenate(parts: list[Masks]) -> Masks:
    """Masks of several shards as one."""
    offsets = np.cumsum([0] + [p.start[-1] for p in parts])
    starts = [p.start[:-1] + k for p, k in zip(parts, offsets[:-1], strict=True)]
    return Masks(np.concatenate([p.corners for p in parts]), np.concatenate([*starts, offsets[-1:]]))


def union(corners: Floats) -> Floats:
    """Disjoint rectangles (r, 4) that cover what the rectangles ``corners`` (k, 4) cover together."""
    x = np.unique(corners[:, [0, 2]])
    y = np.unique(corners[:, [1, 3]])
    out = []
    for top, bottom in pairwise(y):
        rows = corners[(corners[:, 1] <= top) & (corners[:, 3] >= bottom)]
        covered = np.zeros(len(x) + 1, dtype=np.int8)
        for left, _, right, _ in rows:
            covered[np.searchsorted(x, left) + 1 : np.searchsorted(x, right) + 1] = 1
        edges = np.flatnonzero(np.diff(covered))  # run starts and ends, alternating
        out += [(x[i], top, x[j], bottom) for i, j in zip(edges[::2], edges[1::2], strict=True)]
    return np.array(out).reshape(-1, 4)


def draw(corners: Floats, owner: Ints, shape: tuple[int, int, int]) -> Floats:
    """Masks (b, H, W): the share of every cell that an image's disjoint rectangles (>= 1) cover."""
    b, h, w = shape
    left, top, right, bottom = corners.T[:, :, None]
    y, x = np.arange(h), np.arange(w)
    rows = np.clip(bottom - y, 0, 1) - np.clip(top - y, 0, 1)
    columns = np.clip(right - x, 0, 1) - np.clip(left - x, 0, 1)
    return np.add.reduceat(rows[:, :, None] * columns[:, None, :], np.searchsorted(owner, np.arange(b)))


def tiled_sums(maps: Floats) -> Floats:
    """Summed-area tables (b, 2H + 1, 2W + 1) of maps (b, H, W) repeated twice in both directions.

    Entry (y, x) is the sum above and to the left of it; repeated, so that a shifted rectangle may wrap
    around.
    """
    b, h, w = maps.shape
    table = np.zeros((b, 2 * h + 1, 2 * w + 1))
    np.cumsum(np.tile(maps, (1, 2, 2)), axis=1, out=table[:, 1:, 1:])
    np.cumsum(table[:, 1:, 1:], axis=2, out=table[:, 1:, 1:])
    return table


def inside(table: Floats, image: Ints, corners: Floats) -> Floats:
    """Sum (r,) of map ``image[k]`` inside rectangle ``corners[k]``; a cut cell counts by its share."""
    left, top, right, bottom = corners.T
    return (
        _at(table, image, bottom, right)
        - _at(table, image, top, right)
        - _at(table, image, bottom, left)
        + _at(table, image, top, left)
    )


def _at(table: Floats, image: Ints, y: Floats, x: Floats) -> Floats:
    """Bilinear value of a summed-area table: exact when the map is constant within its cells."""
    _, rows, columns = table.shape
    i = np.minimum(y.astype(np.int64), rows - 2)
    j = np.minimum(x.astype(np.int64), columns - 2)
    v, u = y - i, x - j
    flat, corner = table.reshape(-1), (image * rows + i) * columns + j
    above = flat[corner] * (1 - u) + flat[corner + 1] * u
    below = flat[corner + columns] * (1 - u) + flat[corner + columns + 1] * u
    return above * (1 - v) + below * v
