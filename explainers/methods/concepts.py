"""Relevance per concept: what of an explanation runs through single channels of a layer.

Achtibat et al. 2023, "From attribution maps to human-understandable explanations through Concept Relevance
Propagation", Nature Machine Intelligence 5 (arXiv:2206.03208). LRP as usual down to the layer; there the
relevance of all channels but the chosen ones is set to 0, and only what is left goes on to the input. LRP is
linear in the relevance, so the maps of all channels add up to the map of the layer as a whole; where every
path from input to output crosses the layer, that is the map without a condition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from explainers import engine
from explainers.analyzer import BackwardFitted, Explanation, Target, check_target, explanation_of
from explainers.engine import Tensor
from explainers.errors import InvalidParameter
from explainers.inputs import check_input, explained_index
from explainers.methods.gradcam import last_maps
from explainers.methods.lrp import LRP
from explainers.model.evaluate import evaluate_all
from explainers.model.graph import Graph, Node
from explainers.rules.assign import Step
from explainers.rules.backward import backward
from explainers.rules.bounds import check_boxes
from explainers.targets import Function, Goal, start_of


class Concepts:
    """The channels of a layer, seen by a fitted LRP method.

    Attributes:
        node: name of the node whose channels they are: the last one of the layer, behind its activation.
        channels: how many there are.
    """

    def __init__(self, fitted: Any, layer: str = "") -> None:
        """`layer`: of a layer or node; empty: the last convolution whose maps have places.

        Raises InvalidParameter for a method that is no LRP, and for a layer that there is not.
        """
        if not isinstance(fitted, BackwardFitted) or not isinstance(fitted.analyzer, LRP):
            raise InvalidParameter(
                f"relevance per concept is defined for LRP, received {fitted!r}; valid: a fitted lrp method"
            )
        self.fitted, self.network = fitted, fitted.network
        node = node_of(self.network.graph, layer)
        self.node, self.channels = node.name, int(node.shape[-1] or 0)
        self._programs: dict[Any, Callable[..., Any]] = {}

    def relevance(self, x: Any, target: Target = None) -> np.ndarray:
        """Relevance of each channel, summed over its places: b k."""
        _, _, through, _ = self._run(x, target, np.ones(self.channels))
        return through

    def analyze(self, x: Any, channels: int | Sequence[int], target: Target = None) -> Explanation:
        """The map of what runs through these channels alone.

        Raises InvalidParameter for a channel that there is not; else as the method's own `analyze`.
        """
        output, goal, _, relevance = self._run(x, target, self._mask(channels))
        return explanation_of(self.fitted, relevance, output, goal, None)

    def replaced(self, x: Any, channels: int | Sequence[int], values: Any = 0.0) -> np.ndarray:
        """The model's outputs b k, with these channels replaced at every place.

        `values`: one number, or one per channel of the layer (such as `means` of other images).
        """
        mask = self._mask(channels)
        values = np.broadcast_to(np.asarray(values, float), mask.shape)
        return self._call("replaced", self._replaced, self._inputs(x), mask, values)

    def means(self, x: Any) -> np.ndarray:
        """Mean of each channel over the batch and all places: k."""
        return self._call("means", self._means, self._inputs(x))

    def _mask(self, channels: int | Sequence[int]) -> np.ndarray:
        chosen = np.atleast_1d(np.asarray(channels))
        if chosen.ndim > 1 or not np.issubdtype(chosen.dtype, np.integer) or not len(chosen):
            raise InvalidParameter(f"channels: received {channels!r}; valid: whole numbers, at least one")
        if np.any(chosen < 0) or np.any(chosen >= self.channels):
            raise InvalidParameter(
                f"channel {chosen[(chosen < 0) | (chosen >= self.channels)][0]} of {self.node!r} is out of "
                f"range; valid: 0 to {self.channels - 1}"
            )
        mask = np.zeros(self.channels)
        mask[chosen] = 1
        return mask

    def _inputs(self, x: Any) -> tuple[Tensor, ...]:
        return self.network.tensors(check_input(self.network, x))

    def _run(
        self, x: Any, target: Target, mask: np.ndarray
    ) -> tuple[np.ndarray, Goal, np.ndarray, np.ndarray]:
        """Outputs b k, what was explained, relevance per channel b k, relevance at the input."""
        net, head = self.network, self.fitted.head
        inputs = check_input(net, x)
        check_boxes(head.steps, inputs[explained_index(net)])
        goal = check_target(net, inputs, target)
        if goal.function not in self._programs:
            for other in [key for key in self._programs if callable(key)]:
                del self._programs[other]  # one function at a time, as a network keeps them
            weights = {"nodes": net.weights, "head": head.constants}
            self._programs[goal.function] = engine.compile(self._conditional(goal.function), weights)
        chosen = ops.convert_to_tensor(np.asarray(goal.classes, "int32"))
        made = self._programs[goal.function](net.tensors(inputs), chosen, *net.tensors((mask,)))
        output, classes, through, relevance = map(ops.convert_to_numpy, made)
        return output, goal if goal.function else Goal(classes), through, relevance

    def _conditional(self, function: Function | None) -> Callable[..., Any]:
        net, head = self.network, self.fitted.head

        def program(weights: Any, x: tuple[Tensor, ...], target: Tensor, mask: Tensor) -> Any:
            record = net.record(weights["nodes"], x)
            output = record[net.graph.output]
            target = ops.where(target < 0, ops.cast(ops.argmax(output, axis=-1), "int32"), target)
            arrived: list[Tensor] = []

            def enter(step: Step, R: Tensor, flow: Any) -> None:
                if step.site.node.name == self.node:
                    arrived.append(R)

            start = head.begin(net.graph, record, start_of(function, output, target))
            backward(net.graph, head.steps, weights["head"], record, start, enter)
            (R,) = arrived
            again = backward(net.graph, head.steps, weights["head"], record, {self.node: R * mask})
            places = tuple(range(1, len(R.shape) - 1))
            return output, target, ops.sum(R, axis=places), again[net.graph.explained]

        return program

    def _call(self, name: str, function: Callable[..., Tensor], x: Any, *arrays: np.ndarray) -> np.ndarray:
        """A function of weights, inputs and arrays, compiled once."""
        if name not in self._programs:
            self._programs[name] = engine.compile(function, self.network.weights)
        return ops.convert_to_numpy(self._programs[name](x, *self.network.tensors(arrays)))

    def _replaced(self, weights: Any, x: tuple[Tensor, ...], mask: Tensor, values: Tensor) -> Tensor:
        net = self.network
        own = net.record(weights, x)[self.node]
        given = dict(zip(net.graph.inputs, x, strict=True)) | {self.node: own + mask * (values - own)}
        return evaluate_all(net.graph, given, weights)[net.graph.output]

    def _means(self, weights: Any, x: tuple[Tensor, ...]) -> Tensor:
        own = self.network.record(weights, x)[self.node]
        return ops.mean(own, axis=tuple(range(len(own.shape) - 1)))


def node_of(graph: Graph, layer: str) -> Node:
    """The last node of the layer that has this name, or the node; "": where the last maps of places are.

    Raises InvalidParameter: there is no such layer, or, without a name, no convolution.
    """
    if not layer:
        node = last_maps(graph)
        if node is None:
            raise InvalidParameter("layer: the model has no convolution; name a layer: " + _names(graph))
        return node
    inner = [n for n in graph if graph.explained in graph.ancestors(n)]
    nodes = [n for n in inner if getattr(n.layer, "name", None) == layer]
    nodes = nodes or [n for n in inner if n.name == layer]
    if not nodes:
        raise InvalidParameter(f"layer {layer!r}: there is no such layer; layers: {_names(graph)}")
    if nodes[-1].name == graph.output:
        raise InvalidParameter(f"layer {layer!r} is the model's output; valid: a layer before it")
    return nodes[-1]


def _names(graph: Graph) -> str:
    inner = [n for n in graph if n.kind != "input" and n.name != graph.output]
    return ", ".join(dict.fromkeys(str(getattr(n.layer, "name", n.name)) for n in inner))
