"""Pictures with their object, holes in them and what fills a hole. Pure NumPy, no network.

Pictures are (h, w, 3) uint8 in the model's geometry, masks (h, w) bool: the union of the object's boxes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation, gaussian_filter

FILLS = ("mean", "blur", "noise")
CELLS = 32  # resolution at which a hole is filled in smoothly
RIM = 0.02  # share of the side by which a hole is larger than the box: boxes cut off the object's rim


@dataclass(frozen=True)
class Scene:
    """One picture and where its object is."""

    picture: np.ndarray
    mask: np.ndarray


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
        return np.broadcast_to(np.rint(picture[~hole].mean(axis=0)).astype(np.uint8), picture.shape)
    if kind == "blur":
        return inpaint(picture, hole)
    raise ValueError(f"fill {kind!r} is unknown; valid: {', '.join(FILLS)}")


def inpaint(picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The known pixels continued by normalised convolution with wider and wider Gaussians (Knutsson 1993)."""
    height, width = hole.shape
    rows, columns = (np.arange(min(CELLS, n)) * n // min(CELLS, n) for n in (height, width))

    def cells(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1)

    there = cells((~hole).astype(np.float32))
    colour = cells(np.where(hole[..., None], 0, picture).astype(np.float32))
    total = colour.sum(axis=(0, 1)) / max(there.sum(), 1.0)
    smooth = np.broadcast_to(total, colour.shape)
    for sigma in (8.0, 4.0, 2.0, 1.0):
        weight = gaussian_filter(there, sigma)[..., None]
        spread = gaussian_filter(colour, (sigma, sigma, 0))
        # where a narrower Gaussian reaches known pixels it takes over from the wider one
        share = np.clip(weight / (0.05 * there.max()), 0, 1)
        smooth = np.where(
            weight > 0, share * spread / np.maximum(weight, 1e-12) + (1 - share) * smooth, smooth
        )
    small = Image.fromarray(np.clip(np.rint(smooth), 0, 255).astype(np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))


def widen(mask: np.ndarray) -> np.ndarray:
    """The mask with a rim of ``RIM`` of the picture's side."""
    return binary_dilation(mask, iterations=max(1, round(RIM * float(np.mean(mask.shape)))))


def replace(picture: np.ndarray, where: np.ndarray, other: np.ndarray) -> np.ndarray:
    """``other`` inside ``where``, ``picture`` elsewhere."""
    return np.where(where[..., None], other, picture)


def window_sums(mask: np.ndarray, h: int, w: int) -> np.ndarray:
    """Pixels of the mask under an ``h`` x ``w`` window at every place."""
    total = np.pad(mask.astype(np.int64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    return total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]
