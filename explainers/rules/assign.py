"""Which rule meets which node: a preset matched to a graph, with what is statically known at each node."""

from __future__ import annotations

from dataclasses import dataclass

from explainers.errors import InvalidParameter
from explainers.model.graph import Graph
from explainers.rules.base import Rule, Site
from explainers.rules.facts import non_negative, only_relu, vanishing
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
        relu = only_relu(graph, node)
        active = relu is not None and relu.name in vanishes and isinstance(matched[relu.name][0], Pass)
        site = Site(node, all(name in sure for name in node.inputs), active)
        steps.append(Step(site, rule, why))
    return tuple(steps)
