"""Occlusion: how much of the logit is lost when a window of the image is covered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from keras import ops

from explainers.analyzer import State
from explainers.checks import Numbers, numbers, whole
from explainers.engine import Tensor
from explainers.inputs import image_shape
from explainers.network import Network
from explainers.registry import register
from explainers.sampling.analyzer import Maps, SamplingAnalyzer, SamplingFitted, spread
from explainers.sampling.trials import Trials
from explainers.sampling.windows import corners, fits, paint
from explainers.targets import Goal


@register(
    "occlusion",
    family="perturbation",
    paper="Zeiler, Fergus 2014 (arXiv:1311.2901)",
    cost="1 + ceil(h / stride) x ceil(w / stride) forward passes",
)
@dataclass(frozen=True)
class Occlusion(SamplingAnalyzer):
    """`R_p = f(x) - f(x with window p set to value)`, on every pixel of the window.

    Windows of `size` start at every multiple of `stride` (0: `size`), so those at the right and lower
    edge may be partial; where windows overlap, a pixel gets their mean. `value` is in the model's
    preprocessed input space. The channels share a pixel's relevance equally.

    Raises InvalidParameter for a size below 1; fitting raises InvalidInput for one larger than the image.
    """

    method: ClassVar[str] = "occlusion"
    size: int = 8
    stride: int = 0
    value: Numbers = 0.0
    batch_size: int = 32

    def __post_init__(self) -> None:
        whole("size", self.size)
        whole("stride", self.stride, 0)
        whole("batch_size", self.batch_size)
        numbers("value", self.value)

    def plain(self) -> Self:
        return replace(self, value=numbers("value", self.value))

    def bind(self, net: Network, state: State) -> OcclusionFitted:
        return OcclusionFitted(self, net, state)


class OcclusionFitted(SamplingFitted):
    """Occlusion of one network."""

    analyzer: Occlusion

    def prepare(self) -> None:
        a, net = self.analyzer, self.network
        height, width, _ = image_shape(net, "occlusion")
        if height and width:
            fits("size", a.size, (height, width))
        value = ops.convert_to_tensor(self.constant("value", a.value))

        def covered(x: Tensor, corner: Tensor) -> Tensor:
            inside = []
            for axis in (0, 1):
                place = ops.arange(x.shape[axis + 1], dtype="int32")[None]
                begin = corner[:, axis : axis + 1]
                inside.append((place >= begin) & (place < begin + a.size))
            hidden = inside[0][:, :, None, None] & inside[1][:, None, :, None]
            return ops.where(hidden, value, x)

        self.trials = Trials("occlusion", net, covered, a.batch_size)

    def explain(self, x: np.ndarray, inputs: tuple[np.ndarray, ...], goal: Goal, output: np.ndarray) -> Maps:
        a, shape = self.analyzer, x.shape[1:3]
        fits("size", a.size, shape)
        where = corners(shape, (a.size, a.size), a.stride or a.size, partial=True)
        places = where.astype("int32")
        left = self.trials.scores(inputs, goal, len(where), lambda rows, which: (places[which],))
        lost = goal.scores(output, np.arange(len(x)))[:, None] - left
        return Maps(spread(paint(lost, where, (a.size, a.size), shape), x.shape[-1]))
