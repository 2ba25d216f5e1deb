"""Grad-CAM and Grad-CAM++: feature maps of a late convolution, weighted by their gradients."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from keras import ops

from explainers.analyzer import State
from explainers.checks import whole
from explainers.engine import Tensor
from explainers.errors import InvalidParameter
from explainers.inputs import image_shape
from explainers.model.graph import Graph, Node
from explainers.network import Network
from explainers.registry import register
from explainers.rules.assign import Step
from explainers.rules.backward import backward
from explainers.rules.base import divide
from explainers.rules.presets import GRADIENT, Preset
from explainers.sampling.analyzer import Maps, SamplingAnalyzer, SamplingFitted, spread
from explainers.sampling.runner import Program, RunnerByTarget
from explainers.sampling.windows import enlarged
from explainers.targets import Function, Goal, start_of


@dataclass(frozen=True)
class GradCamAnalyzer(SamplingAnalyzer):
    """Base of both: `layer` names the node whose maps are taken; empty: see `last_maps`."""

    method: ClassVar[str] = ""
    layer: str = ""
    batch_size: int = 16

    def __post_init__(self) -> None:
        whole("batch_size", self.batch_size)
        if not isinstance(self.layer, str):
            raise InvalidParameter(
                f"layer: received {self.layer!r}; valid: the name of a node, or '' for the last"
            )

    @abstractmethod
    def weigh(self, maps: Tensor, gradients: Tensor) -> Tensor:
        """Weights of the channels, b 1 1 c."""

    def preset(self) -> Preset:
        return GRADIENT

    def passes(self, crossing: float) -> float:
        return 1 + crossing

    def bind(self, net: Network, state: State) -> GradCamFitted:
        return GradCamFitted(self, net, state)


@register(
    "gradcam",
    family="activation map",
    paper="Selvaraju et al. 2017 (arXiv:1610.02391)",
    cost="1 + 2 forward passes",
    needs=("convolution",),
)
@dataclass(frozen=True)
class GradCam(GradCamAnalyzer):
    """`R = relu(sum_k w_k A_k)`, `w_k` the mean of `df/dA_k` over all places, enlarged bilinearly."""

    method: ClassVar[str] = "gradcam"

    def weigh(self, maps: Tensor, gradients: Tensor) -> Tensor:
        return ops.mean(gradients, axis=(1, 2), keepdims=True)


@register(
    "gradcam_plus_plus",
    family="activation map",
    paper="Chattopadhay et al. 2018 (arXiv:1710.11063)",
    cost="1 + 2 forward passes",
    needs=("convolution",),
)
@dataclass(frozen=True)
class GradCamPlusPlus(GradCamAnalyzer):
    """Grad-CAM with `w_k = sum_ij a_ij relu(g_ij)`, `a = g^2 / (2 g^2 + sum_ij A_ij g^3)`.

    That is the paper's formula for `Y = exp(f)`, whose common factor `exp(f)` is left out: it scales
    the whole map and overflows.
    """

    method: ClassVar[str] = "gradcam_plus_plus"

    def weigh(self, maps: Tensor, gradients: Tensor) -> Tensor:
        square = gradients**2
        below = 2 * square + ops.sum(maps, axis=(1, 2), keepdims=True) * square * gradients
        return ops.sum(divide(square, below) * ops.relu(gradients), axis=(1, 2), keepdims=True)


def last_maps(graph: Graph) -> Node | None:
    """Where Grad-CAM looks: the last convolution that still has a map of places, followed through what keeps
    its places and channels' meaning (activation, normalisation, branches) to the last such node; None
    without such a convolution.
    """
    last: Node | None = None
    for node in graph:
        if not _has_places(graph, node):
            continue
        if node.traits.convolves or (
            last is not None
            and node.traits.same_place
            and last.name in node.inputs
            and node.shape[1:3] == last.shape[1:3]
        ):
            last = node
    return last


def _has_places(graph: Graph, node: Node) -> bool:
    """Whether a node is a map of more than one place that depends on the explained input."""
    map_of_input = len(node.shape) == 4 and graph.explained in graph.ancestors(node)
    return map_of_input and node.name != graph.output and tuple(node.shape[1:3]) != (1, 1)


def chosen_maps(graph: Graph, layer: str) -> Node | None:
    """The node that the parameter `layer` names. Raises InvalidParameter."""
    if not layer:
        return last_maps(graph)
    valid = [node.name for node in graph if _has_places(graph, node)]
    if layer not in valid:
        single = layer in graph and tuple(graph[layer].shape[1:3]) == (1, 1)
        why = ", whose map is 1 x 1: it says nothing about places" if single else ""
        raise InvalidParameter(
            f"layer: received {layer!r}{why}; valid: {', '.join(valid) or 'none, the model has no maps'}"
        )
    return graph[layer]


def map_program(
    net: Network, node: Node, analyzer: GradCamAnalyzer, function: Function | None
) -> tuple[Program, Any]:
    """The map at the size of the node, b h w, and the weights that the program takes."""
    head = net.head(GRADIENT, "one")

    def program(weights: Any, items: tuple[Tensor, ...], target: Tensor) -> Tensor:
        record = net.record(weights["nodes"], items)
        seen: dict[str, Tensor] = {}

        def enter(step: Step, relevance: Tensor, flow: Any) -> None:
            seen[step.site.node.name] = relevance

        backward(
            net.graph,
            head.steps,
            weights["head"],
            record,
            {net.graph.output: start_of(function, record[net.graph.output], target)},
            enter,
        )
        maps = record[node.name]
        return ops.relu(ops.sum(analyzer.weigh(maps, seen[node.name]) * maps, axis=-1))

    return program, {"nodes": net.weights, "head": head.constants}


class GradCamFitted(SamplingFitted):
    """Grad-CAM of one network."""

    analyzer: GradCamAnalyzer

    def prepare(self) -> None:
        self.node = chosen_maps(self.network.graph, self.analyzer.layer)
        self._runner = RunnerByTarget(self.analyzer.method, self._program, self.analyzer.batch_size)

    def _program(self, function: Function | None) -> tuple[Program, Any]:
        assert self.node is not None
        return map_program(self.network, self.node, self.analyzer, function)

    def explain(self, x: np.ndarray, inputs: tuple[np.ndarray, ...], goal: Goal, output: np.ndarray) -> Maps:
        if self.node is None:
            return _undefined(x, "the model has no convolution whose maps could be weighted")
        image_shape(self.network, self.analyzer.method)
        tensors = tuple(ops.convert_to_tensor(value) for value in inputs)
        pieces = self._runner(goal.function)(tensors, goal, 1, lambda rows, which: ())
        maps = np.concatenate([piece.values for piece in pieces])
        if maps.shape[1:] == (1, 1):
            return _undefined(x, f"for images of this size the map of {self.node.name!r} is 1 x 1")
        return Maps(spread(enlarged(maps, x.shape[1:3]), x.shape[-1]))


def _undefined(x: np.ndarray, reason: str) -> Maps:
    return Maps(np.zeros_like(x), (reason,) * len(x))
