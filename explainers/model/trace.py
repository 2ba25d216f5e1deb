"""`trace(model)`: a Keras model as a Graph; the only file that touches Keras' private graph API.

A traced model is an ordered tuple of *call events*: a layer that is called twice gives two nodes,
nested models are inlined. Weights are read to the host once (on a CPU without a copy); nothing here
changes the model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
from keras.src.backend import AutocastScope

from explainers import engine
from explainers.engine import Tensor
from explainers.errors import UntraceableModel
from explainers.model.describe import describe
from explainers.model.graph import Arguments, Graph, Node
from explainers.model.live import reads_live
from explainers.model.loading import load


def trace(model: Any, output: str | int | None = None, explained: str | None = None) -> Graph:
    """The graph of a built Keras model, restricted to what one output needs.

    `model`: a Functional or Sequential `keras.Model`, the path of a `.keras` or `.h5` file, or the
    name of a `keras.applications` network. `output` chooses one of several outputs (name or index),
    `explained` one of several inputs.

    Raises UntraceableModel for a subclassed or unbuilt model and for a choice that is missing.
    """
    if isinstance(model, (str, Path)):
        model = load(model)
    function = _function(model)
    nodes, values = _inputs(function)
    _walk(function, values, "", nodes)
    index = _choose("output", list(function.output_names), output)
    chosen = values[id(function.outputs[index])]
    inputs = tuple(values[id(tensor)] for tensor in function.inputs)
    graph = Graph(tuple(nodes), inputs, "", chosen, model, index)
    used = [name for name in inputs if name == chosen or name in graph.ancestors(graph[chosen])]
    explained = used[_choose("input", used, explained)]
    keep = {*inputs, chosen, *graph.ancestors(graph[chosen])}
    return Graph(tuple(n for n in nodes if n.name in keep), inputs, explained, chosen, model, index)


def outputs(graph: Graph, x: Sequence[Tensor]) -> list[Tensor]:
    """The outputs of the traced model itself for its inputs, in their order, in full precision."""
    structure = getattr(_function(graph.model), "_inputs_struct", list(x) if len(x) > 1 else x[0])
    with full_precision(graph.model):
        value = graph.model(keras.tree.pack_sequence_as(structure, list(x)), training=False)
    return list(keras.tree.flatten(value))


HALF = ("float16", "bfloat16")
_changing = threading.RLock()  # a layer's precision is its own, whichever thread calls it


@contextmanager
def full_precision(operation: Any) -> Iterator[None]:
    """While it lasts, layers that compute in half precision compute in float32.

    Explanations are made in float32: products and quotients of relevance need its digits and its range.
    """
    layers = operation._flatten_layers() if isinstance(operation, keras.Layer) else ()
    with _changing:
        changed = [(layer, layer._dtype_policy) for layer in layers if layer.compute_dtype in HALF]
        if not changed:
            yield
            return
        try:
            for layer, _ in changed:
                layer._dtype_policy = keras.DTypePolicy("float32")
            with AutocastScope("float32"):
                yield
        finally:
            for layer, policy in changed:
                layer._dtype_policy = policy


def _function(model: Any) -> Any:
    """The `Functional` behind a model."""
    inner = getattr(model, "_functional", None) if isinstance(model, keras.Sequential) else model
    if isinstance(inner, keras.Model) and hasattr(inner, "_nodes_by_depth"):
        return inner
    if not isinstance(model, keras.Model):
        raise UntraceableModel(f"expected a keras.Model, received {type(model).__name__}")
    what = "is not built" if isinstance(model, keras.Sequential) else "is subclassed and has no graph"
    raise UntraceableModel(
        f"model {model.name!r} ({type(model).__name__}) {what}; valid: a built Functional or Sequential "
        "model; give it an Input, or rebuild it with keras.Model(inputs, outputs)"
    )


def _choose(what: str, names: list[str], choice: str | int | None) -> int:
    if choice is None and len(names) == 1:
        return 0
    if isinstance(choice, str) and choice in names:
        return names.index(choice)
    if isinstance(choice, int) and -len(names) <= choice < len(names):
        return range(len(names))[choice]
    received = "none was chosen" if choice is None else f"received {choice!r}"
    raise UntraceableModel(f"the model has {len(names)} {what}s ({', '.join(names)}) and {received}")


def _inputs(function: Any) -> tuple[list[Node], dict[int, str]]:
    nodes, values = [], {}
    for tensor in function.inputs:
        layer = tensor._keras_history.operation
        nodes.append(Node(layer.name, "input", (), tuple(tensor.shape), layer))
        values[id(tensor)] = layer.name
    return nodes, values


def _walk(function: Any, values: dict[int, str], prefix: str, nodes: list[Node]) -> None:
    """Append a Node per call event; `values` maps a symbolic tensor to the node that makes it."""
    taken = {node.name for node in nodes}
    for depth in sorted(function._nodes_by_depth, reverse=True):
        for event in function._nodes_by_depth[depth]:
            tensors = event.arguments.keras_tensors
            if event.is_input or any(id(tensor) not in values for tensor in tensors):
                continue
            if isinstance(event.operation, keras.Model):
                _inline(event, values, prefix, nodes)
                taken = {node.name for node in nodes}
                continue
            name = _unique(prefix + event.operation.name, taken)
            for produced in _events(event, name, values):
                taken.add(produced.name)
                nodes.append(produced)
            for i, tensor in enumerate(event.outputs):
                values[id(tensor)] = name if len(event.outputs) == 1 else f"{name}:{i}"


def _inline(event: Any, values: dict[int, str], prefix: str, nodes: list[Node]) -> None:
    inner = _function(event.operation)
    outer = [values[id(tensor)] for tensor in event.arguments.keras_tensors]
    inside = {id(tensor): name for tensor, name in zip(inner.inputs, outer, strict=True)}
    _walk(inner, inside, f"{prefix}{event.operation.name}/", nodes)
    for outside, tensor in zip(event.outputs, inner.outputs, strict=True):
        values[id(outside)] = inside[id(tensor)]


def _unique(name: str, taken: set[str]) -> str:
    if name not in taken and f"{name}:0" not in taken:
        return name
    count = 2
    while f"{name}@{count}" in taken or f"{name}@{count}:0" in taken:
        count += 1
    return f"{name}@{count}"


def _events(event: Any, name: str, values: dict[int, str]) -> Iterator[Node]:
    """The node of one call event, one per output where there are several."""
    tensors = tuple(event.arguments.keras_tensors)
    arguments = Arguments(tuple(event.arguments.args), event.arguments.kwargs, tensors)
    inputs = tuple(values[id(tensor)] for tensor in tensors)
    several = len(event.outputs) > 1
    for i, tensor in enumerate(event.outputs):
        node = Node(
            f"{name}:{i}" if several else name, "unknown", inputs, tuple(tensor.shape), event.operation,
            call=_replay(event, i if several else None),
        )  # fmt: skip
        node = describe(node, arguments)
        yield node if node.linear is not None or node.parts or node.kind == "identity" else _freeze(node)


def _freeze(node: Node) -> Node:
    """The node computing with its layer's weights as they are now, whatever becomes of the model."""
    variables = list(getattr(node.layer, "variables", ()))
    if not variables or reads_live():
        return node
    state = tuple(engine.host(variable) for variable in variables)

    def call(*tensors: Tensor) -> Tensor:
        values = [keras.ops.convert_to_tensor(array) for array in state]
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return node.call(*tensors)

    return replace(node, call=call, state=state)


def _replay(event: Any, index: int | None) -> Callable[..., Tensor]:
    """The call event as a function of its tensors, its other arguments fixed.

    Not training, whatever the event says: a model that is not training tells all its layers.
    """
    operation, arguments = event.operation, event.arguments
    keys = [id(tensor) for tensor in arguments.keras_tensors]
    trains = getattr(operation, "_call_has_training_arg", False)

    def call(*tensors: Tensor) -> Tensor:
        args, kwargs = arguments.fill_in(dict(zip(keys, tensors, strict=True)))
        with full_precision(operation):
            value = operation(*args, **kwargs | ({"training": False} if trains else {}))
        return value if index is None else keras.tree.flatten(value)[index]

    return call
