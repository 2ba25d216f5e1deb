"""SmoothGrad, SquareGrad and VarGrad: moments of the gradient under noise at the input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from explainers.analyzer import State
from explainers.checks import Numbers, between, contained, one_of, span, whole
from explainers.errors import InvalidParameter
from explainers.network import Network
from explainers.registry import register
from explainers.rules.presets import GRADIENT, Preset
from explainers.sampling.analyzer import Maps, SamplingAnalyzer, SamplingFitted
from explainers.sampling.moments import Moments
from explainers.sampling.slopes import Slopes
from explainers.targets import Goal

COST = "1 + augment_by_n x 2 forward passes"
POSTPROCESS = ("none", "abs", "square")


@dataclass(frozen=True)
class NoisyGradient(SamplingAnalyzer):
    """Gradients at `x + n`, `n ~ N(0, (noise_scale (high - low))^2)`, `augment_by_n` draws.

    `low`, `high`: the model's input range, whose width is the unit of the noise. The draws are the
    same for every image of a call and for every call with the same `seed`.
    """

    method: ClassVar[str] = ""
    low: Numbers
    high: Numbers
    augment_by_n: int = 32
    noise_scale: float = 0.15
    seed: int = 0
    batch_size: int = 16

    def __post_init__(self) -> None:
        whole("augment_by_n", self.augment_by_n)
        whole("batch_size", self.batch_size)
        whole("seed", self.seed, 0)
        between("noise_scale", self.noise_scale, 0, np.inf)
        span(self.low, self.high)

    def plain(self) -> Self:
        low, high = span(self.low, self.high)
        return replace(self, low=low, high=high)

    def processed(self, gradients: np.ndarray) -> np.ndarray:
        """What of each gradient is collected."""
        return gradients

    def collected(self, moments: Moments) -> np.ndarray:
        """The map, from the moments of what was collected."""
        return np.asarray(moments.mean)

    def preset(self) -> Preset:
        return GRADIENT

    def passes(self, crossing: float) -> float:
        return 1 + self.augment_by_n * crossing

    def bind(self, net: Network, state: State) -> NoisyGradientFitted:
        return NoisyGradientFitted(self, net, state)


@register(
    "smoothgrad",
    family="gradient",
    paper="Smilkov et al. 2017 (arXiv:1706.03825)",
    cost=COST,
)
@dataclass(frozen=True)
class SmoothGrad(NoisyGradient):
    """`R = mean_n p(df/dx (x + n))`; `postprocess` p is `none`, `abs` or `square`."""

    method: ClassVar[str] = "smoothgrad"
    postprocess: str = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("postprocess", self.postprocess, POSTPROCESS)

    def processed(self, gradients: np.ndarray) -> np.ndarray:
        if self.postprocess == "none":
            return gradients
        return np.abs(gradients) if self.postprocess == "abs" else np.square(gradients)


@register(
    "squaregrad",
    family="gradient",
    paper="Hooker et al. 2019 (arXiv:1806.10758)",
    cost=COST,
)
@dataclass(frozen=True)
class SquareGrad(NoisyGradient):
    """`R = mean_n (df/dx (x + n))^2`."""

    method: ClassVar[str] = "squaregrad"

    def processed(self, gradients: np.ndarray) -> np.ndarray:
        return np.square(gradients)


@register(
    "vargrad",
    family="gradient",
    paper="Adebayo et al. 2018 (arXiv:1810.03292)",
    cost=COST,
)
@dataclass(frozen=True)
class VarGrad(NoisyGradient):
    """`R = var_n df/dx (x + n)`, of the sample (n - 1), by Welford's update."""

    method: ClassVar[str] = "vargrad"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.augment_by_n < 2:
            raise InvalidParameter(
                f"augment_by_n: received {self.augment_by_n}; valid: 2 or more for a variance"
            )

    def collected(self, moments: Moments) -> np.ndarray:
        return np.asarray(moments.squares) / (moments.count - 1)


class NoisyGradientFitted(SamplingFitted):
    """Moments of the noisy gradient of one network."""

    analyzer: NoisyGradient

    def prepare(self) -> None:
        a = self.analyzer
        self.scale = a.noise_scale * (self.constant("high", a.high) - self.constant("low", a.low))
        self.slopes = Slopes(a.method, self.network, lambda x, noise: x + noise, a.batch_size)

    def noise(self, shape: tuple[int, ...], which: np.ndarray) -> np.ndarray:
        """The draws with these numbers, in units of the input."""
        draws = [np.random.default_rng((self.analyzer.seed, int(j))).standard_normal(shape) for j in which]
        return (np.stack(draws) * self.scale).astype(self.network.dtype)

    def explain(self, x: np.ndarray, inputs: tuple[np.ndarray, ...], goal: Goal, output: np.ndarray) -> Maps:
        a = self.analyzer
        contained("the range", x, a.low, a.high)
        moments = [Moments() for _ in x]
        spec = lambda rows, which: (self.noise(x.shape[1:], which),)  # noqa: E731
        for rows, _, gradients in self.slopes(inputs, goal, a.augment_by_n, spec):
            gradients = a.processed(gradients.astype(np.float64))
            for row in np.unique(rows):
                moments[row].add(gradients[rows == row])
        return Maps(np.stack([a.collected(m) for m in moments]))
