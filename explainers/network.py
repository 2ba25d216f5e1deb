"""A model as the passes see it: canonised graph, weights on the device, compiled programs.

Methods that bind to the same unchanged model share one Network, so asking for several of them
together (`analyze_many`) costs one forward pass.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

from explainers import engine
from explainers.backward import Step, assign, backward, entry, forward
from explainers.canonize import canonize
from explainers.engine import Tensor
from explainers.errors import InvalidInput, UnequalForward, UntraceableModel
from explainers.graph import Graph, trace
from explainers.presets import Preset
from explainers.subgraph import collapse
from explainers.targets import Function, Goal, start_of

STARTS = ("logit", "one", "probability")


@dataclass(frozen=True, eq=False)
class Head:
    """One backward pass over a network: steps, derived weights, start relevance.

    `times_input` multiplies the result by the input (input x gradient).
    """

    steps: tuple[Step, ...]
    constants: dict[str, dict[str, Any]]
    start: str = "logit"
    times_input: bool = False
    programs: dict[Any, Callable[..., Any]] = field(default_factory=dict)


class Network:
    """A canonised graph bound to its weights. `equality`: relative L2 between its logits and the
    original model's on a probe, checked when it is made."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.dtype = _dtype(graph)
        self._device: dict[int, Tensor] = {}
        self.weights = {node.name: self._own(node) for node in graph if node.linear is not None}
        self._logits = engine.compile(self._output, self.weights)
        self.equality = check_equality(self)

    def _own(self, node: Any) -> dict[str, Any]:
        for kernel in node.kernel if isinstance(node.kernel, tuple) else (node.kernel,):
            self._device[id(kernel)] = self.put(kernel)
        own = {"kernel": self.put(node.kernel)}
        if node.bias is not None:
            own["bias"] = self.put(node.bias)
        return own

    def put(self, value: Any) -> Tensor:
        """A host array (or a tuple of them) on the device; the model's own kernels are there once."""
        if isinstance(value, tuple):
            return tuple(self.put(v) for v in value)
        known = self._device.get(id(value))  # the graph keeps these arrays, so their ids stay theirs
        return ops.convert_to_tensor(np.asarray(value, self.dtype)) if known is None else known

    def head(
        self, preset: Preset, start: str = "logit", times_input: bool = False, bounds: Any = None
    ) -> Head:
        """Bind a preset: match every node, derive the rules' weights. Raises UnsupportedLayer."""
        steps = assign(preset, self.graph, bounds)
        constants = {}
        for step in steps:
            node = step.site.node
            made = {key: self.put(value) for key, value in step.rule.constants(step.site).items()}
            if node.bias is not None:
                made["bias"] = self.weights[node.name]["bias"]
            constants[node.name] = made
        return Head(steps, constants, start, times_input)

    def logits(self, x: tuple[np.ndarray, ...]) -> np.ndarray:
        """The explained output, `b k`."""
        return ops.convert_to_numpy(self._logits(self.tensors(x)))

    def run(self, heads: Sequence[Head], x: tuple[np.ndarray, ...], goal: Goal, ledger: bool = False) -> Any:
        """`(output, target, [(relevance, ledger lines) per head])`; class -1 is the predicted one."""
        programs, key = heads[0].programs, (*(id(head) for head in heads), ledger, goal.function)
        if key not in programs:
            for other in [known for known in programs if known[-1] not in (None, goal.function)]:
                del programs[other]  # one function at a time: a caller may make a new one for every call
            weights = {"nodes": self.weights, "heads": [head.constants for head in heads]}
            programs[key] = engine.compile(self._pass(tuple(heads), ledger, goal.function), weights)
        return programs[key](self.tensors(x), ops.convert_to_tensor(np.asarray(goal.classes, "int32")))

    def tensors(self, x: tuple[np.ndarray, ...]) -> tuple[Tensor, ...]:
        return tuple(ops.convert_to_tensor(np.asarray(value, self.dtype)) for value in x)

    def record(self, weights: Any, x: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """The value of every node."""
        return forward(self.graph, weights, dict(zip(self.graph.inputs, x, strict=True)), self.dtype)

    def _output(self, weights: Any, x: tuple[Tensor, ...]) -> Tensor:
        return self.record(weights, x)[self.graph.output]

    def _pass(self, heads: tuple[Head, ...], ledger: bool, function: Function | None) -> Callable[..., Any]:
        graph = self.graph

        def program(weights: Any, x: tuple[Tensor, ...], target: Tensor) -> Any:
            record = self.record(weights["nodes"], x)
            output = record[graph.output]
            target = ops.where(target < 0, ops.cast(ops.argmax(output, axis=-1), "int32"), target)
            results = []
            for head, constants in zip(heads, weights["heads"], strict=True):
                lines: list[tuple[Tensor, ...]] = []
                enter = (lambda _, R, flow, lines=lines: lines.append(entry(R, flow))) if ledger else None
                start = _start(head.start, output, start_of(function, output, target))
                relevance = backward(graph, head.steps, constants, record, start, enter)[graph.explained]
                relevance = relevance * record[graph.explained] if head.times_input else relevance
                stacked = (
                    ops.stack([ops.stack(line) for line in lines], axis=1) if lines else ops.zeros((6, 0, 1))
                )
                results.append((relevance, stacked))
            return output, target, results

        return program


def _start(start: str, output: Tensor, chosen: Tensor) -> Tensor:
    """Start relevance from `chosen`, the derivative of what is explained by the output."""
    if start == "one":
        return chosen
    return chosen * (ops.softmax(output) if start == "probability" else output)


def _dtype(graph: Graph) -> str:
    layers = {str(getattr(n.layer, "variable_dtype", "")) for n in graph if n.linear is not None}
    return "float64" if "float64" in layers else "float32"


_networks: weakref.WeakValueDictionary[tuple, Network] = weakref.WeakValueDictionary()


def prepare(model: Any, fold: bool = True, subgraphs: tuple[tuple[str, ...], ...] = ()) -> Graph:
    """The canonised graph of a model or traced Graph, subgraphs collapsed. Checks shape and weights."""
    traced = model if isinstance(model, Graph) else trace(model)
    if len(traced[traced.output].shape) != 2:
        shape = traced[traced.output].shape
        raise UntraceableModel(
            f"output {traced.output!r} has shape {shape}; valid: one row of class scores per image"
        )
    _finite(traced)
    graph = canonize(traced, fold)
    for patterns in subgraphs:
        graph = collapse(graph, patterns)
    return graph


def network(model: Any, fold: bool = True, subgraphs: tuple[tuple[str, ...], ...] = ()) -> Network:
    """The Network of a model or traced Graph; an unchanged model gets the one it already has."""
    graph = prepare(model, fold, subgraphs)
    key = (id(graph.model), graph.output, graph.explained, fold, subgraphs)
    known = _networks.get(key)
    if known is not None and known.graph.model is graph.model and _same_weights(known.graph, graph):
        return known
    made = Network(graph)
    _networks[key] = made
    return made


def _arrays(graph: Graph) -> list[np.ndarray]:
    found: list[np.ndarray | None] = []
    for node in graph:
        found.extend(node.kernel if isinstance(node.kernel, tuple) else (node.kernel,))
        found.append(node.bias)
    return [v for v in found if v is not None]


def _same_weights(one: Graph, other: Graph) -> bool:
    first, second = _arrays(one), _arrays(other)
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def _finite(graph: Graph) -> None:
    for node in graph:
        for kernel in (*(node.kernel if isinstance(node.kernel, tuple) else (node.kernel,)), node.bias):
            if kernel is not None and not np.all(np.isfinite(kernel)):
                count = int(np.sum(~np.isfinite(kernel)))
                raise InvalidInput(
                    f"weights of node {node.name!r} ({node.type}) hold {count} nan or infinite values; "
                    "valid: finite weights"
                )


def check_equality(net: Network, tolerance: float | None = None) -> float:
    """Relative L2 between the canonised logits and the original's on a seeded probe.

    One image of unit noise and one of pixel values 0..255. Where a softmax was cut, the logits are
    compared up to a constant per image, through the logarithm of the model's probabilities.
    Raises UnequalForward with the figure.
    """
    graph, rng = net.graph, np.random.default_rng(0)
    tolerance = tolerance or (1e-3 if net.dtype == "float32" else 1e-6)
    shapes = [[n or 32 for n in graph[name].shape[1:]] for name in graph.inputs]
    x = tuple(np.stack([rng.normal(size=s), rng.uniform(0, 255, size=s)]) for s in shapes)
    # not compiled: a few images once, where compiling would take longer than computing
    ours = net.record(net.weights, net.tensors(x))[graph.output]
    ours = np.asarray(ops.convert_to_numpy(ours), np.float64)
    value = graph.model(list(net.tensors(x)) if len(x) > 1 else net.tensors(x)[0], training=False)
    theirs = keras.tree.flatten(value)[graph.output_index]
    theirs = np.asarray(ops.convert_to_numpy(theirs), np.float64)
    figure = 0.0
    for a, b in zip(ours, theirs, strict=True):
        figure = max(figure, _difference(a, b, graph.cut))
    if not figure <= tolerance:
        raise UnequalForward(
            figure, tolerance, f"changes made: {len(graph.changes)}; refit with fold=False to find out"
        )
    return figure


def _difference(logits: np.ndarray, output: np.ndarray, cut: str) -> float:
    if cut:
        seen = (output > 1e-20) & (output < 1 - 1e-4 if cut == "sigmoid" else True)
        logits, output = logits[seen], output[seen]
        output = np.log(output) if cut == "softmax" else np.log(output) - np.log1p(-output)
        if cut == "softmax" and len(logits):
            logits, output = logits - logits.mean(), output - output.mean()
    scale = float(np.linalg.norm(output))
    # probabilities near 0.5 or 1/k carry the logits only to their own rounding
    floor = 1e-3 if cut else 1e-12
    return float(np.linalg.norm(logits - output)) / max(scale, floor) if logits.size else 0.0
