"""The one backward pass: in reverse order, each node's rule turns the relevance at its output into relevance
at its inputs; where a value is read more than once the contributions are summed.

The order of HIPS/autograd's `backward_pass`, with rules for gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from explainers.engine import Tensor, after
from explainers.errors import InvalidParameter
from explainers.model.graph import Graph
from explainers.rules.assign import Step
from explainers.rules.base import Flow


def backward(
    graph: Graph,
    steps: tuple[Step, ...],
    constants: Mapping[str, Any],
    record: Mapping[str, Tensor],
    start: Mapping[str, Tensor],
    enter: Callable[[Step, Tensor, Any], None] | None = None,
) -> dict[str, Tensor]:
    """Relevance at the model's inputs. `start`: relevance to begin with, by node: nothing else has any.

    `enter(step, R, flow)` is told of every step, for a ledger.
    """
    relevance = dict(start)
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
        len(shape) == len(own)
        and all(n is None or m is None or n == m for n, m in zip(shape, own, strict=True))
        for shape, own in zip(given, valid, strict=True)
    )
    if not fits:
        raise InvalidParameter(
            f"rule {step.rule!r} at node {step.site.node.name!r} gives relevance of shape "
            f"{', '.join(map(str, given)) or 'none'}; valid: one tensor per input, of its shape: "
            f"{', '.join(map(str, valid))}"
        )
