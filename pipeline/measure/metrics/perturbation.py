"""Perturbation analysis: regions, their orders and what they are replaced by. Pure NumPy.

Samek et al. 2017, "Evaluating the visualization of what a deep neural network has learned" (regions),
Petsiuk et al. 2018, "RISE" (deletion and insertion). The forward passes are :mod:`pipeline.measure.curves`,
what is computed from a curve :mod:`pipeline.measure.curve_metrics`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

FILLS = ("uniform", "mean", "zero", "blur")
BLUR = 1 / 20  # sigma over the picture's side: 11 pixels of 224, about RISE's


@dataclass(frozen=True)
class Grid:
    """Non-overlapping ``side`` x ``side`` regions of a ``height`` x ``width`` input, row-major.

    The regions of the last row and column are smaller where the side does not divide the input.
    """

    height: int
    width: int
    side: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of regions."""
        return -(-self.height // self.side), -(-self.width // self.side)

    @property
    def count(self) -> int:
        """Number of regions."""
        return self.shape[0] * self.shape[1]

    def sums(self, maps: np.ndarray) -> np.ndarray:
        """(n, h, w) -> (n, count): sum over each region."""
        rows, columns = (np.arange(n) * self.side for n in self.shape)
        return np.add.reduceat(np.add.reduceat(maps, rows, axis=1), columns, axis=2).reshape(len(maps), -1)

    @property
    def areas(self) -> np.ndarray:
        """(count,) pixels of each region."""
        return self.sums(np.ones((1, self.height, self.width)))[0]

    def scores(self, maps: np.ndarray) -> np.ndarray:
        """(n, count): relevance of each region, its sum weighted by area to that of a whole region.

        ``side^2 / area * sum``: for whole regions the sum itself; a partial one is not least relevant merely
        because it is small.
        """
        return self.sums(np.asarray(maps, np.float64)) * (self.side**2 / self.areas)


def rank_regions(scores: np.ndarray, tie_break: np.ndarray, descending: bool) -> np.ndarray:
    """(count,) int32 position of each region in the order; 0 is perturbed first.

    Equal scores follow ``tie_break``, a random permutation.
    """
    order = np.lexsort((tie_break, -scores if descending else scores))
    ranks = np.empty(len(order), np.int32)
    ranks[order] = np.arange(len(order), dtype=np.int32)
    return ranks


def fill_picture(
    kind: str, image: np.ndarray, span: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """(h, w, c) float32 with which regions of ``image`` are replaced, in the model's input space.

    ``uniform``: independent uniform values between the lowest and highest input per channel, ``span``;
    ``mean``: the image's mean per channel; ``zero``: 0 in the model's input space; ``blur``: the image,
    Gaussian blurred with sigma = side / 20.
    """
    if kind == "uniform":
        low, high = (np.asarray(v, np.float32) for v in span)
        return low + (high - low) * rng.random(image.shape, np.float32)
    if kind == "mean":
        return np.broadcast_to(image.mean(axis=(0, 1), dtype=np.float64).astype(np.float32), image.shape)
    if kind == "zero":
        return np.zeros_like(image, np.float32)
    if kind == "blur":
        sigma = BLUR * np.mean(image.shape[:2])
        return gaussian_filter(image.astype(np.float32), (sigma, sigma, 0), mode="nearest")
    raise ValueError(f"fill {kind!r} is unknown; valid: {', '.join(FILLS)}")
