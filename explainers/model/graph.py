"""Node, Graph and `trace(model)`: the only file that touches Keras' private graph API.

A traced model is an ordered tuple of *call events*: a layer that is called twice gives two nodes,
nested models are inlined. Weights are read to the host once (on a CPU without a copy); nothing here
changes the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from explainers import engine
from explainers.engine import Tensor
from explainers.errors import UntraceableModel

# Kinds whose operator is linear with weights: a rule decides how relevance crosses them.
LINEAR = ("dense", "conv", "depthwise_conv", "separable_conv", "conv_transpose", "einsum", "scale")


@dataclass(frozen=True, eq=False)
class Node:
    """One call event: what was called, on which nodes' outputs, and what the operator is.

    A linear node computes `linear.apply(a, kernel) + bias`; every other node computes
    `call(*inputs)` with `state`, its weights when it was traced. `shape` includes the batch axis (None).
    `folded` names what was merged into it, `parts` what a composite node (attention) consists of; the
    last part has the node's own name.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    shape: tuple[int | None, ...]
    layer: Any = None
    call: Any = None  # a function of the inputs' tensors, where there is no linear operator
    linear: Any = None  # a Linear
    kernel: Any = None  # an array; a pair of them for a separable convolution
    bias: np.ndarray | None = None
    function: str = ""
    window: tuple[int, ...] | None = None
    folded: tuple[str, ...] = ()
    note: str = ""
    parts: tuple[Node, ...] = ()
    state: tuple[np.ndarray, ...] = ()

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All weights of the node and its parts."""
        kernels = self.kernel if isinstance(self.kernel, tuple) else (self.kernel,)
        found = [*kernels, self.bias, *self.state, *(a for part in self.parts for a in part.arrays)]
        return tuple(a for a in found if a is not None)

    @property
    def foreign(self) -> bool:
        """Whether the layer is not one of Keras' own: what it does is known by its declaration only."""
        return self.layer is not None and not type(self.layer).__module__.startswith("keras.")

    @property
    def type(self) -> str:
        """Class name of the layer or operation behind the node."""
        return type(self.layer).__name__ if self.layer is not None else self.kind

    def __repr__(self) -> str:
        return f"Node({self.name!r}, {self.kind!r}, inputs={self.inputs})"


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in an order in which every node comes after its inputs.

    `inputs` are the model's inputs in its own order, `explained` the one that gets the relevance,
    `output` the node whose value is explained. `cut` names the trailing activation that was removed.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    explained: str
    output: str
    model: Any = None
    output_index: int = 0
    cut: str = ""
    changes: tuple[tuple[str, str], ...] = field(default=())

    @cached_property
    def _index(self) -> dict[str, int]:
        return {node.name: i for i, node in enumerate(self.nodes)}

    @cached_property
    def _children(self) -> dict[str, tuple[Node, ...]]:
        children: dict[str, list[Node]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                children[name].append(node)
        return {name: tuple(nodes) for name, nodes in children.items()}

    def __getitem__(self, name: str) -> Node:
        return self.nodes[self._index[name]]

    def __contains__(self, name: str) -> bool:
        return name in self._index

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def position(self, node: Node) -> int:
        """Place of the node in the order."""
        return self._index[node.name]

    def parents(self, node: Node) -> tuple[Node, ...]:
        """The nodes whose outputs this one reads, in argument order."""
        return tuple(self[name] for name in node.inputs)

    def children(self, node: Node) -> tuple[Node, ...]:
        """The nodes that read this one's output."""
        return self._children[node.name]

    def ancestors(self, node: Node) -> frozenset[str]:
        """Names of all nodes from which this one can be reached."""
        return self._ancestors[node.name]

    @cached_property
    def _ancestors(self) -> dict[str, frozenset[str]]:
        known: dict[str, frozenset[str]] = {}
        for node in self.nodes:
            known[node.name] = frozenset(node.inputs).union(*(known[name] for name in node.inputs))
        return known

    @cached_property
    def input_part(self) -> frozenset[str]:
        """Names of the nodes that only prepare the input: rescaling, normalisation, padding, reshaping."""
        part: set[str] = set()
        for node in self.nodes:
            prepares = node.kind in ("scale", "pad", "crop", "reshape", "identity", "slice", "upsample")
            if node.kind == "input" or (prepares and part.issuperset(node.inputs)):
                part.add(node.name)
        return frozenset(part)

    @cached_property
    def first_linear(self) -> frozenset[str]:
        """Names of the first real linear nodes: the input-layer rule lands there."""
        linear = {node.name for node in self.nodes if node.kind in LINEAR} - self.input_part
        return frozenset(name for name in linear if not linear & self._ancestors[name])


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
    """The outputs of the traced model itself for its inputs, in their order."""
    structure = getattr(_function(graph.model), "_inputs_struct", list(x) if len(x) > 1 else x[0])
    value = graph.model(keras.tree.pack_sequence_as(structure, list(x)), training=False)
    return list(keras.tree.flatten(value))


def load(source: str | Path, unsafe: bool = False) -> keras.Model:
    """A model from a `.keras` or `.h5` file, or an untrained `keras.applications` network by name.

    Files are read in Keras' safe mode: Lambda layers are refused unless `unsafe`, which runs code
    from the file.
    """
    path = Path(source)
    if path.suffix in (".keras", ".h5", ".hdf5"):
        if not path.is_file():
            raise UntraceableModel(f"model file {str(path)!r} does not exist")
        try:
            return keras.saving.load_model(path, compile=False, safe_mode=not unsafe)
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UntraceableModel(f"model file {path.name!r} cannot be loaded: {reason}") from error
    factory = getattr(keras.applications, str(source), None)
    if not callable(factory):
        known = sorted(n for n in dir(keras.applications) if n[:1].isupper())
        raise UntraceableModel(
            f"model {str(source)!r} is neither a .keras or .h5 file nor a keras.applications name: "
            f"{', '.join(known)}"
        )
    return factory(weights=None)


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
    from explainers.model.kinds import describe

    inputs = tuple(values[id(tensor)] for tensor in event.arguments.keras_tensors)
    several = len(event.outputs) > 1
    for i, tensor in enumerate(event.outputs):
        node = Node(
            f"{name}:{i}" if several else name, "unknown", inputs, tuple(tensor.shape), event.operation,
            call=_replay(event, i if several else None),
        )  # fmt: skip
        node = describe(node, event.arguments)
        yield node if node.linear is not None or node.parts or node.kind == "identity" else _freeze(node)


def _freeze(node: Node) -> Node:
    """The node computing with its layer's weights as they are now, whatever becomes of the model."""
    variables = list(getattr(node.layer, "variables", ()))
    if not variables:
        return node
    state = tuple(engine.host(variable) for variable in variables)

    def call(*tensors: Tensor) -> Tensor:
        values = [keras.ops.convert_to_tensor(array) for array in state]
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return node.call(*tensors)

    return replace(node, call=call, state=state)


def _replay(event: Any, index: int | None) -> Callable[..., Tensor]:
    """The call event as a function of its tensors, its other arguments fixed."""
    operation, arguments = event.operation, event.arguments
    keys = [id(tensor) for tensor in arguments.keras_tensors]

    def call(*tensors: Tensor) -> Tensor:
        args, kwargs = arguments.fill_in(dict(zip(keys, tensors, strict=True)))
        value = operation(*args, **kwargs)
        return value if index is None else keras.tree.flatten(value)[index]

    return call
