"""What holds of values and relevance whatever the input is, read off graph, kinds of nodes and rules."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from explainers.model.graph import Graph, Node
from explainers.rules.base import Rule

# Interpolations that only average; the others (bicubic, lanczos) overshoot.
_AVERAGING = ("nearest", "bilinear", "area")


def non_negative(graph: Graph) -> frozenset[str]:
    """Names of the nodes whose output cannot be negative."""
    names: set[str] = set()
    for node in graph:
        if _is_non_negative(node, [name in names for name in node.inputs]):
            names.add(node.name)
    return frozenset(names)


def _is_non_negative(node: Node, inputs: list[bool]) -> bool:
    """`inputs`: which of the node's inputs cannot be negative."""
    if node.foreign or getattr(node.layer, "interpolation", "nearest") not in _AVERAGING:
        return False  # a layer of one's own may add what it likes
    if node.kind in ("activation", "softmax") and node.activation.non_negative:
        return True
    if node.kind == "maximum":
        return any(inputs)
    if not inputs or not all(inputs):
        return False
    if node.kind == "scale":
        return bool(np.all(node.kernel >= 0) and (node.bias is None or np.all(node.bias >= 0)))
    return node.traits.keeps_sign


def only_relu(graph: Graph, node: Node) -> Node | None:
    """The plain ReLU that alone reads a node."""
    children = graph.children(node)
    alone = len(children) == 1 and node.name != graph.output
    return children[0] if alone and children[0].function == "relu" else None


def vanishing(graph: Graph, rules: Mapping[str, Rule]) -> frozenset[str]:
    """Names of the nodes whose relevance is certain to be 0 wherever their value is 0."""
    names: set[str] = set()
    for node in reversed(graph.nodes):
        readers = graph.children(node)
        if node.name != graph.output and all(_passes_zeros(r, rules[r.name], names) for r in readers):
            names.add(node.name)
    return frozenset(names)


def _passes_zeros(node: Node, rule: Rule, vanishing: set[str]) -> bool:
    """Whether a node's rule gives its input no relevance where that is 0."""
    if rule.proportional is not None:
        return rule.proportional
    keeps_zero = node.activation.keeps_zero if node.kind == "activation" else node.traits.keeps_zero
    return keeps_zero and node.name in vanishing
