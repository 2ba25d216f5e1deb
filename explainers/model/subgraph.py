"""A connected part of the graph as one node, so that one backward mapping can cross it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from explainers.engine import Tensor
from explainers.errors import InvalidParameter
from explainers.model.evaluate import evaluate_all
from explainers.model.graph import Graph, Node


def collapse(graph: Graph, patterns: Sequence[str]) -> Graph:
    """Replace all nodes whose names match one of the patterns by one node of kind `subgraph`.

    Raises InvalidParameter unless they are connected and only the last of them is read from outside.
    """
    inside = [n for n in graph if n.kind != "input" and any(fnmatchcase(n.name, p) for p in patterns)]
    names = {node.name for node in inside}
    what = f"subgraph {', '.join(patterns)}"
    if not inside:
        raise InvalidParameter(f"{what}: no node matches; nodes: {', '.join(n.name for n in graph)}")
    last = inside[-1]
    read = [n.name for n in inside if n is not last and _read_outside(graph, n, names)]
    if read:
        raise InvalidParameter(
            f"{what}: only its last node {last.name!r} may be read from outside, but {read[0]!r} is too"
        )
    stray = [n.name for n in inside if n is not last and n.name not in graph.ancestors(last)]
    outer = tuple(dict.fromkeys(name for n in inside for name in n.inputs if name not in names))
    between = [name for name in outer if names & graph.ancestors(graph[name])]
    if stray or between:
        why = f"{stray[0]!r} does not lead to {last.name!r}" if stray else f"{between[0]!r} lies between them"
        raise InvalidParameter(f"{what}: the nodes are not connected: {why}")
    node = Node(
        last.name, "subgraph", outer, last.shape, last.layer, _forward(inside, outer),
        note=" ".join(patterns), parts=tuple(inside),
    )  # fmt: skip
    nodes = tuple(node if n is last else n for n in graph if n is last or n.name not in names)
    change = (last.name, f"{len(inside)} nodes collapsed into one")
    return replace(graph, nodes=nodes, changes=(*graph.changes, change))


def _read_outside(graph: Graph, node: Node, names: set[str]) -> bool:
    return node.name == graph.output or any(child.name not in names for child in graph.children(node))


def _forward(inside: Sequence[Node], outer: Sequence[str]) -> Callable[..., Tensor]:
    """The part's forward function of its outer inputs."""

    def call(*tensors: Tensor) -> Tensor:
        return evaluate_all(inside, dict(zip(outer, tensors, strict=True)))[inside[-1].name]

    return call
