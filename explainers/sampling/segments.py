"""Segments of an image that are switched on and off together: a grid, or quickshift super-pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from explainers.checks import between, one_of, whole
from explainers.errors import InvalidInput, InvalidParameter
from explainers.inputs import explained_index, stream
from explainers.network import Network

SEGMENTATIONS = ("quickshift", "grid")


@dataclass(frozen=True)
class Segmentation:
    """How an image is cut: squares of `size`, or quickshift with these parameters (Vedaldi, Soatto 2008)."""

    kind: str
    size: int = 16
    kernel_size: float = 4.0
    max_dist: float = 200.0
    ratio: float = 0.2

    def __post_init__(self) -> None:
        one_of("segmentation", self.kind, SEGMENTATIONS)
        whole("size", self.size)
        between("kernel_size", self.kernel_size, 0, np.inf, open_low=True)
        between("max_dist", self.max_dist, 0, np.inf, open_low=True)
        between("ratio", self.ratio, 0, 1)

    def labels(self, image: np.ndarray) -> np.ndarray:
        """`h w` int32, 0 .. S-1, every number used."""
        if self.kind == "grid":
            return grid(image.shape[:2], self.size)
        return quickshift(image, self.kernel_size, self.max_dist, self.ratio)


def grid(shape: tuple[int, ...], size: int) -> np.ndarray:
    """Squares of `size`, numbered row by row; those at the right and lower edge may be partial."""
    rows, columns = (np.arange(n) // size for n in shape[:2])
    return (rows[:, None] * (columns[-1] + 1) + columns).astype(np.int32)


def quickshift(image: np.ndarray, kernel_size: float, max_dist: float, ratio: float) -> np.ndarray:
    """Super-pixels of the image after every channel span is brought to [0, 1] as one.

    Three channels are taken as RGB and compared in Lab. An image of one colour is one segment.
    """
    from skimage.segmentation import quickshift as segment

    image = np.asarray(image, np.float64)
    low, high = image.min(), image.max()
    if high <= low:
        return np.zeros(image.shape[:2], np.int32)
    image = (image - low) / (high - low)
    labels = segment(
        image,
        ratio=ratio,
        kernel_size=kernel_size,
        max_dist=max_dist,
        convert2lab=image.shape[-1] == 3,
        rng=0,
    )
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)


def background(net: Network, data: Any, value: np.ndarray, limit: int, method: str) -> np.ndarray:
    """What stands where a segment is off, m h w c: the first `limit` images of the data, else `value`."""
    if data is None:
        # one pixel, broadcast to whatever size the images have
        rank = len(net.graph[net.graph.explained].shape) - 2
        return np.reshape(value, (1, *[1] * rank, len(value))).astype(net.dtype)
    images: list[np.ndarray] = []
    for batch in stream(net, data, method):
        images.extend(batch[explained_index(net)])
        if len(images) >= limit:
            break
    if len({image.shape for image in images}) != 1:
        raise InvalidInput(f"{method}: the reference images have different shapes; valid: one shape")
    return np.stack(images[:limit])


def check_samples(samples: Any) -> int:
    """At least two evaluations."""
    if whole("samples", samples) < 2:
        raise InvalidParameter(f"samples: received {samples}; valid: 2 or more")
    return samples
