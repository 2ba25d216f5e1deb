"""Graph -> Graph, pure: the model as a chain of plain linear maps and plain non-linearities.

A trailing softmax or sigmoid is cut, Dropout and Identity are dropped, fused activations are split,
attention is opened, zero padding is merged into the convolution behind it, a BatchNorm (any
per-channel scale) is folded into a neighbouring linear node where that is exact, and a single sigmoid
unit becomes two classes. What was done is kept in `Graph.changes`; whether it was right is checked
when an analyzer is fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from explainers.model.activations import kind_and_note
from explainers.model.convolutions import Conv, DepthwiseConv, Separable
from explainers.model.decomposition import FOLDED, Decomposition
from explainers.model.graph import Graph, Node
from explainers.model.live import double
from explainers.model.output import both_classes, cut_output


def canonize(graph: Graph, how: Decomposition = FOLDED) -> Graph:
    """All steps in order, but for those that the decomposition leaves out."""
    steps: tuple[Callable[[Graph], Graph], ...] = (
        open_attention, drop_identities, split_activations, cut_output, merge_padding,
        fold_into_previous, fold_into_next, split_scales, both_classes,
    )  # fmt: skip
    for step in steps:
        if how.takes(step.__name__):
            graph = step(graph)
    return graph


def output_kind(graph: Graph) -> str:
    """Which activation ends a traced model: `softmax`, `log_softmax`, `sigmoid`; "" where none is cut."""
    for step in (drop_identities, split_activations, cut_output):
        graph = step(graph)
    return graph.cut


def open_attention(graph: Graph) -> Graph:
    """Replace a node that consists of parts (attention) by these."""
    nodes: list[Node] = []
    changes = []
    for node in graph:
        nodes.extend(node.parts or (node,))
        if node.parts:
            changes.append((node.name, f"{node.type} opened into {len(node.parts)} nodes"))
    return replace(graph, nodes=tuple(nodes), changes=(*graph.changes, *changes))


def drop_identities(graph: Graph) -> Graph:
    """Remove nodes that pass their input on when the model is not training."""
    dropped = {node.name: node.inputs[0] for node in graph if node.kind == "identity"}
    changes = [(node.name, f"{node.type} dropped") for node in graph if node.name in dropped]
    return _rewire(graph, [n for n in graph if n.name not in dropped], dropped, changes)


def split_activations(graph: Graph) -> Graph:
    """A linear node with an activation becomes two nodes, `name` and `name/activation`."""
    nodes: list[Node] = []
    renamed, changes = {}, []
    for node in graph:
        if not node.traits.weighted or not node.function:
            nodes.append(node)
            continue
        name = f"{node.name}/{node.function}"
        kind, note = kind_and_note(node.function)
        nodes.append(replace(node, function="", call=None))
        nodes.append(
            Node(
                name,
                kind,
                (node.name,),
                node.shape,
                node.layer,
                node.layer.activation,
                function=node.function,
                note=note,
            )
        )
        renamed[node.name] = name
        changes.append((node.name, f"activation {node.function} split off"))
    return _rewire(graph, nodes, renamed, changes, skip=frozenset(renamed.values()))


def merge_padding(graph: Graph) -> Graph:
    """Zero padding before `valid` convolutions becomes part of them: a pad is no input."""
    for name in [node.name for node in graph if node.kind == "pad"]:
        pad = graph[name]  # as it is now: an earlier merge may have changed its input
        children = graph.children(pad)
        pads = _pads(pad)
        merged = {child.name: _with_pads(child, pads) for child in children} if pads else {}
        if not merged or pad.name == graph.output or None in merged.values():
            continue
        nodes = [merged.get(n.name) or n for n in graph if n.name != pad.name]
        changes = [(pad.name, f"zero padding {pads} merged into {', '.join(merged)}")]
        graph = _rewire(graph, nodes, {pad.name: pad.inputs[0]}, changes)
    return graph


def fold_into_previous(graph: Graph) -> Graph:
    """Fold a per-channel scale into the linear node before it, when nothing else reads that node."""
    for name in _scales(graph):
        scale = graph[name]  # as it is now: an earlier fold may have changed its input
        before = graph[scale.inputs[0]]
        only_reader = graph.children(before) == (graph[scale.name],) and before.name != graph.output
        if not only_reader or not before.traits.weighted or before.name in graph.input_part:
            continue
        if np.ndim(scale.kernel) > 1 or (scale.bias is not None and scale.bias.ndim > 1):
            continue
        g = double(scale.kernel)
        kernel = before.linear.scale_output(_double(before.kernel), g)
        if kernel is None:
            continue
        bias = 0.0 if before.bias is None else before.bias * g
        bias = double(bias + (0.0 if scale.bias is None else scale.bias))
        node = replace(
            before, kernel=kernel, bias=bias if np.any(bias) else None, folded=(*before.folded, scale.name)
        )
        nodes = [node if n.name == before.name else n for n in graph if n.name != scale.name]
        changes = [(scale.name, f"{scale.type} folded into {before.name}")]
        graph = _rewire(graph, nodes, {scale.name: before.name}, changes)
    return graph


def fold_into_next(graph: Graph) -> Graph:
    """Fold a scale into the linear nodes after it, where that is exact: not across zero padding."""
    for name in _scales(graph):
        scale = graph[name]
        merged = {child.name: _with_scaled_input(child, scale) for child in graph.children(scale)}
        if not merged or scale.name == graph.output or None in merged.values():
            continue
        nodes = [merged.get(n.name) or n for n in graph if n.name != scale.name]
        changes = [(scale.name, f"{scale.type} folded into {', '.join(merged)}")]
        graph = _rewire(graph, nodes, {scale.name: scale.inputs[0]}, changes)
    return graph


def split_scales(graph: Graph) -> Graph:
    """A scale with a shift becomes two nodes: `name/scale` multiplies, `name` adds."""
    nodes: list[Node] = []
    changes = []
    for node in graph:
        if node.kind == "scale" and node.bias is not None and node.name not in graph.input_part:
            first = replace(node, name=f"{node.name}/scale", bias=None)
            node = replace(
                node, inputs=(first.name,), kernel=np.ones(tuple(np.shape(node.kernel))), folded=()
            )
            nodes.append(first)
            changes.append((node.name, f"{node.type} split into scale and shift"))
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes), changes=(*graph.changes, *changes))


def _scales(graph: Graph) -> list[str]:
    return [node.name for node in graph if node.kind == "scale" and node.name not in graph.input_part]


def _rewire(
    graph: Graph,
    nodes: list[Node],
    renamed: Mapping[str, str],
    changes: list[tuple[str, str]],
    skip: frozenset[str] = frozenset(),
) -> Graph:
    """The graph of `nodes` with every reference to a renamed node replaced."""

    def final(name: str) -> str:
        while name in renamed:
            name = renamed[name]
        return name

    rewired = tuple(
        n if n.name in skip or not any(i in renamed for i in n.inputs)
        else replace(n, inputs=tuple(final(i) for i in n.inputs))
        for n in nodes
    )  # fmt: skip
    return replace(graph, nodes=rewired, output=final(graph.output), changes=(*graph.changes, *changes))


def _double(kernel: Any) -> Any:
    if isinstance(kernel, tuple):
        return tuple(map(double, kernel))
    return double(kernel)


def _pads(node: Node) -> tuple[tuple[int, int], ...] | None:
    """Pads per spatial axis of a ZeroPadding layer."""
    padding = getattr(node.layer, "padding", None)
    if padding is None or not type(node.layer).__name__.startswith("ZeroPadding"):
        return None
    pairs = (padding,) if isinstance(padding[0], int) else padding
    return tuple((int(low), int(high)) for low, high in pairs)


def _with_pads(node: Node, pads: tuple[tuple[int, int], ...]) -> Node | None:
    linear = node.linear
    first: Any = linear.depthwise if isinstance(linear, Separable) else linear
    if not isinstance(first, (Conv, DepthwiseConv)) or first.padding != "valid" or first.pads:
        return None
    first = replace(first, pads=pads)
    return replace(node, linear=replace(linear, depthwise=first) if isinstance(linear, Separable) else first)


def _with_scaled_input(node: Node, scale: Node) -> Node | None:
    """The node reading the scale's input in place of its output; None where not exact."""
    if node.linear is None or isinstance(node.kernel, tuple) or np.ndim(scale.kernel) > 1:
        return None
    kernel = double(node.kernel)
    scaled = node.linear.scale_input(kernel, double(scale.kernel))
    if scaled is None:
        return None
    bias = node.bias
    if scale.bias is not None:
        shift = node.linear.shift_input(kernel, scale.bias) if np.ndim(scale.bias) < 2 else None
        if shift is None:
            return None
        bias = shift if bias is None else bias + shift
    return replace(node, kernel=scaled, bias=bias, folded=(*node.folded, scale.name))
