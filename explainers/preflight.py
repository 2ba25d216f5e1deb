"""Preflight: what a method would do with a model, without explaining anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from explainers.analyzer import Analyzer, BackwardAnalyzer
from explainers.errors import ExplainError, UnequalForward, UnsupportedLayer
from explainers.model.graph import LINEAR, Graph, Node
from explainers.network import network, prepare
from explainers.registry import create_analyzer, list_methods
from explainers.rules.backward import assign
from explainers.rules.presets import Everything, Preset
from explainers.rules.weightless import Pass


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
    `cost`: forward passes per batch, by multiply-adds (None: the method is not a single backward pass);
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
    analyzer = create_analyzer(method, **(parameters or {})) if isinstance(method, str) else method
    name = method if isinstance(method, str) else type(analyzer).__name__
    info = next((info for info in list_methods() if name in (info.name, *info.aliases)), None)
    backward = isinstance(analyzer, BackwardAnalyzer)
    fold = analyzer.fold() if isinstance(analyzer, BackwardAnalyzer) else True
    preset = (
        analyzer.preset()
        if isinstance(analyzer, BackwardAnalyzer)
        else Preset(name, ((Everything(), Pass()),))
    )
    graph = prepare(model, fold, preset.subgraphs())
    rows, unsupported = _rows(graph, preset)
    equality, problems = _equality(model, fold, preset)
    if not backward and not problems and info is not None and "data" not in info.needs:
        problems += _refusal(analyzer, model)
    problems += [f"node {u.node!r} ({u.layer}) has no rule: {u.reason}" for u in unsupported]
    return Plan(
        getattr(graph.model, "name", "model"),
        name,
        rows if backward else tuple(row for row in rows if row.rule == ""),
        graph.changes,
        tuple(n.name for n in graph if n.name in graph.first_linear),
        equality,
        unsupported,
        cost(graph, preset) if backward and not unsupported else None,
        "" if info is None else info.cost,
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


def _equality(model: Any, fold: bool, preset: Preset) -> tuple[float | None, list[str]]:
    try:
        return network(model, fold, preset.subgraphs()).equality, []
    except UnequalForward as error:
        return error.figure, [str(error)]


def _refusal(analyzer: Analyzer, model: Any) -> list[str]:
    """Why a method that is no preset refuses the model; one that needs data cannot be tried."""
    try:
        analyzer.fit(model)
    except ExplainError as error:
        return [str(error)]
    return []


def cost(graph: Graph, preset: Preset) -> float:
    """Forward passes that one batch costs, estimated from the multiply-adds of the linear nodes."""
    forward = sum(work(node) for node in graph)
    steps = assign(preset, graph)
    behind = sum(step.rule.cost(step.site) * work(step.site.node, step.rule.form) for step in steps)
    return 1.0 + behind / max(forward, 1.0)


def work(node: Node, form: str = "stages") -> float:
    """Multiply-adds per image of a linear node in the form that a rule gives it."""
    if node.kind not in LINEAR or node.linear is None:
        return 0.0
    outputs = float(np.prod([n or 1 for n in node.shape[1:]]))
    channels = float(node.shape[-1] or 1)
    if node.kind == "scale":
        return outputs
    kernel = node.kernel
    if form == "signed":
        kernel = node.linear.by_sign(kernel, np.abs)
    elif form == "whole":
        kernel = node.linear.composite(kernel)
    size = sum(np.size(k) for k in kernel) if isinstance(kernel, tuple) else np.size(kernel)
    return outputs * size / channels if node.kind != "einsum" else outputs * size / max(_shared(node), 1.0)


def _shared(node: Node) -> float:
    """Size of the kernel axes that an einsum keeps in its output."""
    kernel, output = node.linear.equation.split(",")[1].split("->")  # type: ignore[union-attr]
    return float(
        np.prod([n for axis, n in zip(kernel, np.shape(node.kernel), strict=False) if axis in output] or [1])
    )
