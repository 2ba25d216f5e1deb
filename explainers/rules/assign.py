"""Which rule meets which node: a preset matched to a graph, with what is statically known at each node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from explainers.errors import InvalidParameter
from explainers.model.graph import Graph, Node
from explainers.rules.base import Rule, Site
from explainers.rules.facts import non_negative, only_relu, vanishing
from explainers.rules.norm import Norm
from explainers.rules.presets import Preset
from explainers.rules.weightless import Pass


@dataclass(frozen=True, eq=False)
class Step:
    """A node, the rule that matched it and why."""

    site: Site
    rule: Rule
    why: str


def assign(preset: Preset, graph: Graph) -> tuple[Step, ...]:
    """The steps of the backward pass, last node first.

    Raises UnsupportedLayer, and InvalidParameter for a rule of weights at a node that has none.
    """
    sure = non_negative(graph)
    matched = {node.name: preset.match(node, graph) for node in graph if node.kind != "input"}
    vanishes = vanishing(graph, {name: rule for name, (rule, _) in matched.items()})
    steps = []
    for node in reversed(graph.nodes):
        if node.kind == "input":
            continue
        rule, why = matched[node.name]
        if rule.weighted and node.linear is None:
            raise InvalidParameter(
                f"preset {preset.name!r}: rule {rule!r} needs weights, and node {node.name!r} "
                f"({node.type}, kind {node.kind!r}) has none; valid there: a rule of "
                "explainers.rules.weightless"
            )
        relu = only_relu(graph, node) if node.traits.weighted or isinstance(rule, Norm) else None
        active = relu is not None and relu.name in vanishes and isinstance(matched[relu.name][0], Pass)
        spare = _spare(node, graph, matched) if isinstance(rule, Norm) else None
        steps.append(Step(Site(node, all(name in sure for name in node.inputs), active, spare), rule, why))
    return tuple(steps)


def _spare(node: Node, graph: Graph, matched: Mapping[str, tuple[Rule, str]]) -> int | None:
    """The first summand that the backward pass reads nowhere else: neither its own rule nor another node."""
    if node.kind != "add" or node.foreign:
        return None
    for i, name in enumerate(node.inputs):
        source = graph[name]
        alone = graph.children(source) == (node,) and node.inputs.count(name) == 1
        unread = source.traits.weighted and not matched[name][0].reads_output
        if alone and unread and source.shape == node.shape:
            return i
    return None
