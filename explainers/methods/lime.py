"""LIME: a weighted linear model of the logit in segments that are on or off."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from keras import ops

from explainers.analyzer import State
from explainers.checks import Numbers, between, numbers, whole
from explainers.engine import Tensor
from explainers.errors import InvalidParameter
from explainers.inputs import image_shape
from explainers.network import Network
from explainers.registry import register
from explainers.sampling.analyzer import Maps, SamplingAnalyzer, SamplingFitted, spread
from explainers.sampling.segments import Segmentation, check_samples
from explainers.sampling.trials import Trials
from explainers.targets import Goal


@register(
    "lime",
    family="perturbation",
    paper="Ribeiro, Singh, Guestrin 2016 (arXiv:1602.04938)",
    cost="1 + samples forward passes",
)
@dataclass(frozen=True)
class Lime(SamplingAnalyzer):
    """`min_(v, v0) sum_i pi_i (f(x_i) - v0 - z_i v)^2 + alpha |v|^2`; every pixel of segment s gets `v_s`.

    `z_i` says which segments of sample i are on, each with probability 1/2, all of them in the first;
    a segment that is off shows `value`, or its own mean colour (`"mean"`). `pi = sqrt(exp(-d^2 /
    width^2))` with the cosine distance d between `z_i` and all ones. Segments: `quickshift` with
    `kernel_size`, `max_dist`, `ratio`, or a `grid` of squares of `size`. The channels share equally.
    """

    method: ClassVar[str] = "lime"
    samples: int = 1000
    segmentation: str = "quickshift"
    size: int = 16
    kernel_size: float = 4.0
    max_dist: float = 200.0
    ratio: float = 0.2
    width: float = 0.25
    alpha: float = 1.0
    value: str | Numbers = "mean"
    seed: int = 0
    batch_size: int = 32

    def __post_init__(self) -> None:
        check_samples(self.samples)
        whole("seed", self.seed, 0)
        whole("batch_size", self.batch_size)
        between("width", self.width, 0, np.inf, open_low=True)
        between("alpha", self.alpha, 0, np.inf)
        if isinstance(self.value, str) and self.value != "mean":
            raise InvalidParameter(
                f"value: received {self.value!r}; valid: 'mean', a number, or one per channel"
            )
        if not isinstance(self.value, str):
            numbers("value", self.value)
        self.cut()

    def plain(self) -> Self:
        return self if isinstance(self.value, str) else replace(self, value=numbers("value", self.value))

    def cut(self) -> Segmentation:
        """How images are segmented."""
        return Segmentation(self.segmentation, self.size, self.kernel_size, self.max_dist, self.ratio)

    def bind(self, net: Network, state: State) -> LimeFitted:
        return LimeFitted(self, net, state)


def neighbours(segments: int, samples: int, seed: int) -> np.ndarray:
    """`samples segments` zeros and ones: which segments are on; the first sample is the image itself."""
    z = np.random.default_rng((seed, segments)).integers(0, 2, (samples, segments)).astype(np.float64)
    z[0] = 1
    return z


def proximity(z: np.ndarray, width: float) -> np.ndarray:
    """`sqrt(exp(-d^2 / width^2))`, d the cosine distance to all ones: `1 - sqrt(share of segments on)`."""
    distance = 1 - np.sqrt(z.mean(axis=1))
    return np.sqrt(np.exp(-(distance**2) / width**2))


def weighted_ridge(
    z: np.ndarray, y: np.ndarray, weights: np.ndarray, alpha: float
) -> tuple[np.ndarray, float]:
    """Coefficients and intercept of the weighted ridge regression; the intercept is not shrunk.

    With `alpha` 0 and a singular problem: the solution of least norm.
    """
    share = weights / weights.sum()
    z_mean, y_mean = share @ z, share @ y
    root = np.sqrt(weights)[:, None]
    centred, residual = root * (z - z_mean), root[:, 0] * (y - y_mean)
    if alpha > 0:
        gram = centred.T @ centred + alpha * np.eye(z.shape[1])
        coefficients = np.linalg.solve(gram, centred.T @ residual)
    else:
        coefficients = np.linalg.lstsq(centred, residual, rcond=None)[0]
    return coefficients, float(y_mean - z_mean @ coefficients)


def segment_means(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The image with every segment in its mean colour."""
    flat = labels.reshape(-1)
    count = np.bincount(flat)
    pixels = image.reshape(len(flat), -1).astype(np.float64)
    means = np.stack([np.bincount(flat, channel) / count for channel in pixels.T], axis=1)
    return means[flat].reshape(image.shape).astype(image.dtype)


def switched(x: Tensor, off: Tensor, labels: Tensor, on: Tensor) -> Tensor:
    """`x` where a pixel's segment is on, else `off`; `on` is n S, `labels` n h w."""
    n, h, w, _ = x.shape
    keep = ops.take_along_axis(on, ops.reshape(labels, (n, h * w)), axis=1)
    return ops.where(ops.reshape(keep, (n, h, w, 1)) > 0, x, off)


class LimeFitted(SamplingFitted):
    """LIME of one network."""

    analyzer: Lime

    def prepare(self) -> None:
        image_shape(self.network, "lime")
        if not isinstance(self.analyzer.value, str):
            self.constant("value", self.analyzer.value)
        self.trials = Trials("lime", self.network, switched, self.analyzer.batch_size)

    def explain(self, x: np.ndarray, inputs: tuple[np.ndarray, ...], goal: Goal, output: np.ndarray) -> Maps:
        a = self.analyzer
        labels = np.stack([a.cut().labels(image) for image in x])
        draws = [neighbours(int(segmented.max()) + 1, a.samples, a.seed) for segmented in labels]
        most = max(z.shape[1] for z in draws)
        padded = np.stack([np.pad(z, ((0, 0), (0, most - z.shape[1]))) for z in draws]).astype(np.int32)
        extras = (self._off(x, labels), labels)
        scores = self.trials.scores(
            (*inputs, *extras), goal, a.samples, lambda rows, which: (padded[rows, which],)
        )
        maps = []
        for segmented, z, y in zip(labels, draws, scores, strict=True):
            coefficients, _ = weighted_ridge(z, y, proximity(z, a.width), a.alpha)
            maps.append(coefficients[segmented])
        return Maps(spread(np.stack(maps), x.shape[-1]))

    def _off(self, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """What the images look like where they are switched off."""
        if isinstance(self.analyzer.value, str):
            return np.stack(
                [segment_means(image, segmented) for image, segmented in zip(x, labels, strict=True)]
            )
        return np.broadcast_to(self.constant("value", self.analyzer.value), x.shape).astype(x.dtype)
