"""The check at fit that the canonised model computes what the original computes."""

from __future__ import annotations

from typing import Any, Protocol

import keras
import numpy as np
from keras import ops

from explainers.engine import Tensor
from explainers.errors import InvalidInput, UnequalForward
from explainers.model.evaluate import evaluate
from explainers.model.graph import Graph, Node
from explainers.model.trace import outputs, trace

# Activations are rounded as well as weights.
ROUNDING = 10.0
SAME = "valid: a model whose layers compute the same for every image of a batch and at every call"


class Computes(Protocol):
    """What of a Network is needed here."""

    graph: Graph
    dtype: str
    weights: Any

    def tensors(self, x: tuple[np.ndarray, ...]) -> tuple[Tensor, ...]: ...

    def record(self, weights: Any, x: tuple[Tensor, ...]) -> dict[str, Tensor]: ...


def check_equality(net: Computes) -> float:
    """Relative L2 between the canonised logits and the original's on a seeded probe.

    One image of unit noise and one of pixel values 0..255; two of the latter, in whole numbers, where the
    model takes whole numbers; an image for which the model itself overflows is left out. Where a softmax
    or sigmoid was cut, the logits are compared through the logarithm of the model's probabilities, a
    softmax's up to a constant per image; where these are saturated, with the input of the original's last
    activation.
    A network in which rounding grows beyond the tolerance (random weights can do that) is held to what
    its logits change when every weight is off by one rounding.
    Raises UnequalForward with the figure, InvalidInput for a model that overflows for both.
    """
    graph, rng = net.graph, np.random.default_rng(0)
    tolerance = 1e-3 if net.dtype == "float32" else 1e-6
    x = net.tensors(tuple(_probe(graph, graph[name], rng) for name in graph.inputs))
    theirs, cut = _originals(graph, x, net.dtype)
    classes = theirs.shape[1]  # one, where ours are the two classes of a single unit: its own is the last
    # not compiled: a few images once, where compiling would take longer than computing
    ours = _float64(net.record(net.weights, x)[graph.output])[:, -classes:]
    usual = np.isfinite(theirs).all(axis=1)
    if not usual.any():
        raise InvalidInput(
            "the model's outputs are not finite, neither for unit noise nor for pixel values 0 to 255: its "
            "weights are too large; valid: a model whose own outputs are finite"
        )
    ours, theirs = ours[usual], theirs[usual]
    figure = _largest(ours, theirs, cut)
    if not figure <= tolerance:
        rounded = keras.tree.map_structure(lambda w: _rounded(w, net.dtype, rng), net.weights)
        again = _float64(net.record(rounded, x)[graph.output])[usual, -classes:]
        if not figure <= ROUNDING * _largest(again, ours, ""):
            raise UnequalForward(figure, tolerance, _where(net, x, tolerance))
    return figure


def _probe(graph: Graph, node: Node, rng: np.random.Generator) -> np.ndarray:
    """Two images for an input, in its dtype's range; two rows of tokens where an embedding reads it."""
    size, dtype = [n or 32 for n in node.shape[1:]], str(getattr(node.layer, "dtype", "float32"))
    tokens = [reader.layer.input_dim for reader in graph.children(node) if reader.kind == "embedding"]
    if tokens:
        return rng.integers(0, min(tokens), size=(2, *size))
    if dtype.startswith(("int", "uint")):
        return rng.integers(0, min(255, np.iinfo(dtype).max), size=(2, *size), endpoint=True)
    if dtype == "bool":
        return rng.integers(0, 2, size=(2, *size))
    return np.stack([rng.normal(size=size), rng.uniform(0, 255, size=size)])


def _where(net: Computes, x: tuple[Tensor, ...], tolerance: float) -> str:
    """The first node whose value is not the original's, of those that can be compared one to one."""
    graph = net.graph
    traced = trace(graph.model, graph.output_index, graph.explained)
    ours, theirs = net.record(net.weights, x), dict(zip(traced.inputs, x, strict=True))
    for node in traced:
        if node.kind != "input":
            theirs[node.name] = node.call(*(theirs[name] for name in node.inputs))  # type: ignore[misc]
        a, b = _pair(net.graph, node, ours, theirs)
        if a is not None and not _alike(a, b, tolerance):
            return f"they part at layer {node.name!r} ({node.type}); {SAME}"
    return f"where they part cannot be told; {SAME}"


def _alike(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    return a.shape == b.shape and _largest(a, b, "") <= tolerance


def _pair(graph: Graph, node: Node, ours: dict[str, Any], theirs: dict[str, Any]) -> Any:
    """Our value and the original's for a node; None where the canonised graph has no such value.

    A node that was dropped is compared with what it reads.
    """
    if node.kind == "identity":
        return _float64(theirs[node.inputs[0]]), _float64(theirs[node.name])
    kept = node.name in graph and not graph[node.name].folded and not node.function
    if not kept or graph[node.name].kind != node.kind or node.name == graph.output:
        return None, None
    return _float64(ours[node.name]), _float64(theirs[node.name])


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
    while not last.activation.ends:
        last = traced[last.inputs[0]]
    values = dict(zip(traced.inputs, x, strict=True))
    for node in traced:
        if node.kind != "input" and node is not last:
            values[node.name] = node.call(*(values[name] for name in node.inputs))  # type: ignore[misc]
        elif node is last:
            break
    value = values[last.inputs[0]]
    if last.linear is not None:
        value = evaluate(last, [ops.cast(value, dtype)])
    return ops.reshape(value, (len(value), -1))
