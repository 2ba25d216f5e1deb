"""Integrated Gradients along the straight line from a reference to the image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from keras import ops

from explainers.analyzer import State
from explainers.checks import Numbers, contained, reference, reference_value, span, whole
from explainers.engine import Tensor
from explainers.inputs import explained_index
from explainers.network import Network
from explainers.registry import register
from explainers.rules.presets import GRADIENT, Preset
from explainers.sampling.analyzer import Maps, SamplingAnalyzer, SamplingFitted
from explainers.sampling.runner import add_rows
from explainers.sampling.slopes import Slopes
from explainers.targets import Goal


@register(
    "integrated_gradients",
    family="gradient",
    paper="Sundararajan, Taly, Yan 2017 (arXiv:1703.01365)",
    cost="2 + steps x 2 forward passes",
)
@dataclass(frozen=True)
class IntegratedGradients(SamplingAnalyzer):
    """`R = (x - x') / n sum_j df/dx (x' + (j + 1/2) / n (x - x'))`, j = 0 .. n-1: the midpoint rule.

    `reference` x': `low`, `middle` or `high` (of the input range), a number, or one per channel.
    `low`, `high`: the model's input range. The maps sum to `f(x) - f(x')` up to the error of the sum
    over `steps`; `analyze(ledger=True)` reports that gap.

    Raises InvalidParameter for steps < 1 and for a reference outside the input range.
    """

    method: ClassVar[str] = "integrated_gradients"
    low: Numbers
    high: Numbers
    steps: int = 32
    reference: str | Numbers = "low"
    batch_size: int = 16

    def __post_init__(self) -> None:
        whole("steps", self.steps)
        whole("batch_size", self.batch_size)
        reference(self.reference, *span(self.low, self.high))

    def plain(self) -> Self:
        low, high = span(self.low, self.high)
        return replace(self, low=low, high=high, reference=reference(self.reference, low, high))

    def preset(self) -> Preset:
        return GRADIENT

    def passes(self, crossing: float) -> float:
        return 2 + self.steps * crossing

    def bind(self, net: Network, state: State) -> IntegratedGradientsFitted:
        return IntegratedGradientsFitted(self, net, state)


def midpoints(steps: int) -> np.ndarray:
    """Where the path is sampled: `(j + 1/2) / steps`."""
    return (np.arange(steps) + 0.5) / steps


class IntegratedGradientsFitted(SamplingFitted):
    """Integrated Gradients of one network."""

    complete = True
    analyzer: IntegratedGradients

    def prepare(self) -> None:
        a = self.analyzer
        self.constant("low", a.low)
        self.constant("high", a.high)
        self.reference = self.constant("reference", reference_value(a.reference, a.low, a.high))
        start = ops.convert_to_tensor(self.reference)

        def between(x: Tensor, alpha: Tensor) -> Tensor:
            alpha = ops.reshape(alpha, (-1, *[1] * (len(x.shape) - 1)))
            return start + alpha * (x - start)

        self.slopes = Slopes("integrated gradients", self.network, between, a.batch_size)

    def explain(self, x: np.ndarray, inputs: tuple[np.ndarray, ...], goal: Goal, output: np.ndarray) -> Maps:
        contained("the range", x, self.analyzer.low, self.analyzer.high)
        steps = self.analyzer.steps
        alphas = midpoints(steps).astype(self.network.dtype)
        total = np.zeros(x.shape)
        for rows, _, gradients in self.slopes(inputs, goal, steps, lambda rows, which: (alphas[which],)):
            add_rows(total, rows, gradients)
        relevance = (x.astype(np.float64) - self.reference) * total / steps
        return Maps(relevance, sums_to=self._difference(x, inputs, goal, output))

    def _difference(
        self, x: np.ndarray, inputs: tuple[np.ndarray, ...], goal: Goal, output: np.ndarray
    ) -> np.ndarray:
        """`f(x) - f(x')` per image."""
        i = explained_index(self.network)
        at = (*inputs[:i], np.broadcast_to(self.reference, x.shape), *inputs[i + 1 :])
        rows = np.arange(len(x))
        return goal.scores(output, rows) - goal.scores(self.network.logits(at), rows)
