"""The check at fit that the canonised model computes what the original computes."""

from __future__ import annotations

from typing import Any, Protocol

import keras
import numpy as np
from keras import ops

from explainers.engine import Tensor
from explainers.errors import UnequalForward
from explainers.model.evaluate import evaluate
from explainers.model.graph import Graph
from explainers.model.trace import outputs, trace

# Activations are rounded as well as weights.
ROUNDING = 10.0


class Computes(Protocol):
    """What of a Network is needed here."""

    graph: Graph
    dtype: str
    weights: Any

    def tensors(self, x: tuple[np.ndarray, ...]) -> tuple[Tensor, ...]: ...

    def record(self, weights: Any, x: tuple[Tensor, ...]) -> dict[str, Tensor]: ...


def check_equality(net: Computes, tolerance: float | None = None) -> float:
    """Relative L2 between the canonised logits and the original's on a seeded probe.

    One image of unit noise and one of pixel values 0..255. Where a softmax or sigmoid was cut, the
    logits are compared through the logarithm of the model's probabilities, a softmax's up to a constant
    per image; where these are saturated, with the input of the original's last activation.
    A network in which rounding grows beyond the tolerance (random weights can do that) is held to what
    its logits change when every weight is off by one rounding.
    Raises UnequalForward with the figure.
    """
    graph, rng = net.graph, np.random.default_rng(0)
    tolerance = tolerance or (1e-3 if net.dtype == "float32" else 1e-6)
    shapes = [[n or 32 for n in graph[name].shape[1:]] for name in graph.inputs]
    probe = tuple(np.stack([rng.normal(size=s), rng.uniform(0, 255, size=s)]) for s in shapes)
    x = net.tensors(probe)
    # not compiled: a few images once, where compiling would take longer than computing
    ours = _float64(net.record(net.weights, x)[graph.output])
    theirs, cut = _originals(graph, x, net.dtype)
    figure = _largest(ours, theirs, cut)
    if not figure <= tolerance:
        rounded = keras.tree.map_structure(lambda w: _rounded(w, net.dtype, rng), net.weights)
        again = _float64(net.record(rounded, x)[graph.output])
        if not figure <= ROUNDING * _largest(again, ours, ""):
            raise UnequalForward(
                figure, tolerance, f"changes made: {len(graph.changes)}; refit with fold=False to find out"
            )
    return figure


def _originals(graph: Graph, x: tuple[Tensor, ...], dtype: str) -> tuple[np.ndarray, str]:
    """The original's outputs, or its logits where these are saturated; and which activation they have."""
    output = _float64(outputs(graph, x)[graph.output_index])
    if graph.cut and any(_saturated(row, graph.cut) for row in output):
        return _float64(_before_activation(graph, x, dtype)), ""
    return output, graph.cut


def _rounded(weight: Tensor, dtype: str, rng: np.random.Generator) -> Tensor:
    """The weight, every element off by one rounding up or down."""
    signs = rng.choice([-1.0, 1.0], size=weight.shape)
    return weight * ops.convert_to_tensor((1 + np.finfo(dtype).eps * signs).astype(dtype))


def _largest(ours: np.ndarray, theirs: np.ndarray, cut: str) -> float:
    return float(np.max([_difference(a, b, cut) for a, b in zip(ours, theirs, strict=True)]))


def _float64(value: Tensor) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(value), np.float64)


def _seen(output: np.ndarray, cut: str) -> np.ndarray:
    """Which probabilities still tell their logit."""
    return (output > 1e-20) & (output < 1 - 1e-4 if cut == "sigmoid" else True)


def _saturated(output: np.ndarray, cut: str) -> bool:
    """Whether too few do: fewer than half, or a softmax over one class."""
    if cut == "log_softmax":
        return len(output) < 2
    return 2 * _seen(output, cut).sum() < len(output) or (cut == "softmax" and len(output) < 2)


def _difference(logits: np.ndarray, output: np.ndarray, cut: str) -> float:
    if cut in ("softmax", "sigmoid"):
        seen = _seen(output, cut)
        logits, output = logits[seen], output[seen]
        output = np.log(output) - (np.log1p(-output) if cut == "sigmoid" else 0.0)
    if cut in ("softmax", "log_softmax"):
        logits, output = logits - logits.mean(), output - output.mean()
    # probabilities near 0.5 or 1/k carry the logits only to their own rounding
    floor = 1e-3 if cut else 1e-12
    return float(np.linalg.norm(logits - output)) / max(float(np.linalg.norm(output)), floor)


def _before_activation(graph: Graph, x: tuple[Tensor, ...], dtype: str) -> Tensor:
    """The input of the original's last activation, its own layers called one by one."""
    traced = trace(graph.model, graph.output_index, graph.explained)
    last = traced[traced.output]
    while last.kind == "identity":
        last = traced[last.inputs[0]]
    values = dict(zip(traced.inputs, x, strict=True))
    for node in traced:
        if node.kind != "input" and node is not last:
            values[node.name] = node.call(*(values[name] for name in node.inputs))  # type: ignore[misc]
        elif node is last:
            break
    if last.linear is None:
        return values[last.inputs[0]]
    return evaluate(last, [ops.cast(values[last.inputs[0]], dtype)])
