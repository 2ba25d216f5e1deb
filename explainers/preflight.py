"""Preflight: what a method would do with a model, without explaining anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from explainers.analyzer import Analyzer
from explainers.costs import cost
from explainers.errors import ExplainError, UnequalForward, UnsupportedLayer
from explainers.model.graph import Graph
from explainers.network import prepare
from explainers.registry import example, method_info
from explainers.rules.presets import Preset


@dataclass(frozen=True)
class PlanRow:
    """One node: which rule matched it and why (the condition), what was folded into it."""

    node: str
    layer: str
    kind: str
    shape: tuple[int | None, ...]
    rule: str
    why: str
    folded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unsupported:
    """A node that no rule matches, and what is known about why."""

    node: str
    layer: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """Rules per node in forward order, canonisation changes, and whether the method can explain the model.

    `equality`: relative L2 between the canonised and the original logits (None: not reached);
    `cost`: forward passes, by multiply-adds (None: no rules, or problems); `cost_note`: the cost in general;
    `input_layer`: the nodes where the input-layer rule lands; `problems`: why `ok` is False.
    """

    model: str
    method: str
    rows: tuple[PlanRow, ...]
    changes: tuple[tuple[str, str], ...]
    input_layer: tuple[str, ...]
    equality: float | None
    unsupported: tuple[Unsupported, ...]
    cost: float | None
    cost_note: str
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the method can explain the model."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self) | {"ok": self.ok}


def plan(model: Any, method: str | Analyzer, parameters: Mapping[str, Any] | None = None) -> Plan:
    """What `method` would do with `model` (a Keras model, Graph, file or application name).

    Raises ExplainError for a model that has no graph and for wrong parameters; a node without a rule
    or logits that differ are in the result.
    """
    analyzer = example(method, parameters) if isinstance(method, str) else method
    preset = analyzer.preset()
    graph = prepare(model, analyzer.decomposition(), () if preset is None else preset.subgraphs())
    rows, unsupported = ((), ()) if preset is None else _rows(graph, preset)
    equality, problems = _reasons(analyzer, model, unsupported)
    return Plan(
        graph.model.name,
        method if isinstance(method, str) else type(analyzer).__name__,
        rows,
        graph.changes,
        tuple(n.name for n in graph if n.name in graph.first_linear),
        equality,
        unsupported,
        None if preset is None or problems else analyzer.passes(cost(graph, preset)),
        "" if analyzer.origin is None else method_info(analyzer.origin.method).cost,
        tuple(problems),
    )


def _rows(graph: Graph, preset: Preset) -> tuple[tuple[PlanRow, ...], tuple[Unsupported, ...]]:
    rows, unsupported = [], []
    for node in graph:
        if node.kind == "input":
            continue
        try:
            rule, why = preset.match(node, graph)
        except UnsupportedLayer as error:
            reason = error.reason or f"kind {node.kind!r}; kinds with a rule: {', '.join(error.known)}"
            unsupported.append(Unsupported(node.name, node.type, reason))
            rule, why = None, "no pair matches"
        shown = "" if rule is None else repr(rule)
        rows.append(PlanRow(node.name, node.type, node.kind, tuple(node.shape), shown, why, node.folded))
    return tuple(rows), tuple(unsupported)


def _reasons(
    analyzer: Analyzer, model: Any, unsupported: tuple[Unsupported, ...]
) -> tuple[float | None, list[str]]:
    """How far the canonised logits are from the original's, and why the method cannot explain the model."""
    equality, problems = None, []
    try:
        net = analyzer.network_of(model)
        equality = net.equality
        if not unsupported:
            analyzer.check(net)
    except UnequalForward as error:
        equality, problems = error.figure, [str(error)]
    except ExplainError as error:
        problems = [str(error)]
    return equality, problems + [f"node {u.node!r} ({u.layer}) has no rule: {u.reason}" for u in unsupported]
