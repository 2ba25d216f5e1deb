"""Node and Graph: a traced model as an ordered tuple of *call events*."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from explainers.model.activations import Activation, activation
from explainers.model.kinds import NODE_KINDS, NodeKind


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
    def traits(self) -> NodeKind:
        """What holds for nodes of its kind."""
        return NODE_KINDS[self.kind]

    @property
    def activation(self) -> Activation:
        """What holds for its activation function."""
        return activation(self.function)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All weights of the node and its parts."""
        kernels = self.kernel if isinstance(self.kernel, tuple) else (self.kernel,)
        weights = [*kernels, self.bias, *self.state, *(a for part in self.parts for a in part.arrays)]
        return tuple(array for array in weights if array is not None)

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


class Arguments(NamedTuple):
    """What a layer was called with; `tensors` are the symbolic ones, in the order of `Node.inputs`."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    tensors: tuple[Any, ...]


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

    def children(self, node: Node) -> tuple[Node, ...]:
        """The nodes that read this one's output."""
        return self._children[node.name]

    def ancestors(self, node: Node) -> frozenset[str]:
        """Names of all nodes from which this one can be reached."""
        return self._ancestors[node.name]

    @cached_property
    def _ancestors(self) -> dict[str, frozenset[str]]:
        above: dict[str, frozenset[str]] = {}
        for node in self.nodes:
            above[node.name] = frozenset(node.inputs).union(*(above[name] for name in node.inputs))
        return above

    @cached_property
    def input_part(self) -> frozenset[str]:
        """Names of the nodes that only prepare the input: rescaling, normalisation, padding, reshaping."""
        part: set[str] = set()
        for node in self.nodes:
            if node.kind == "input" or (node.traits.prepares and part.issuperset(node.inputs)):
                part.add(node.name)
        return frozenset(part)

    @cached_property
    def first_linear(self) -> frozenset[str]:
        """Names of the first real linear nodes: the input-layer rule lands there."""
        linear = {node.name for node in self.nodes if node.traits.weighted} - self.input_part
        return frozenset(name for name in linear if not linear & self._ancestors[name])
