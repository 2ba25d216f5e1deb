"""Pictures with their object, holes in them and what fills a hole. Pure NumPy, no network.

Pictures are (h, w, 3) uint8 in the model's geometry, masks (h, w) bool: the union of the object's boxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter1d

FILLS = ("mean", "blur", "noise")
COARSE = 16  # cells a side at which boxes are compared
CELLS = 32  # resolution at which a hole is filled in smoothly
RIM = 0.02  # share of the side by which a hole is larger than the box: boxes cut off the object's rim
WIDE_RIM = 0.10  # the same of the wider hole: what lies within it is the object's own, or its next neighbour
_SPREADS = (8.0, 4.0, 2.0, 1.0)  # of the Gaussians that continue a picture into a hole, cells


@dataclass(frozen=True)
class Scene:
    """One picture and where its object is."""

    picture: np.ndarray
    mask: np.ndarray

    @cached_property
    def cells(self) -> np.ndarray:
        """Pixels of the mask in each of 16 x 16 cells (fewer of a smaller picture) over those of a cell."""
        rows, columns = (np.arange(min(COARSE, n)) * n // min(COARSE, n) for n in self.mask.shape)
        sums = np.add.reduceat(np.add.reduceat(self.mask.astype(np.float32), rows, axis=0), columns, axis=1)
        return np.minimum(sums.ravel() * sums.size / self.mask.size, 1.0)


def fill(kind: str, picture: np.ndarray, hole: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(h, w, 3) uint8 to put into ``hole``: made of what lies outside it, or of nothing (noise).

    ``mean``: mean colour outside the hole; ``blur``: the surroundings smoothly continued into it; ``noise``:
    uniform in 0..255.
    """
    if kind == "noise":
        return rng.integers(0, 256, picture.shape, np.uint8)
    if hole.all():
        return np.full_like(picture, 127)
    if kind == "mean":
        return np.broadcast_to(mean_colour(picture, ~hole), picture.shape)
    if kind == "blur":
        return inpaint(picture, hole)
    raise ValueError(f"fill {kind!r} is unknown; valid: {', '.join(FILLS)}")


def mean_colour(picture: np.ndarray, where: np.ndarray) -> np.ndarray:
    """(3,) uint8: the mean of the pixels in ``where``, of which there are some."""
    total = where.ravel().astype(np.float32) @ picture.reshape(-1, 3).astype(np.float32)
    return np.rint(total / np.count_nonzero(where)).astype(np.uint8)


def inpaint(picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The known pixels continued by normalised convolution with wider and wider Gaussians (Knutsson 1993)."""
    height, width = hole.shape
    rows, columns = (np.arange(min(CELLS, n)) * n // min(CELLS, n) for n in (height, width))
    kept = np.concatenate([picture, np.full((height, width, 1), 255, np.uint8)], axis=2)
    kept = np.where(hole[..., None], 0, kept).astype(np.float32)
    cells = np.add.reduceat(np.add.reduceat(kept, rows, axis=0), columns, axis=1)
    cells[..., 3] /= 255  # pixels that are known, per cell
    there = cells[..., 3]
    total = cells[..., :3].sum(axis=(0, 1)) / max(there.sum(), 1.0)
    smooth = np.broadcast_to(total, (*there.shape, 3))
    for over_rows, over_columns in zip(_blurs(len(rows)), _blurs(len(columns)), strict=True):
        spread = np.einsum("ar,rcd,bc->abd", over_rows, cells, over_columns, optimize=True)
        weight = spread[..., 3:]
        # where a narrower Gaussian reaches known pixels it takes over from the wider one
        share = np.clip(weight / (0.05 * there.max()), 0, 1)
        reached = share * spread[..., :3] / np.maximum(weight, 1e-12) + (1 - share) * smooth
        smooth = np.where(weight > 0, reached, smooth)
    small = Image.fromarray(np.clip(np.rint(smooth), 0, 255).astype(np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))


@cache
def _blurs(n: int) -> tuple[np.ndarray, ...]:
    """Matrices (n, n) that blur a column of n cells by each of the Gaussians; mirrored at its ends."""
    return tuple(gaussian_filter1d(np.eye(n, dtype=np.float32), sigma, axis=0) for sigma in _SPREADS)


def widen(mask: np.ndarray, rim: float = RIM) -> np.ndarray:
    """The mask with a rim of a share of the picture's side: every pixel grows into a square."""
    reach = max(1, round(rim * float(np.mean(mask.shape))))
    for axis in (0, 1):
        total = np.cumsum(mask, axis=axis, dtype=np.int32)
        n = mask.shape[axis]
        ends = np.minimum(np.arange(n) + reach, n - 1)
        starts = np.arange(n) - reach - 1
        before = np.take(total, np.maximum(starts, 0), axis=axis)
        outside = np.expand_dims(starts < 0, 1 - axis)
        mask = np.take(total, ends, axis=axis) > np.where(outside, 0, before)
    return mask


def replace(picture: np.ndarray, where: np.ndarray, other: np.ndarray) -> np.ndarray:
    """``other`` inside ``where``, ``picture`` elsewhere."""
    # of the same shape, not broadcast along three channels: two thirds of the time
    return np.where(np.repeat(where[..., None], picture.shape[-1], axis=-1), other, picture)


def window_sums(mask: np.ndarray, h: int, w: int) -> np.ndarray:
    """Pixels of the mask under an ``h`` x ``w`` window at every place; of an array of numbers, their sum."""
    values = mask.astype(np.int64) if mask.dtype == bool else mask.astype(np.float64)
    total = np.pad(values.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    return total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]
