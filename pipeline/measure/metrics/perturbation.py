"""Perturbation analysis: orders of regions, fills, and what is computed from a curve. Pure NumPy.

Samek et al. 2017, "Evaluating the visualization of what a deep neural network has learned" (regions, AOPC),
Petsiuk et al. 2018, "RISE" (deletion and insertion). The forward passes are :mod:`pipeline.measure.curves`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

ORDERS = ("morf", "lerf", "random", "deletion", "insertion")
FILLS = ("uniform", "mean", "zero", "blur")
BLUR = 1 / 20  # sigma over the picture's side: 11 pixels of 224, about RISE's

# name -> (about, unit); they are derived from the curves, so they stand beside the registry of map metrics
CURVE_METRICS = {
    "aopc_morf": ("mean drop of the score, most relevant regions first", "score"),
    "aopc_lerf": ("mean drop of the score, least relevant regions first", "score"),
    "aopc_random": ("mean drop of the score, regions in random order", "score"),
    "aopc_morf_random": ("aopc_morf - aopc_random: what the map knows beyond chance", "score"),
    "aopc_gap": ("aopc_morf - aopc_lerf: area between the two curves, larger is better", "score"),
    "deletion_auc": ("area under the deletion curve, smaller is better", "probability"),
    "insertion_auc": ("area under the insertion curve, larger is better", "probability"),
}


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


def aopc(curve: np.ndarray) -> float:
    """``1 / (L + 1) sum_{k=0..L} f(x_0) - f(x_k)`` of ``curve`` (L + 1,), Samek et al. 2017, equation 12."""
    curve = np.asarray(curve, np.float64)
    return float(np.mean(curve[0] - curve))


def area_under(curve: np.ndarray) -> float:
    """Trapezoidal area under a curve over the share of perturbed pixels, equally spaced from 0 to 1."""
    return float(np.trapezoid(np.asarray(curve, np.float64), dx=1 / (len(curve) - 1)))


def curve_metrics(curves: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The metrics that the ``curves`` (order -> values) of one image and method allow."""
    found = {f"aopc_{o}": aopc(curves[o]) for o in ("morf", "lerf", "random") if o in curves}
    if {"morf", "random"} <= curves.keys():
        found["aopc_morf_random"] = found["aopc_morf"] - found["aopc_random"]
    if {"morf", "lerf"} <= curves.keys():
        found["aopc_gap"] = found["aopc_morf"] - found["aopc_lerf"]
    for order in ("deletion", "insertion"):
        if order in curves:
            found[f"{order}_auc"] = area_under(curves[order])
    return found
