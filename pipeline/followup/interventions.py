"""Edits of pictures that take the object away, or everything but the object. Pure NumPy, no network.

Pictures are (h, w, 3) uint8 in the model's geometry, masks (h, w) bool: the union of the object's boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation, gaussian_filter

from pipeline.seeds import alike

FILLS = ("mean", "blur", "noise")
CELLS = 32  # resolution at which a hole is filled in smoothly
RIM = 0.02  # share of the side by which a hole is larger than the box: boxes cut off the object's rim
MOST_HOLE = 0.9  # share of the picture that may be hole before nothing of a background is left
MOST_OVERLAP = 0.25  # share of a control box that may lie on the object
ASPECTS = (1.0, 0.5, 2.0, 0.25, 4.0)  # tried for a control box when the object's own shape finds no room


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


def without_object(scene: Scene, kind: str, rng: np.random.Generator) -> np.ndarray:
    """The box removed, the background kept."""
    hole = widen(scene.mask)
    return replace(scene.picture, hole, fill(kind, scene.picture, hole, rng))


def without_background(scene: Scene, kind: str, rng: np.random.Generator) -> np.ndarray:
    """The box kept, all else replaced by ``noise`` or by itself blurred with sigma = side / 10 (``blur``)."""
    if kind == "noise":
        ground = rng.integers(0, 256, scene.picture.shape, np.uint8)
    else:
        sigma = 0.1 * float(np.mean(scene.mask.shape))
        ground = gaussian_filter(scene.picture.astype(np.float32), (sigma, sigma, 0)).astype(np.uint8)
    return replace(ground, scene.mask, scene.picture)


def control_box(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Mask of a random rectangle as large as the object and off it; None where there is no room.

    The object's own bounding box is moved if it finds room, else rectangles of other shapes are tried; at
    most a quarter of it may overlap the object, and a place without overlap is preferred.
    """
    area = int(mask.sum())
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows) or area >= height * width / 2 * (1 + MOST_OVERLAP):
        return None
    box = (rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
    aspect = box[0] / box[1]
    for factor in ASPECTS:
        h = min(height, max(1, round((area * aspect * factor) ** 0.5)))
        w = min(width, max(1, round(area / h)))
        overlap = window_sums(mask, h, w)
        if overlap.min() <= MOST_OVERLAP * h * w:
            places = np.argwhere(overlap == overlap.min())
            top, left = places[rng.integers(len(places))]
            control = np.zeros_like(mask)
            control[top : top + h, left : left + w] = True
            return control
    return None


def window_sums(mask: np.ndarray, h: int, w: int) -> np.ndarray:
    """Pixels of the mask under an ``h`` x ``w`` window at every place."""
    total = np.pad(mask.astype(np.int64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    return total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]


@dataclass(frozen=True)
class Exchange:
    """The same hole in two backgrounds, of the object's own class and of another, with and without it.

    Attributes:
        same, other: hole filled, no object; same_object, other_object: the object put back into its place.
    """

    same: np.ndarray
    other: np.ndarray
    same_object: np.ndarray
    other_object: np.ndarray


def exchange(scene: Scene, same: Scene, other: Scene, kind: str, rng: np.random.Generator) -> Exchange | None:
    """Put the object of ``scene`` onto two backgrounds; None where too little of them is left.

    ``same``, ``other``: who gives them, a scene of the object's own class and one of another class.

    The hole is the union of all three objects' boxes, so both backgrounds are cut in the same way: neither
    the size nor the shape of a box can tell the class, and noise is the same in both.
    """
    hole = widen(scene.mask | same.mask | other.mask)
    if hole.mean() > MOST_HOLE:
        return None
    grounds = [
        replace(donor.picture, hole, fill(kind, donor.picture, hole, twin))
        for donor, twin in zip((same, other), alike(rng, 2), strict=True)
    ]
    with_object = [replace(g, scene.mask, scene.picture) for g in grounds]
    return Exchange(*grounds, *with_object)


def closest_mask(hole: np.ndarray, masks: Sequence[np.ndarray]) -> int:
    """Index of the mask that adds least to ``hole``."""
    return int(np.argmin([np.count_nonzero(m & ~hole) for m in masks]))
