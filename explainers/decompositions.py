"""The ways in which a network can be taken apart for a method: which there are, and which change nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from explainers.analyzer import Analyzer, Fitted
from explainers.errors import ExplainError
from explainers.model.decomposition import BATCH_NORMS, OPTIONAL_STEPS, Decomposition
from explainers.model.graph import Graph
from explainers.network import prepare

NAMES: Final = {"fold": "BatchNorm folded", "apart": "BatchNorm one node", "two": "BatchNorm two nodes"}
_NO_SCALE: Final = {
    "fold": "no BatchNorm or other scale that could be folded",
    "apart": "no BatchNorm or other scale that could be folded",
    "two": "no BatchNorm or other scale that multiplies and adds",
}
ONE_UNIT: Final = "one sigmoid unit: its two classes are made of its logit"


@dataclass(frozen=True, eq=False)
class Variant:
    """One way: its name, the method fitted to it, or why that would say nothing new."""

    name: str
    how: Decomposition
    fitted: Fitted | None = None
    reason: str = ""


def decompositions(analyzer: Analyzer, model: Any) -> tuple[Variant, ...]:
    """The method's own way first, then BatchNorm in other ways, then each optional step left out.

    A way that gives the nodes of an earlier one is not fitted, and says so.
    Raises ExplainError where the method's own way cannot explain the model, or it is not one by rules.
    """
    own = analyzer.decomposition()
    analyzer.decomposed(own)  # refuses methods that no decomposition changes
    made = [Variant(f"{_name(own)} (default)", own, analyzer.fit(model))]
    seen = {_nodes(prepare(model, own)): made[0].name}
    for how in _others(own):
        name, graph = _name(how), prepare(model, how)
        reason = _same(graph, how, seen, made[0].name)
        fitted = None
        if not reason:
            seen[_nodes(graph)] = name
            try:
                fitted = analyzer.decomposed(how).fit(model)
            except ExplainError as error:
                reason = f"cannot be explained: {error}"
        made.append(Variant(name, how, fitted, reason))
    return tuple(made)


def _others(own: Decomposition) -> list[Decomposition]:
    ways = [Decomposition(way) for way in BATCH_NORMS if way != own.batch_norm]
    steps = [s for s in OPTIONAL_STEPS if own.batch_norm == "fold" or not s.startswith("fold")]
    return ways + [Decomposition(own.batch_norm, (step,)) for step in steps]


def _name(how: Decomposition) -> str:
    return f"without {how.without[0]}" if how.without else NAMES[how.batch_norm]


def _nodes(graph: Graph) -> tuple[Any, ...]:
    """What makes two graphs of one model the same: nodes, how they are joined and what was folded."""
    return tuple((n.name, n.kind, n.inputs, n.folded, n.linear, n.bias is None) for n in graph)


def _same(graph: Graph, how: Decomposition, seen: dict[Any, str], default: str) -> str:
    """Why this way is none of its own; "" where it is."""
    if how.without == ("cut_output",) and graph[graph.output].shape[1:] == (1,):
        return ONE_UNIT
    earlier = seen.get(_nodes(graph))
    if earlier is None:
        return ""
    if earlier != default:
        return f"the same nodes as {earlier!r}"
    return OPTIONAL_STEPS[how.without[0]] if how.without else _NO_SCALE[how.batch_norm]
