"""The end of a model: its explained outputs are logits, one per class."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from keras import ops

from explainers.engine import Tensor
from explainers.model.convolutions import Conv
from explainers.model.graph import Graph, Node
from explainers.model.linear import Dense, Scale

CLASSES = "classes"  # name of the node that gives a single logit both signs, where nothing else can


def cut_output(graph: Graph) -> Graph:
    """Remove a trailing softmax, log-softmax or sigmoid, and one that only reshapes follow."""
    after = _reshapes(graph)
    last = graph[after[0].inputs[0]] if after else graph[graph.output]
    alone = len(graph.children(last)) == (1 if after else 0)
    if not last.activation.ends or not alone or (after and not _one_place(last)):
        return graph
    logit = last.inputs[0]
    output = graph.output if after else logit
    nodes = tuple(
        replace(n, inputs=(logit,)) if after and n is after[0] else n for n in graph if n is not last
    )
    shorter = replace(graph, nodes=nodes, output=output)
    keep = {output, *shorter.ancestors(shorter[output]), *graph.inputs}
    return replace(
        shorter, nodes=tuple(n for n in nodes if n.name in keep), cut=last.function,
        changes=(*graph.changes, (last.name, f"trailing {last.function} cut")),
    )  # fmt: skip


def _reshapes(graph: Graph) -> tuple[Node, ...]:
    """The nodes at the end which only reshape one value per class, in order."""
    nodes: list[Node] = []
    node = graph[graph.output]
    while _only_reshapes(graph, node) and (not nodes or graph.children(node) == (nodes[-1],)):
        nodes.append(node)
        node = graph[node.inputs[0]]
    return tuple(reversed(nodes))


def _only_reshapes(graph: Graph, node: Node) -> bool:
    """Whether a node hands on the values of its input, each class in its place."""
    if len(node.inputs) != 1 or not _one_place(node):
        return False
    before = graph[node.inputs[0]]
    moves = node.kind == "reshape" or node.kind.endswith("_pool")
    return moves and _one_place(before) and node.shape[-1] == before.shape[-1]


def _one_place(node: Node) -> bool:
    """Whether it holds one value per channel."""
    return None not in node.shape[1:] and math.prod(node.shape[1:-1]) == 1  # type: ignore[arg-type]


def both_classes(graph: Graph) -> Graph:
    """The one logit `z` before a sigmoid as logits `(-z, z)` of two classes, whose sigmoids are `1 - p`, `p`.

    The linear node that makes it gets a second output with weights `-w` and bias `-b`, so that every
    rule treats class 0 as it treats class 1. Where no such node is found (a sum of branches), a linear
    node with weights (-1, 1) is added.
    """
    if graph.cut != "sigmoid" or graph[graph.output].shape[1:] != (1,):
        return graph
    widened = _widened(graph)
    if widened is None:
        last = graph[graph.output]
        name = f"{last.name}/{CLASSES}"
        node = Node(name, "dense", (last.name,), (None, 2), linear=Dense(), kernel=np.array([[-1.0, 1.0]]))
        widened = replace(graph, nodes=(*graph.nodes, node), output=name)
    change = (graph.output, "one logit z made the logits (-z, z) of two classes")
    return replace(widened, changes=(*graph.changes, change))


def _widened(graph: Graph) -> Graph | None:
    """The graph with two outputs from the last linear node with neurons on; None where there is none."""
    node, path = graph[graph.output], {}
    while True:
        path[node.name] = two = _with_two(node)
        if two is None or any(child.name not in path for child in graph.children(node)):
            return None
        if node.kind in ("dense", "conv"):
            return replace(graph, nodes=tuple(path.get(n.name) or n for n in graph))
        node = graph[node.inputs[0]]


def _with_two(node: Node) -> Node | None:
    """The node for two channels instead of one; None where it is not the same for each channel."""
    shape = (*node.shape[:-1], 2)
    bias = node.bias
    if bias is not None:
        if bias.size != 1:
            return None
        bias = np.concatenate([-bias.reshape(1), bias.reshape(1)])
    if isinstance(node.linear, Dense) or (isinstance(node.linear, Conv) and node.linear.groups == 1):
        kernel = np.concatenate([-node.kernel, node.kernel], axis=-1)
        return replace(node, shape=shape, kernel=kernel, bias=bias)
    if isinstance(node.linear, Scale) and np.size(node.kernel) == 1:
        return replace(node, shape=shape, bias=bias)
    if node.kind == "avg_pool" and len(node.inputs) == 1 and node.shape[-1] == 1:
        return replace(node, shape=shape)
    if node.kind == "reshape" and _one_place(node) and node.shape[-1] == 1:
        return replace(node, shape=shape, call=_reshaped(shape))
    return None


def _reshaped(shape: tuple[Any, ...]) -> Any:
    def call(x: Tensor) -> Tensor:
        return ops.reshape(x, (-1, *shape[1:]))

    return call
