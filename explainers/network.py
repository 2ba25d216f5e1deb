"""A model as the passes see it: canonised graph, weights on the device, compiled programs.

Methods that bind to the same unchanged model share one Network, so asking for several of them
together (`analyze_many`) costs one forward pass.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from explainers import engine
from explainers.engine import Tensor
from explainers.errors import InvalidInput, UntraceableModel
from explainers.model.canonize import canonize
from explainers.model.decomposition import FOLDED, Decomposition
from explainers.model.equality import check_equality
from explainers.model.evaluate import evaluate_all
from explainers.model.graph import Graph, Node
from explainers.model.subgraph import collapse
from explainers.model.trace import trace
from explainers.rules.assign import Step, assign
from explainers.rules.backward import backward
from explainers.rules.base import Flow
from explainers.rules.bounds import bounded
from explainers.rules.ledger import entry
from explainers.rules.presets import Preset
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

    def begin(self, graph: Graph, record: Mapping[str, Tensor], chosen: Tensor) -> dict[str, Tensor]:
        """The relevance to start with, by node; `chosen`: derivative of what is explained by the output."""
        return {graph.output: _start(self.start, record[graph.output], chosen, graph.cut)}

    def relevance(
        self, graph: Graph, constants: Any, record: Mapping[str, Tensor], chosen: Tensor, ledger: bool
    ) -> tuple[Tensor, Tensor]:
        """Relevance of the explained input, and the ledger's lines, 6 x nodes x images (none unless asked).

        `chosen` is the derivative of what is explained by the output.
        """
        lines: list[Tensor] = []

        def enter(step: Step, R: Tensor, flow: Flow) -> None:
            if ledger:
                lines.append(ops.stack(entry(R, flow)))

        start = self.begin(graph, record, chosen)
        relevance = backward(graph, self.steps, constants, record, start, enter)[graph.explained]
        if self.times_input:
            relevance = relevance * record[graph.explained]
        return relevance, ops.stack(lines, axis=1) if lines else ops.zeros((6, 0, 1))


class Network:
    """A canonised graph bound to its weights. `equality`: relative L2 between its logits and the
    original model's on a probe, checked when it is made."""

    def __init__(self, graph: Graph):
        self.dtype = _dtype(graph)
        self._device: dict[int, Tensor] = {}
        self._buffers = engine.buffers(graph.model.variables)
        self.graph = self._placed(graph)
        self.weights = {node.name: self._own(node) for node in self.graph if node.linear is not None}
        self._logits = engine.compile(self._output, self.weights)
        self.equality = check_equality(self)

    def _placed(self, graph: Graph) -> Graph:
        """The graph with its weights as the host sees those on the device: on a CPU the same memory."""
        views: dict[int, np.ndarray] = {}  # of layers that are called twice, too

        def view(array: np.ndarray) -> np.ndarray:
            if id(array) not in views:
                tensor = self.put(array)
                views[id(array)] = engine.host(tensor)
                self._device[id(views[id(array)])] = tensor
            return views[id(array)]

        return _with_weights(graph, view)

    def _own(self, node: Node) -> dict[str, Any]:
        own = {"kernel": self.put(node.kernel)}
        if node.bias is not None:
            own["bias"] = self.put(node.bias)
        return own

    def put(self, value: Any) -> Tensor:
        """A host array (or a tuple of them) on the device; the model's own weights are there once."""
        if isinstance(value, tuple):
            return tuple(self.put(v) for v in value)
        there = self._device.get(id(value))  # the graph keeps these arrays, so their ids stay theirs
        if there is not None:
            return there
        array = np.asarray(value, self.dtype)
        shared = self._buffers.get(array.ctypes.data)
        if shared is not None and shared.shape == array.shape and array.flags.c_contiguous:
            return shared
        return ops.convert_to_tensor(array)

    def head(self, preset: Preset, start: str = "logit", times_input: bool = False) -> Head:
        """Bind a preset: match every node, derive the rules' weights. Raises UnsupportedLayer."""
        steps = bounded(assign(preset, self.graph), self.graph, self.dtype)
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
        programs, key = heads[0].programs, _key(heads, ledger, goal.function)
        if key not in programs:
            for other in [made for made in programs if made[-1] not in (None, goal.function)]:
                del programs[other]  # one function at a time: a caller may make a new one for every call
            program = self.program(heads, ledger, goal.function)
            programs[key] = engine.compile(program, self.weights_of(heads))
        return programs[key](self.tensors(x), ops.convert_to_tensor(np.asarray(goal.classes, "int32")))

    def lend(self, heads: Sequence[Head], program: Callable[..., Any]) -> None:
        """Have these heads run together by `program(x, target)`, which computes what their own would."""
        heads[0].programs[_key(heads, False, None)] = program

    def tensors(self, x: tuple[np.ndarray, ...]) -> tuple[Tensor, ...]:
        return tuple(ops.convert_to_tensor(np.asarray(value, self.dtype)) for value in x)

    def record(self, weights: Any, x: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """The value of every node."""
        return evaluate_all(self.graph, dict(zip(self.graph.inputs, x, strict=True)), weights)

    def _output(self, weights: Any, x: tuple[Tensor, ...]) -> Tensor:
        return self.record(weights, x)[self.graph.output]

    def weights_of(self, heads: Sequence[Head]) -> dict[str, Any]:
        """What a :meth:`program` of these heads reads of the network's weights."""
        return {"nodes": self.weights, "heads": [head.constants for head in heads]}

    def program(
        self, heads: Sequence[Head], ledger: bool = False, function: Function | None = None
    ) -> Callable[..., Any]:
        """`(weights, x, target) -> (output, target, [(relevance, ledger lines) per head])`."""

        def program(weights: Any, x: tuple[Tensor, ...], target: Tensor) -> Any:
            record = self.record(weights["nodes"], x)
            output = record[self.graph.output]
            target = ops.where(target < 0, ops.cast(ops.argmax(output, axis=-1), "int32"), target)
            chosen = start_of(function, output, target)
            results = [
                head.relevance(self.graph, constants, record, chosen, ledger)
                for head, constants in zip(heads, weights["heads"], strict=True)
            ]
            return output, target, results

        return program


def _key(heads: Sequence[Head], ledger: bool, function: Function | None) -> tuple[Any, ...]:
    return (*(id(head) for head in heads), ledger, function)


def _start(start: str, output: Tensor, chosen: Tensor, cut: str) -> Tensor:
    """Start relevance from `chosen`, the derivative of what is explained by the output."""
    if start == "one":
        return chosen
    if start == "logit":
        return chosen * output
    return chosen * (ops.sigmoid(output) if cut == "sigmoid" else ops.softmax(output))


def _dtype(graph: Graph) -> str:
    layers = {str(getattr(n.layer, "variable_dtype", "")) for n in graph if n.linear is not None}
    return "float64" if "float64" in layers else "float32"


_networks: weakref.WeakValueDictionary[tuple, Network] = weakref.WeakValueDictionary()


def prepare(model: Any, how: Decomposition = FOLDED, subgraphs: tuple[tuple[str, ...], ...] = ()) -> Graph:
    """The canonised graph of a model or traced Graph, subgraphs collapsed. Checks shape and weights."""
    traced = model if isinstance(model, Graph) else trace(model)
    if len(traced[traced.output].shape) != 2:
        shape = traced[traced.output].shape
        raise UntraceableModel(
            f"output {traced.output!r} has shape {shape}; valid: one row of class scores per image"
        )
    _finite(traced)
    graph = canonize(traced, how)
    for patterns in subgraphs:
        graph = collapse(graph, patterns)
    return _rounded(graph)


def network(model: Any, how: Decomposition = FOLDED, subgraphs: tuple[tuple[str, ...], ...] = ()) -> Network:
    """The Network of a model or traced Graph; an unchanged model gets the one it already has."""
    graph = prepare(model, how, subgraphs)
    key = (id(graph.model), graph.output, graph.explained, how, subgraphs)
    bound = _networks.get(key)
    if bound is not None and bound.graph.model is graph.model and _same_weights(bound.graph, graph):
        return bound
    made = Network(graph)
    _networks[key] = made
    return made


def _rounded(graph: Graph) -> Graph:
    """The graph with its weights in the precision that it computes in; canonisation folds in float64."""
    dtype = _dtype(graph)
    made: dict[int, np.ndarray] = {}

    def rounded(array: np.ndarray) -> np.ndarray:
        if id(array) not in made:
            made[id(array)] = np.asarray(array, dtype)
        return made[id(array)]

    return _with_weights(graph, rounded)


def _with_weights(graph: Graph, function: Callable[[np.ndarray], np.ndarray]) -> Graph:
    """The graph with a function of every kernel and bias in its place."""

    def changed(node: Node) -> Node:
        kernel = keras.tree.map_structure(function, node.kernel)
        return replace(node, kernel=kernel, bias=None if node.bias is None else function(node.bias))

    return replace(graph, nodes=tuple(changed(n) if n.linear is not None else n for n in graph))


def _same_weights(bound: Graph, traced: Graph) -> bool:
    first, second = ([array for node in graph for array in node.arrays] for graph in (bound, traced))
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def _finite(graph: Graph) -> None:
    for node in graph:
        for array in node.arrays:
            if not np.all(np.isfinite(array)):
                count = int(np.sum(~np.isfinite(array)))
                raise InvalidInput(
                    f"weights of node {node.name!r} ({node.type}) hold {count} nan or infinite values; "
                    "valid: finite weights"
                )
