"""A model as the passes see it: canonised graph, weights on the device, compiled programs.

Methods that bind to the same unchanged model share one Network, so asking for several of them
together (`analyze_many`) costs one forward pass.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


class Network:
    """A canonised graph bound to its weights. `equality`: relative L2 between its logits and the
    original model's on a probe, checked when it is made."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.dtype = _dtype(graph)
        self._device: dict[int, tuple[Any, Tensor]] = {}
        self.weights = {node.name: self._own(node) for node in graph if node.linear is not None}
        self._programs: dict[Any, Callable[..., Any]] = {}
        self._logits = engine.compile(self._output, self.weights)
        self.equality = check_equality(self)

    def _own(self, node: Any) -> dict[str, Any]:
        own = {"kernel": self.put(node.kernel)}
        if node.bias is not None:
            own["bias"] = self.put(node.bias)
        return own

    def put(self, value: Any) -> Tensor:
        """A host array (or a tuple of them) on the device, once per array."""
        if isinstance(value, tuple):
            return tuple(self.put(v) for v in value)
        if id(value) not in self._device:
            self._device[id(value)] = (value, ops.convert_to_tensor(np.asarray(value, self.dtype)))
        return self._device[id(value)][1]

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

    def run(
        self, heads: Sequence[Head], x: tuple[np.ndarray, ...], target: np.ndarray, ledger: bool = False
    ) -> Any:
        """`(output, target, [(relevance, ledger lines) per head])`; target -1 is the predicted class."""
        key = (*(id(head) for head in heads), ledger)
        if key not in self._programs:
            weights = {"nodes": self.weights, "heads": [head.constants for head in heads]}
            self._programs[key] = engine.compile(self._pass(tuple(heads), ledger), weights)
        return self._programs[key](self.tensors(x), ops.convert_to_tensor(np.asarray(target, "int32")))

    def tensors(self, x: tuple[np.ndarray, ...]) -> tuple[Tensor, ...]:
        return tuple(ops.convert_to_tensor(np.asarray(value, self.dtype)) for value in x)

    def record(self, weights: Any, x: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """The value of every node."""
        return forward(self.graph, weights, dict(zip(self.graph.inputs, x, strict=True)), self.dtype)

    def _output(self, weights: Any, x: tuple[Tensor, ...]) -> Tensor:
        return self.record(weights, x)[self.graph.output]

    def _pass(self, heads: tuple[Head, ...], ledger: bool) -> Callable[..., Any]:
        graph = self.graph

        def program(weights: Any, x: tuple[Tensor, ...], target: Tensor) -> Any:
            record = self.record(weights["nodes"], x)
            output = record[graph.output]
            target = ops.where(target < 0, ops.cast(ops.argmax(output, axis=-1), "int32"), target)
            results = []
            for head, constants in zip(heads, weights["heads"], strict=True):
                lines: list[tuple[Tensor, ...]] = []
                enter = (lambda _, R, flow, lines=lines: lines.append(entry(R, flow))) if ledger else None
                start = _start(head.start, output, target)
                relevance = backward(graph, head.steps, constants, record, start, enter)[graph.explained]
                relevance = relevance * record[graph.explained] if head.times_input else relevance
                stacked = (
                    ops.stack([ops.stack(line) for line in lines], axis=1) if lines else ops.zeros((6, 0, 1))
                )
                results.append((relevance, stacked))
            return output, target, results

        return program


def _start(start: str, output: Tensor, target: Tensor) -> Tensor:
    chosen = ops.one_hot(target, output.shape[-1], dtype=output.dtype)
    if start == "one":
        return chosen
    return chosen * (ops.softmax(output) if start == "probability" else output)


def _dtype(graph: Graph) -> str:
    kernels = [
        np.asarray(k).dtype
        for n in graph
        if n.linear
        for k in (n.kernel if isinstance(n.kernel, tuple) else (n.kernel,))
    ]
    layers = {str(getattr(n.layer, "variable_dtype", "")) for n in graph if n.linear is not None}
    del kernels
    return "float64" if "float64" in layers else "float32"


_networks: weakref.WeakValueDictionary[tuple, Network] = weakref.WeakValueDictionary()


def network(model: Any, fold: bool = True) -> Network:
    """The Network of a model or traced Graph; an unchanged model gets the one it already has."""
    traced = model if isinstance(model, Graph) else trace(model)
    if len(traced[traced.output].shape) != 2:
        shape = traced[traced.output].shape
        raise UntraceableModel(
            f"output {traced.output!r} has shape {shape}; valid: one row of class scores per image"
        )
    _finite(traced)
    graph = canonize(traced, fold)
    key = (id(graph.model), graph.output, graph.explained, fold)
    known = _networks.get(key)
    if known is not None and known.graph.model is graph.model and _same_weights(known.graph, graph):
        return known
    made = Network(graph)
    _networks[key] = made
    return made


def _arrays(graph: Graph) -> list[np.ndarray]:
    found: list[np.ndarray] = []
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
                    f"weights of node {node.name!r} ({node.type}) hold {count} nan or infinite values; valid: finite weights"
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
    ours = np.asarray(net.logits(x), np.float64)
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
    scale = np.linalg.norm(output)
    # probabilities near 0.5 or 1/k carry the logits only to their own rounding
    floor = 1e-3 if cut else 1e-12
    return float(np.linalg.norm(logits - output) / max(scale, floor)) if logits.size else 0.0
