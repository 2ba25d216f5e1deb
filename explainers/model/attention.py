"""Multi-head attention opened into nodes that AttnLRP has rules for (Achtibat et al. 2024):
projections (linear), query x key (bilinear), softmax, mixture of values (bilinear), output (linear).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
from keras import ops

from explainers.engine import Tensor
from explainers.model.graph import Arguments, Node
from explainers.model.linear import Einsum
from explainers.model.live import double, host_array


def open_attention(node: Node, arguments: Arguments) -> Node:
    """The node with its `parts`; without them, and with a note why, where it does more than attend."""
    layer = node.layer
    names = _operands(node, arguments)
    if isinstance(names, str):
        return replace(node, note=names)
    query, value, key = names
    if layer._output_dense is None or len(layer._attention_axes) != 1:
        return replace(node, note="attention over several axes is not supported")

    def part(name: str, kind: str, inputs: tuple[str, ...], shape: tuple, **fields: Any) -> Node:
        return Node(f"{node.name}/{name}", kind, inputs, shape, layer, **fields)

    heads, size = layer.num_heads, layer.key_dim
    batch, length = node.shape[0], node.shape[1:-1]
    projected = [
        _project(
            part, "query", query, layer._query_dense, (batch, *length, heads, size), 1 / math.sqrt(size)
        ),
        _project(part, "key", key, layer._key_dense, (batch, None, heads, size)),
        _project(part, "value", value, layer._value_dense, (batch, None, heads, layer.value_dim)),
    ]
    q, k, v = (p.name for p in projected)
    scores = part(
        "scores", "matmul", (k, q), (batch, heads, *length, None), call=_einsum(layer._dot_product_equation)
    )
    softmax = part("softmax", "softmax", (scores.name,), scores.shape, call=ops.softmax, function="softmax")
    mixed = part(
        "mixture", "matmul", (softmax.name, v), (batch, *length, heads, layer.value_dim),
        call=_einsum(layer._combine_equation),
    )  # fmt: skip
    output = _project(part, "output", mixed.name, layer._output_dense, node.shape)
    return replace(node, parts=(*projected, scores, softmax, mixed, replace(output, name=node.name)))


def _operands(node: Node, arguments: Arguments) -> tuple[str, str, str] | str:
    """Nodes of query, value and key, or why the call cannot be opened."""
    given = dict(zip(("query", "value", "key"), arguments.args, strict=False)) | dict(arguments.kwargs)
    tensors = {id(t): name for t, name in zip(arguments.tensors, node.inputs, strict=True)}
    extra = [
        k
        for k, v in given.items()
        if k not in ("query", "value", "key", "training") and v is not None and v is not False
    ]
    if extra:
        return f"attention called with {', '.join(extra)} is not supported"
    if getattr(node.layer, "_use_gate", False) or getattr(node.layer, "_sliding_window", None):
        return "gated or sliding-window attention is not supported"
    query, value = given.get("query"), given.get("value")
    key = given.get("key")
    key = value if key is None else key
    if any(not isinstance(t, keras.KerasTensor) for t in (query, value, key)):
        return "attention over constants is not supported"
    return tensors[id(query)], tensors[id(value)], tensors[id(key)]


def _project(
    part: Callable[..., Node], name: str, source: str, dense: Any, shape: tuple, factor: float = 1.0
) -> Node:
    kernel = double(host_array(dense.kernel)) * factor
    bias = None if dense.bias is None else double(host_array(dense.bias)) * factor
    return part(name, "einsum", (source,), shape, linear=Einsum(dense.equation), kernel=kernel, bias=bias)


def _einsum(equation: str) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda first, second: ops.einsum(equation, first, second)
