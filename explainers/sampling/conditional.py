"""The normal distribution of image patches, and of a window of one given the pixels around it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from explainers.errors import InvalidInput
from explainers.inputs import explained_index, is_array, stream
from explainers.network import Network
from explainers.sampling.moments import Covariance

_RIDGE = 1e-6  # of the mean variance: patches of real images are nearly collinear
_SHARE = 2_000  # patches that are cut out at once


class Given(NamedTuple):
    """`window | ring ~ N(mean + gain (ring - ring mean), factor factor^T)` for one place of the window."""

    window: np.ndarray
    ring: np.ndarray
    gain: np.ndarray
    factor: np.ndarray


class Conditional:
    """Draws windows of `size` x `size` inside patches of `shape` (side, side, channels)."""

    def __init__(self, mean: np.ndarray, covariance: np.ndarray, shape: tuple[int, int, int], size: int):
        self.mean, self.shape, self.size = np.asarray(mean, np.float64), shape, size
        ridge = _RIDGE * max(float(np.trace(covariance)) / len(covariance), 1e-12)
        self.covariance = np.asarray(covariance, np.float64) + ridge * np.eye(len(covariance))
        self._given: dict[tuple[int, int], Given] = {}

    def given(self, offset: tuple[int, int]) -> Given:
        """The distribution for a window that starts at `offset` inside the patch."""
        if offset not in self._given:
            inside = np.zeros(self.shape, bool)
            inside[offset[0] : offset[0] + self.size, offset[1] : offset[1] + self.size] = True
            window, ring = np.flatnonzero(inside), np.flatnonzero(~inside)
            c = self.covariance
            cross = c[np.ix_(window, ring)]
            if len(ring):
                gain = scipy.linalg.cho_solve(scipy.linalg.cho_factor(c[np.ix_(ring, ring)]), cross.T).T
            else:
                gain = np.zeros((len(window), 0))
            rest = c[np.ix_(window, window)] - gain @ cross.T
            floor = _RIDGE * np.trace(c) / len(c) * 1e-3
            factor = np.linalg.cholesky((rest + rest.T) / 2 + floor * np.eye(len(rest)))
            self._given[offset] = Given(window, ring, gain, factor)
        return self._given[offset]

    def draw(self, image: np.ndarray, corner: tuple[int, int], noise: np.ndarray) -> np.ndarray:
        """One window, `size size c`, at `corner` of the image, from standard normal `noise`.

        The patch around the window is moved into the image where it would stand over the edge.
        """
        side = self.shape[0]
        ring = (side - self.size) // 2
        start = [min(max(p - ring, 0), n - side) for p, n in zip(corner, image.shape, strict=False)]
        patch = image[start[0] : start[0] + side, start[1] : start[1] + side].reshape(-1).astype(np.float64)
        given = self.given((corner[0] - start[0], corner[1] - start[1]))
        mean = self.mean[given.window] + given.gain @ (patch[given.ring] - self.mean[given.ring])
        return (mean + given.factor @ noise).reshape(self.size, self.size, -1)


def patches(net: Network, data: Any, side: int, count: int, seed: int) -> dict[str, np.ndarray]:
    """Mean, covariance, lowest and highest value per channel of random patches of the data.

    Every image of the data gives `count / images` patches when the data are an array; of a stream,
    whose length is not known, every image gives `count / 100`, at least one.
    """
    moments, lows, highs = Covariance(), [], []
    rng = np.random.default_rng(seed)
    for batch in stream(net, data, "prediction_difference"):
        images = batch[explained_index(net)]
        if min(images.shape[1:3]) < side:
            raise InvalidInput(
                f"size + 2 padding is {side}; valid: at most the images' shorter side, "
                f"{min(images.shape[1:3])}"
            )
        each = max(1, -(-count // (len(images) if is_array(data) else 100)))
        axes = tuple(range(images.ndim - 1))
        lows.append(images.min(axis=axes))
        highs.append(images.max(axis=axes))
        which = np.repeat(np.arange(len(images)), each)
        for begin in range(0, len(which), _SHARE):
            moments.add(_cut(images, which[begin : begin + _SHARE], side, rng))
    return {
        "mean": np.asarray(moments.mean),
        "covariance": moments.covariance,
        "low": np.min(lows, axis=0),
        "high": np.max(highs, axis=0),
    }


def _cut(images: np.ndarray, which: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """One random patch per entry, flat."""
    views = np.lib.stride_tricks.sliding_window_view(images, (side, side), axis=(1, 2))
    tops = rng.integers(0, views.shape[1], len(which))
    lefts = rng.integers(0, views.shape[2], len(which))
    chosen = views[which, tops, lefts]  # n c side side
    return np.moveaxis(chosen, 1, -1).reshape(len(which), -1)
