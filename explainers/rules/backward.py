"""The one forward and the one backward pass.

Forward: node by node, every value recorded. Backward: in reverse order, each node's rule turns the
relevance at its output into relevance at its inputs; where a value is read more than once the
contributions are summed. The order of HIPS/autograd's `backward_pass`, with rules for gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from explainers.engine import Tensor, after
from explainers.errors import InvalidParameter
from explainers.model.canonize import non_negative
from explainers.model.graph import LINEAR, Graph, Node
from explainers.rules.presets import Preset
from explainers.rules.weighted import Flow, Rule, Site, total
from explainers.rules.weightless import Pass

# Activations of straight pieces: they make no number tiny that was not.
_STRAIGHT = ("relu", "relu6", "leaky_relu", "prelu", "hard_sigmoid", "hard_silu")
# Activations with f(0) = 0: relevance that vanishes at their zeros vanishes at the input's.
_ZERO_AT_ZERO = ("relu", "relu6", "leaky_relu", "prelu", "elu", "selu", "gelu", "silu", "hard_silu", "tanh")


@dataclass(frozen=True, eq=False)
class Step:
    """A node, the rule that matched it and why."""

    site: Site
    rule: Rule
    why: str


class Ledger(NamedTuple):
    """Where the relevance of each image went, node by node, in backward order.

    Arrays are `nodes x images`: relevance `received` at the node's output, `passed` to its inputs,
    `absorbed` by its bias, `lost` in the stabiliser or at empty denominators, count of `non_finite`
    values, and `magnitude`, the absolute relevance that the sums are made of.
    """

    nodes: tuple[str, ...]
    received: np.ndarray
    passed: np.ndarray
    absorbed: np.ndarray
    lost: np.ndarray
    non_finite: np.ndarray
    magnitude: np.ndarray

    @property
    def gap(self) -> np.ndarray:
        """`|received - passed - absorbed - lost|` relative to the magnitude, `nodes x images`."""
        difference = np.abs(self.received - self.passed - self.absorbed - self.lost)
        return difference / np.maximum(self.magnitude, 1e-30)


def assign(preset: Preset, graph: Graph) -> tuple[Step, ...]:
    """The steps of the backward pass, last node first.

    Raises UnsupportedLayer, and InvalidParameter for a rule of weights at a node that has none.
    """
    known, small = non_negative(graph), _tiny(graph)
    matched = {node.name: preset.match(node, graph) for node in graph if node.kind != "input"}
    vanishing = _vanishing(graph, {name: rule for name, (rule, _) in matched.items()})
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
        relu = _only_relu(graph, node)
        active = relu is not None and relu.name in vanishing and isinstance(matched[relu.name][0], Pass)
        tiny = any(name in small for name in node.inputs)
        site = Site(node, all(name in known for name in node.inputs), active, tiny)
        steps.append(Step(site, rule, why))
    return tuple(steps)


def _tiny(graph: Graph) -> frozenset[str]:
    """Names of the nodes whose values a smooth activation may have made tiny, and no sum large again."""
    found: set[str] = set()
    for node in graph:
        smooth = node.kind in ("activation", "softmax") and node.function not in _STRAIGHT
        sums = node.kind in LINEAR or node.kind == "normalize"
        if smooth or (not sums and not found.isdisjoint(node.inputs)):
            found.add(node.name)
    return frozenset(found)


def _only_relu(graph: Graph, node: Node) -> Node | None:
    """The plain ReLU that alone reads a linear node."""
    children = graph.children(node)
    if (
        node.kind in LINEAR
        and len(children) == 1
        and children[0].function == "relu"
        and node.name != graph.output
    ):
        return children[0]
    return None


def _vanishing(graph: Graph, rules: Mapping[str, Rule]) -> frozenset[str]:
    """Names of the nodes whose relevance is certain to be 0 wherever their value is 0."""
    known: set[str] = set()
    for node in reversed(graph.nodes):
        if node.name != graph.output and all(
            _passes_zeros(c, rules[c.name], known) for c in graph.children(node)
        ):
            known.add(node.name)
    return frozenset(known)


def _passes_zeros(node: Node, rule: Rule, known: set[str]) -> bool:
    if rule.proportional is not None:
        return rule.proportional
    if node.kind in ("upsample", "normalize") or (
        node.kind == "activation" and node.function not in _ZERO_AT_ZERO
    ):
        return False
    return node.name in known


def forward(
    graph: Graph, weights: Mapping[str, Any], inputs: Mapping[str, Tensor], dtype: str
) -> dict[str, Tensor]:
    """The value of every node; `weights` holds kernel and bias of the linear ones."""
    record: dict[str, Tensor] = dict(inputs)
    for node in graph:
        if node.kind == "input":
            continue
        values = [record[name] for name in node.inputs]
        if node.linear is not None:
            own = weights[node.name]
            z = node.linear.apply(values[0], own["kernel"])
            record[node.name] = z + own["bias"] if "bias" in own else z
        else:
            record[node.name] = ops.cast(node.call(*values), dtype)
    return record


def backward(
    graph: Graph,
    steps: tuple[Step, ...],
    constants: Mapping[str, Any],
    record: Mapping[str, Tensor],
    start: Tensor,
    enter: Callable[[Step, Tensor, Any], None] | None = None,
) -> dict[str, Tensor]:
    """Relevance at the model's inputs. `enter(step, R, flow)` is told of every step, for a ledger."""
    relevance = {graph.output: start}
    for step in steps:
        node = step.site.node
        if node.name not in relevance:
            continue
        R = relevance.pop(node.name)
        a = tuple(record[name] for name in node.inputs)
        z = after(record[graph.children(node)[0].name if step.site.active else node.name], R)
        flow = step.rule(step.site, constants.get(node.name, {}), a, z, R)
        _check(step, a, flow)
        if enter is not None:
            enter(step, R, flow)
        for name, part in zip(node.inputs, flow.inputs, strict=True):
            relevance[name] = relevance[name] + part if name in relevance else part
    return relevance


def _check(step: Step, a: tuple[Tensor, ...], flow: Flow) -> None:
    """A rule of one's own may give anything; it must be relevance of each input."""
    given, valid = ([tuple(x.shape) for x in tensors] for tensors in (flow.inputs, a))
    fits = len(given) == len(valid) and all(
        len(one) == len(other)
        and all(n is None or m is None or n == m for n, m in zip(one, other, strict=True))
        for one, other in zip(given, valid, strict=True)
    )
    if not fits:
        raise InvalidParameter(
            f"rule {step.rule!r} at node {step.site.node.name!r} gives relevance of shape "
            f"{', '.join(map(str, given)) or 'none'}; valid: one tensor per input, of its shape: "
            f"{', '.join(map(str, valid))}"
        )


def entry(R: Tensor, flow: Any) -> tuple[Tensor, ...]:
    """One line of the ledger: received, passed, absorbed, lost, non-finite count, magnitude."""
    absorbed, lost = flow.account()
    parts = flow.inputs
    passed = sum(total(part) for part in parts)
    bad = sum(total(ops.cast(~ops.isfinite(part), R.dtype)) for part in parts)
    magnitude = ops.maximum(total(ops.abs(R)), sum(total(ops.abs(part)) for part in parts))
    return total(R), passed, absorbed, lost, bad, magnitude
