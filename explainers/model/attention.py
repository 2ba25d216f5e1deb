"""Multi-head attention opened into nodes that AttnLRP has rules for (Achtibat et al. 2024):
projections (linear), query x key (bilinear), softmax, mixture of values (bilinear), output (linear).

With masks (causal, a sliding window, given as an array or as a tensor), keys and values shared by groups of
queries, and queries from elsewhere than keys and values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
from keras import ops

from explainers import engine
from explainers.engine import Tensor
from explainers.model.graph import Arguments, Node
from explainers.model.linear import Einsum
from explainers.model.live import double, host_array

_HIDDEN = -1e9  # score of a key that is hidden, as Keras has it
_GIVEN = ("query", "value", "key", "attention_mask", "use_causal_mask", "training")


@dataclass(frozen=True)
class _Call:
    """What an attention layer is called with: nodes of query, value and key, and what is hidden."""

    query: str
    value: str
    key: str
    mask: str | None
    constant: Any
    causal: bool
    window: int | None

    @property
    def masked(self) -> bool:
        """Whether some key is hidden from some query."""
        return self.causal or self.mask is not None or self.constant is not None or self.window is not None

    def softmax(self, scores: Tensor, *masks: Tensor) -> Tensor:
        """Shares of the keys that a query sees, b heads q k; 0 for the others."""
        given = [*masks] if self.constant is None else [*masks, ops.convert_to_tensor(self.constant)]
        seen = self._steps(scores)
        for mask in given:
            mask = mask if len(mask.shape) == len(scores.shape) else ops.expand_dims(mask, -3)
            seen = ops.logical_and(seen, ops.cast(mask, scores.dtype) > 0.5)
        shares = ops.softmax(ops.where(seen, scores, ops.full_like(scores, _HIDDEN)), axis=-1)
        return ops.where(seen, shares, ops.zeros_like(shares))

    def _steps(self, scores: Tensor) -> Tensor:
        """Which keys a query sees by their places."""
        queries, keys = ops.shape(scores)[-2:]
        ahead = ops.expand_dims(ops.arange(keys), 0) - ops.expand_dims(ops.arange(queries), 1)
        seen = ahead <= 0 if self.causal else ahead == ahead
        return seen if self.window is None else ops.logical_and(seen, ops.abs(ahead) < self.window)


def open_attention(node: Node, arguments: Arguments) -> Node:
    """The node with its `parts`; without them, and with a note why, where it does more than attend."""
    layer = node.layer
    call = _read(node, arguments)
    if isinstance(call, str):
        return replace(node, note=call)
    if layer._output_dense is None or len(getattr(layer, "_attention_axes", None) or (1,)) != 1:
        return replace(node, note="attention over several axes is not supported")

    def part(name: str, kind: str, inputs: tuple[str, ...], shape: tuple, **fields: Any) -> Node:
        return Node(f"{node.name}/{name}", kind, inputs, shape, layer, **fields)

    sizes = _Sizes.of(layer)
    projected, (query, key, value) = _projections(part, call, sizes, node)
    batch, length = node.shape[0], node.shape[1:-1]
    scores = part(
        "scores", "matmul", (query, key) if sizes.grouped(layer) else (key, query),
        (batch, sizes.heads, *length, None), call=_einsum(layer._dot_product_equation),
    )  # fmt: skip
    softmax = part(
        "softmax", "softmax", (scores.name, *([call.mask] if call.mask else [])), scores.shape,
        call=call.softmax if call.masked else ops.softmax, function="softmax",
    )  # fmt: skip
    mixed = part(
        "mixture", "matmul", (softmax.name, value), (batch, *length, sizes.heads, sizes.width),
        call=_einsum(layer._combine_equation),
    )  # fmt: skip
    output = _project(part, "output", mixed.name, layer._output_dense, node.shape)
    return replace(node, parts=(*projected, scores, softmax, mixed, replace(output, name=node.name)))


@dataclass(frozen=True)
class _Sizes:
    """Heads of queries, heads of keys and values, sizes of a key and of a value."""

    heads: int
    shared: int
    size: int
    width: int

    @staticmethod
    def grouped(layer: Any) -> bool:
        """Whether several queries share a key and a value."""
        return type(layer).__name__.startswith("Group")

    @classmethod
    def of(cls, layer: Any) -> _Sizes:
        if cls.grouped(layer):
            return cls(layer.num_query_heads, layer.num_key_value_heads, layer.head_dim, layer.head_dim)
        return cls(layer.num_heads, layer.num_heads, layer.key_dim, layer.value_dim)


def _projections(
    part: Callable[..., Node], call: _Call, sizes: _Sizes, node: Node
) -> tuple[list[Node], tuple[str, str, str]]:
    """The nodes that make query (scaled), key and value, each key and value once per query; their names."""
    layer, batch, length = node.layer, node.shape[0], node.shape[1:-1]
    factor = 1 / math.sqrt(sizes.size)
    shape = (batch, *length, sizes.heads, sizes.size)
    query = _project(part, "query", call.query, layer._query_dense, shape, factor)
    key = _project(part, "key", call.key, layer._key_dense, (batch, None, sizes.shared, sizes.size))
    value = _project(part, "value", call.value, layer._value_dense, (batch, None, sizes.shared, sizes.width))
    if not sizes.grouped(layer):
        return [query, key, value], (query.name, key.name, value.name)
    again = _repeat(sizes.heads // sizes.shared)
    keys, values = (
        part(name, "reshape", (source.name,), (batch, None, sizes.heads, source.shape[-1]), call=again)
        for name, source in (("keys", key), ("values", value))
    )
    return [query, key, value, keys, values], (query.name, keys.name, values.name)


def _read(node: Node, arguments: Arguments) -> _Call | str:
    """What the layer is called with, or why the call cannot be opened."""
    layer, given = node.layer, _named(arguments)
    tensors = {id(t): name for t, name in zip(arguments.tensors, node.inputs, strict=True)}
    extra = [k for k, v in given.items() if k not in _GIVEN and v is not None and v is not False]
    if extra:
        return f"attention called with {', '.join(extra)} is not supported"
    if getattr(layer, "_use_gate", False) or getattr(layer, "use_gate", False):
        return "gated attention is not supported"
    query, value = given.get("query"), given.get("value")
    key = given.get("key")
    key = value if key is None else key
    if any(not isinstance(t, keras.KerasTensor) for t in (query, value, key)):
        return "attention over constants is not supported"
    if any(getattr(t, "_keras_mask", None) is not None for t in (query, value, key)):
        return "a mask that tensors carry along is not supported; give it as attention_mask"
    mask = given.get("attention_mask")
    symbolic = isinstance(mask, keras.KerasTensor)
    window = getattr(layer, "_sliding_window", None) or getattr(layer, "sliding_window", None)
    return _Call(
        query=tensors[id(query)],
        value=tensors[id(value)],
        key=tensors[id(key)],
        mask=tensors[id(mask)] if symbolic else None,
        constant=None if symbolic or mask is None else host_array(mask),
        causal=bool(given.get("use_causal_mask")),
        window=window,
    )


def _named(arguments: Arguments) -> Mapping[str, Any]:
    """The arguments of the call by name; Keras' attention layers take the first three by position."""
    return dict(zip(("query", "value", "key"), arguments.args, strict=False)) | dict(arguments.kwargs)


def _project(
    part: Callable[..., Node], name: str, source: str, dense: Any, shape: tuple, factor: float = 1.0
) -> Node:
    kernel = double(host_array(dense.kernel)) * factor
    bias = None if dense.bias is None else double(host_array(dense.bias)) * factor
    return part(name, "einsum", (source,), shape, linear=Einsum(dense.equation), kernel=kernel, bias=bias)


def _einsum(equation: str) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda first, second: engine.multiply(partial(ops.einsum, equation), first, second)


def _repeat(times: int) -> Callable[[Tensor], Tensor]:
    """Every head of keys or values for as many queries: b s heads size."""
    return lambda x: ops.repeat(x, times, axis=2)
