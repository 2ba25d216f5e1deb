"""DeepLIFT (rescale) and DeepSHAP: differences to a reference, carried back through every node."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from keras import ops

from explainers import engine
from explainers.analyzer import State
from explainers.checks import Numbers, per_channel, reference, reference_value, span, whole
from explainers.engine import Tensor
from explainers.errors import InvalidInput
from explainers.inputs import channels, explained_index
from explainers.model.kinds import LINEAR_WEIGHTLESS, WEIGHTED
from explainers.network import Network
from explainers.registry import register
from explainers.rules.backward import backward
from explainers.rules.base import Constants, Flow, Rule, Site, total
from explainers.rules.presets import Kinds, Preset
from explainers.rules.weighted import Gradient
from explainers.rules.weightless import ChainRule
from explainers.sampling.analyzer import Maps, SamplingAnalyzer, SamplingFitted
from explainers.sampling.runner import Program, RunnerByTarget, add_rows
from explainers.sampling.segments import background
from explainers.targets import Function, Goal, start_of

# Differences at an activation's input below this are too small to divide by: the derivative stands in.
SMALL = {"float32": 1e-5, "float64": 1e-9}


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """The images' part and the references' part of a batch that holds one after the other."""
    n = x.shape[0] // 2
    return x[:n], x[n:]


def twice(x: Tensor) -> Tensor:
    """The same multipliers for both parts."""
    return ops.concatenate([x, x], axis=0)


class Multiplier(Rule):
    """A rule whose `R` is the multiplier `d f / d z` of DeepLIFT, the same in both halves of the batch."""

    proportional: ClassVar[bool | None] = False

    @abstractmethod
    def back(self, site: Site, a: tuple[Tensor, ...], z: Tensor, m: Tensor) -> tuple[Tensor, ...]:
        """The multipliers of the inputs, first half only."""

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        parts = tuple(twice(part) for part in self.back(site, a, z, halves(R)[0]))
        return Flow(parts, lambda: (ops.zeros_like(total(R)), total(R) - sum(total(p) for p in parts)))


@dataclass(frozen=True)
class Rescale(Multiplier):
    """Element-wise activations: `m_in = m (z - z') / (a - a')`; the derivative where `a` is near `a'`."""

    def back(self, site: Site, a: tuple[Tensor, ...], z: Tensor, m: Tensor) -> tuple[Tensor, ...]:
        (x, other), (y, y_other) = halves(a[0]), halves(z)
        difference = x - other
        small = ops.abs(difference) < SMALL[ops.dtype(x)]
        slope = (y - y_other) / ops.where(small, ops.ones_like(difference), difference)
        local = halves(engine.vjp(site.node.call, a, ops.ones_like(z))[0])[0]
        return (m * ops.where(small, local, slope),)


@dataclass(frozen=True)
class RescaleWinner(Multiplier):
    """Max-pooling, maximum, minimum: the change `z - z'` goes to the winners of both, so that it is kept.

    With `c = max(z, z')`: `c - z'` to the winner at the image, `z - c` to the winner at the reference,
    each divided by that winner's own difference (Lundberg's DeepSHAP implementation).
    """

    def back(self, site: Site, a: tuple[Tensor, ...], z: Tensor, m: Tensor) -> tuple[Tensor, ...]:
        y, y_other = halves(z)
        cross = ops.minimum(y, y_other) if site.node.kind == "minimum" else ops.maximum(y, y_other)
        change = ops.concatenate([m * (cross - y_other), m * (y - cross)], axis=0)
        parts = []
        for part, value in zip(engine.vjp(site.node.call, a, change), a, strict=True):
            at_image, at_other = halves(part)
            x, other = halves(value)
            difference = x - other
            small = ops.abs(difference) < SMALL[ops.dtype(x)]
            ratio = (at_image + at_other) / ops.where(small, ops.ones_like(difference), difference)
            parts.append(ops.where(small, ops.zeros_like(ratio), ratio))
        return tuple(parts)


@dataclass(frozen=True)
class Midpoint(Multiplier):
    """Products of two tensors: the chain rule half way between, which is exact for what is bilinear."""

    def back(self, site: Site, a: tuple[Tensor, ...], z: Tensor, m: Tensor) -> tuple[Tensor, ...]:
        middle = tuple(sum(halves(value)) / 2 for value in a)
        return engine.vjp(site.node.call, middle, m)


PRESET = Preset(
    "deeplift",
    (
        (Kinds("activation"), Rescale()),
        (Kinds("max_pool", "maximum", "minimum"), RescaleWinner()),
        (Kinds("multiply", "gated", "matmul"), Midpoint()),
        (Kinds(*WEIGHTED), Gradient()),
        (Kinds(*LINEAR_WEIGHTLESS), ChainRule()),
    ),
)


def contribution_program(net: Network, function: Function | None) -> tuple[Program, Any]:
    """`m (x - x')` for items of an image and a reference (spec), and the weights that it takes."""
    head = net.head(PRESET, "one")
    i = explained_index(net)

    def program(weights: Any, items: tuple[Tensor, ...], target: Tensor, reference: Tensor) -> Tensor:
        both = [twice(value) for value in items]
        both[i] = ops.concatenate([items[i], reference], axis=0)
        record = net.record(weights["nodes"], tuple(both))
        start = {net.graph.output: contrast(function, record[net.graph.output], target)}
        multiplier = backward(net.graph, head.steps, weights["head"], record, start)[net.graph.explained]
        return halves(multiplier)[0] * (items[i] - reference)

    return program, {"nodes": net.weights, "head": head.constants}


def contrast(function: Function | None, output: Tensor, target: Tensor) -> Tensor:
    """The multiplier at the output; a function of it is taken at the midpoint, exact up to second order."""
    if function is None:
        return start_of(None, output, twice(target))
    return twice(start_of(function, sum(halves(output)) / 2, target))


@dataclass(frozen=True)
class DifferenceAnalyzer(SamplingAnalyzer):
    """Base of DeepLIFT and DeepSHAP."""

    method: ClassVar[str] = ""

    def preset(self) -> Preset:
        return PRESET

    def bind(self, net: Network, state: State) -> DifferenceFitted:
        return DifferenceFitted(self, net, state)


@register(
    "deeplift",
    family="reference",
    paper="Shrikumar, Greenside, Kundaje 2017 (arXiv:1704.02685)",
    cost="1 + 2 x 2 forward passes",
)
@dataclass(frozen=True)
class DeepLift(DifferenceAnalyzer):
    """`R_i = m_i (x_i - x'_i)`, multipliers by the rescale rule; the maps sum to `f(x) - f(x')`.

    `reference` x': `low`, `middle` or `high` (of the input range), a number, or one per channel.
    """

    method: ClassVar[str] = "deeplift"
    low: Numbers
    high: Numbers
    reference: str | Numbers = "low"
    batch_size: int = 16

    def __post_init__(self) -> None:
        whole("batch_size", self.batch_size)
        reference(self.reference, *span(self.low, self.high))

    def plain(self) -> Self:
        low, high = span(self.low, self.high)
        return replace(self, low=low, high=high, reference=reference(self.reference, low, high))

    def passes(self, crossing: float) -> float:
        return 1 + 2 * crossing  # the image and its reference

    def estimate(self, net: Network, data: Any) -> State:
        given = reference_value(self.reference, self.low, self.high)
        value = per_channel("reference", given, channels(net))
        return {"references": background(net, None, value, 1, "deeplift")}


@register(
    "deep_shap",
    family="reference",
    paper="Lundberg, Lee 2017 (arXiv:1705.07874)",
    cost="1 + references x 4 forward passes",
    needs=("data",),
)
@dataclass(frozen=True)
class DeepShap(DifferenceAnalyzer):
    """The mean of DeepLIFT over several reference images: the first `references` of the data of `fit`.

    The maps sum to `f(x) - mean f(x')`.
    """

    method: ClassVar[str] = "deep_shap"
    estimates: ClassVar[bool] = True
    references: int = 8
    batch_size: int = 16

    def __post_init__(self) -> None:
        whole("batch_size", self.batch_size)
        whole("references", self.references)

    def passes(self, crossing: float) -> float:
        return 1 + 2 * self.references * crossing

    def estimate(self, net: Network, data: Any) -> State:
        return {"references": references(net, data, self.references, "deep_shap")}


def references(net: Network, data: Any, limit: int, method: str) -> np.ndarray:
    """The first images of the data. Raises InvalidInput without data."""
    if data is None:
        raise InvalidInput(
            f"{method} compares with reference images; valid: fit(model, data) with images b h w c"
        )
    return background(net, data, np.zeros(1), limit, method)


class DifferenceFitted(SamplingFitted):
    """DeepLIFT of one network, averaged over the references."""

    complete = True
    analyzer: DeepLift | DeepShap

    def prepare(self) -> None:
        contribution_program(self.network, None)  # refuses now what the rules cannot cross
        self._runner = RunnerByTarget(
            self.analyzer.method,
            lambda function: contribution_program(self.network, function),
            self.analyzer.batch_size,
        )

    def explain(self, x: np.ndarray, inputs: tuple[np.ndarray, ...], goal: Goal, output: np.ndarray) -> Maps:
        others = np.broadcast_to(self.state["references"], (len(self.state["references"]), *x.shape[1:]))
        tensors = tuple(ops.convert_to_tensor(value) for value in inputs)
        total_ = np.zeros(x.shape)
        pieces = self._runner(goal.function)(tensors, goal, len(others), lambda rows, which: (others[which],))
        for rows, _, parts in pieces:
            add_rows(total_, rows, parts)
        return Maps(total_ / len(others), sums_to=self._difference(inputs, others, goal, output))

    def _difference(
        self, inputs: tuple[np.ndarray, ...], others: np.ndarray, goal: Goal, output: np.ndarray
    ) -> np.ndarray:
        """`f(x) - mean f(x')` per image."""
        rows = np.arange(len(output))
        return goal.scores(output, rows) - reference_scores(self.network, inputs, others, goal)


def reference_scores(
    net: Network, inputs: tuple[np.ndarray, ...], others: np.ndarray, goal: Goal
) -> np.ndarray:
    """The mean of the goal's number over the references, per image."""
    i, batch = explained_index(net), len(inputs[0])
    rows = np.arange(batch)
    if len(inputs) == 1:
        at = net.logits((others,))
        every = [goal.scores(np.broadcast_to(logits, (batch, len(logits))), rows) for logits in at]
    else:
        every = []
        for other in others:
            tiled = np.broadcast_to(other, inputs[i].shape)
            every.append(goal.scores(net.logits((*inputs[:i], tiled, *inputs[i + 1 :])), rows))
    return np.mean(every, axis=0)
