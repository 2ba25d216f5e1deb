"""Bounds of the values that the box rule needs: the model's input range, carried through its preparation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from keras import ops

from explainers.checks import contained
from explainers.errors import InvalidInput
from explainers.model.evaluate import evaluate
from explainers.model.graph import Graph
from explainers.rules.assign import Step
from explainers.rules.input_layer import ZBox

Bounds = dict[str, tuple[np.ndarray, np.ndarray]]


def bounded(steps: Sequence[Step], graph: Graph, dtype: str) -> tuple[Step, ...]:
    """The steps, those of a box rule that reads the input or its preparation with the bounds there.

    Behind any other node the rule's own bounds are taken as they are: those of that node's values.
    """
    bounds: dict[ZBox, Bounds] = {}
    placed = []
    for step in steps:
        rule, source = step.rule, step.site.node.inputs[0]
        if isinstance(rule, ZBox) and source in graph.input_part:
            if rule not in bounds:
                bounds[rule] = input_bounds(graph, dtype, rule.low, rule.high)
            low, high = bounds[rule][source]
            step = replace(step, site=replace(step.site, low=low, high=high))
        placed.append(step)
    return tuple(placed)


def input_bounds(graph: Graph, dtype: str, low: Any, high: Any) -> Bounds:
    """Bounds of the value of every node of the input part, from bounds of the model's input."""
    shape = tuple(n or 1 for n in graph[graph.explained].shape[1:])
    values: Bounds = {}
    for node in graph:
        if node.kind == "input" and node.name == graph.explained:
            values[node.name] = _broadcast(low, shape), _broadcast(high, shape)
        elif node.name in graph.input_part and all(name in values for name in node.inputs):
            ends = []
            for side in (0, 1):
                inputs = [values[name][side] for name in node.inputs]
                value = evaluate(node, [ops.convert_to_tensor(v.astype(dtype)) for v in inputs])
                ends.append(np.asarray(ops.convert_to_numpy(value), np.float64))
            values[node.name] = (np.minimum(*ends), np.maximum(*ends))
    return values


def _broadcast(value: Any, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.broadcast_to(np.asarray(value, np.float64), (1, *shape))
    except ValueError:
        raise InvalidInput(
            f"box bounds have shape {np.shape(value)}; valid: one number or one per channel ({shape[-1]})"
        ) from None


def check_boxes(steps: Sequence[Step], x: np.ndarray) -> None:
    """Every box at the input contains it. Raises InvalidInput.

    A box of no size is a reference point (at 0 the rule is Zero without bias) and need contain nothing.
    """
    for rule in {step.rule for step in steps if step.site.low is not None}:
        assert isinstance(rule, ZBox)
        if np.any(np.asarray(rule.high) > np.asarray(rule.low)):
            contained("the box", x, rule.low, rule.high)
