"""How a node is evaluated, and with it a graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras import ops

from explainers import engine
from explainers.engine import Tensor
from explainers.model.graph import Node
from explainers.model.live import as_tensor

# Kernel and bias of a node with weights, as tensors.
Weights = Mapping[str, Any]


def evaluate(node: Node, inputs: Sequence[Tensor], weights: Weights | None = None) -> Tensor:
    """The node's value in the precision of its inputs: `linear.apply(a, kernel) + bias`, or `call(*inputs)`.

    `weights`: `kernel` and `bias` on the device; without them, the node's own arrays.
    """
    if node.linear is None:
        return ops.cast(node.call(*inputs), inputs[0].dtype)
    weights = own_weights(node, inputs[0].dtype) if weights is None else weights
    z = node.linear.apply(inputs[0], weights["kernel"])
    return engine.add_bias(z, weights["bias"]) if "bias" in weights else z


def own_weights(node: Node, dtype: Any) -> Weights:
    """The arrays of a node with weights as tensors."""
    arrays = {"kernel": node.kernel} | ({} if node.bias is None else {"bias": node.bias})
    return {name: as_tensor(value, dtype) for name, value in arrays.items()}


def evaluate_all(
    nodes: Iterable[Node], values: Mapping[str, Tensor], weights: Mapping[str, Weights] | None = None
) -> dict[str, Tensor]:
    """The value of every node, `values` of those that are given included; `weights` by node name."""
    record = dict(values)
    for node in nodes:
        if node.name not in record:
            own = None if weights is None else weights.get(node.name)
            record[node.name] = evaluate(node, [record[name] for name in node.inputs], own)
    return record
