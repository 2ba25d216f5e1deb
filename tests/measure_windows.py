"""Pictures of noise with a mark at a known place, and windows about it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from pipeline.measure.transfer.places import Place

SIDE, WINDOW = 64, 24


def noise(rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """(side, side, 3) uint8: colours that change smoothly, from 0 to 255."""
    rough = ndimage.gaussian_filter(rng.standard_normal((side, side, 3)), (3, 3, 0))
    low, high = rough.min(axis=(0, 1)), rough.max(axis=(0, 1))
    return np.rint(255 * (rough - low) / (high - low)).astype(np.uint8)


def windows_with(
    mark: np.ndarray, n: int, without: int, seed: int
) -> tuple[list[np.ndarray], list[Place], list[tuple[int, int]]]:
    """``n`` pictures, windows, and where the ``mark`` (h, w, 3) lies in the first ``n - without``: left, top.

    The windows lie about the mark, up to 3 pixels off its middle, as windows on a grid of cells do.
    """
    rng = np.random.default_rng(seed)
    pictures, places, at = [], [], []
    height, width = mark.shape[:2]
    for i in range(n):
        picture = noise(rng)
        x, y = int(rng.integers(6, SIDE - width - 6)), int(rng.integers(6, SIDE - height - 6))
        if i < n - without:
            picture[y : y + height, x : x + width] = mark
        off = rng.integers(-3, 4, 2)
        left, top = np.clip(
            [x + width // 2 - WINDOW // 2 + off[0], y + height // 2 - WINDOW // 2 + off[1]], 0, SIDE - WINDOW
        ).tolist()
        pictures.append(picture)
        places.append(Place(left, top, WINDOW, WINDOW, 0.5))
        at.append((x, y))
    return pictures, places, at
