"""Random and constant maps: what every other method has to beat."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from explainers.analyzer import State
from explainers.checks import whole
from explainers.network import Network
from explainers.registry import register
from explainers.sampling.analyzer import Maps, SamplingAnalyzer, SamplingFitted
from explainers.targets import Goal


@register("random", family="baseline", paper="none", cost="1 forward pass")
@dataclass(frozen=True)
class Random(SamplingAnalyzer):
    """Independent standard normal numbers; they depend on `seed` and on the image, not on its place."""

    method: ClassVar[str] = "random"
    seed: int = 0

    def __post_init__(self) -> None:
        whole("seed", self.seed, 0)

    def bind(self, net: Network, state: State) -> RandomFitted:
        return RandomFitted(self, net, state)


class RandomFitted(SamplingFitted):
    """Random maps in the shape of the input."""

    analyzer: Random

    def explain(self, x: np.ndarray, inputs: tuple[np.ndarray, ...], goal: Goal, output: np.ndarray) -> Maps:
        return Maps(np.stack([self._draw(image) for image in x]))

    def _draw(self, image: np.ndarray) -> np.ndarray:
        digest = hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=8).digest()
        return np.random.default_rng((self.analyzer.seed, int.from_bytes(digest, "big"))).standard_normal(
            image.shape
        )


@register("constant", family="baseline", paper="none", cost="1 forward pass")
@dataclass(frozen=True)
class Constant(SamplingAnalyzer):
    """1 everywhere: the map that knows nothing."""

    method: ClassVar[str] = "constant"

    def bind(self, net: Network, state: State) -> ConstantFitted:
        return ConstantFitted(self, net, state)


class ConstantFitted(SamplingFitted):
    """Maps of ones."""

    def explain(self, x: np.ndarray, inputs: tuple[np.ndarray, ...], goal: Goal, output: np.ndarray) -> Maps:
        return Maps(np.ones_like(x))
