"""Which kind of node a Keras layer or operation is.

The table is by class name within Keras' own packages, so a user's class of the same name is not
mistaken for it; `register_kind` declares the kind of a class of one's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import keras

from explainers.model import linear_layers
from explainers.model.activations import function_name, kind_and_note
from explainers.model.attention import open_attention
from explainers.model.graph import Arguments, Node
from explainers.model.inference import IDENTITIES, pipeline, random_crop
from explainers.model.kinds import DECLARABLE
from explainers.model.live import double, host_array
from explainers.model.recurrent import open_recurrent

Builder = Callable[[Node, Arguments], Node]

_REGISTERED: dict[type, str] = {}


def register_kind(layer: type, kind: str) -> None:
    """Declare that a layer class of one's own behaves like `kind` (see `explainers.model.kinds`).

    Kinds with weights (dense, conv, ...) cannot be declared: their operator would be unknown.
    """
    if kind not in DECLARABLE:
        raise ValueError(f"kind {kind!r} is not known or needs weights; valid: {', '.join(DECLARABLE)}")
    _REGISTERED[layer] = kind


def describe(node: Node, arguments: Arguments) -> Node:
    """The node with its kind; `unknown` where nothing is declared (a preset then raises)."""
    layer = node.layer
    if type(layer) in _REGISTERED:
        return replace(node, kind=_REGISTERED[type(layer)])
    origin = _origin(type(layer).__module__)
    data_format = getattr(layer, "data_format", "channels_last")
    if origin in ("layers", "applications") and data_format == "channels_first":
        return replace(
            node, note="data_format='channels_first' is not supported; rebuild the model channels last"
        )
    build = _LAYERS.get(type(layer).__name__) if origin in ("layers", "applications") else None
    if origin == "ops":
        build = _OPERATIONS.get(type(layer).__name__)
    return build(node, arguments) if build else node


def _origin(module: str) -> str:
    for origin in ("layers", "ops", "applications"):
        if module.startswith(f"keras.src.{origin}"):
            return origin
    return "custom"


def _is(kind: str) -> Builder:
    return lambda node, arguments: replace(node, kind=kind)


def _activation(node: Node, arguments: Arguments) -> Node:
    name = function_name(node.layer.activation)
    if name == "linear":
        return replace(node, kind="identity")
    kind, note = kind_and_note(name)
    return replace(node, kind=kind, function=name, note=note)


def _relu_layer(node: Node, arguments: Arguments) -> Node:
    layer = node.layer
    if layer.threshold:
        return replace(node, kind="activation", function="thresholded_relu")  # not 0 at 0 with a slope
    if layer.negative_slope:
        return replace(node, kind="activation", function="leaky_relu")
    return replace(node, kind="activation", function="relu" if layer.max_value is None else "relu6")


def _is_activation(function: str) -> Builder:
    kind, note = kind_and_note(function)
    return lambda node, arguments: replace(node, kind=kind, function=function, note=note)


def _softmax(node: Node, arguments: Arguments) -> Node:
    axis = getattr(node.layer, "axis", -1)
    if axis not in (-1, len(node.shape) - 1):
        return replace(node, note=f"softmax over axis {axis}; only the last axis is supported")
    return replace(node, kind="softmax", function="softmax")


def _pool(kind: str) -> Builder:
    def build(node: Node, arguments: Arguments) -> Node:
        size = getattr(node.layer, "pool_size", None)
        return replace(node, kind=kind, window=None if size is None else tuple(size))

    return build


def _binary(kind: str) -> Builder:
    """Add, subtract, multiply: of two tensors, or of one tensor and a constant (then a scale)."""

    def build(node: Node, arguments: Arguments) -> Node:
        if len(node.inputs) != 1:
            return replace(node, kind=kind)
        operands = [*arguments.args, *arguments.kwargs.values()]
        constants = [v for v in operands if not isinstance(v, keras.KerasTensor)]
        if len(operands) != 2 or len(constants) != 1:
            return node
        c = double(host_array(constants[0]))
        c = c.reshape(-1) if c.ndim and c.shape[-1] == c.size else c
        first = constants[0] is operands[0]
        scales = {
            "add": (1.0, c),
            "multiply": (c, 0.0),
            "subtract": (-1.0, c) if first else (1.0, -c),
            "divide": None if first else (1.0 / c, 0.0),
        }[kind]
        return node if scales is None else linear_layers.scale(node, *scales)

    return build


def _needs_two(kind: str) -> Builder:
    return lambda node, arguments: replace(node, kind=kind) if len(node.inputs) > 1 else node


def _product(node: Node, arguments: Arguments) -> Node:
    if len(node.inputs) == 2:
        return replace(node, kind="matmul")
    return replace(node, note=f"a product of {len(node.inputs)} tensors; only of two is supported")


def _distributed(node: Node, arguments: Arguments) -> Node:
    """TimeDistributed of what works on the last axis anyway: the layer itself, on more axes."""
    inner = node.layer.layer
    name = type(inner).__name__
    if name not in _LAST_AXIS or _origin(type(inner).__module__) != "layers":
        valid = ", ".join(_LAST_AXIS)
        return replace(node, note=f"TimeDistributed of {name} is not supported; valid: of {valid}")
    return replace(_LAYERS[name](replace(node, layer=inner), arguments), layer=inner)


_LAST_AXIS = ("Dense", "Activation", "ReLU", "LayerNormalization", "Dropout")

_LAYERS: dict[str, Builder] = {
    "Dense": linear_layers.dense,
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D"), linear_layers.conv),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), linear_layers.depthwise),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), linear_layers.separable),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), linear_layers.conv_transpose),
    "EinsumDense": linear_layers.einsum_dense,
    "BatchNormalization": linear_layers.batch_norm,
    "Rescaling": linear_layers.rescaling,
    "Normalization": linear_layers.normalization,
    "LayerScale": linear_layers.layer_scale,
    "Activation": _activation,
    "ReLU": _relu_layer,
    "LeakyReLU": _is_activation("leaky_relu"),
    "PReLU": _is_activation("prelu"),
    "ELU": _is_activation("elu"),
    "Softmax": _softmax,
    **{f"{g}MaxPooling{d}D": _pool("max_pool") for g in ("", "Global") for d in (1, 2, 3)},
    **{f"{g}AveragePooling{d}D": _pool("avg_pool") for g in ("", "Global") for d in (1, 2, 3)},
    **{name: _is(name.lower()) for name in ("Add", "Subtract", "Average", "Multiply", "Maximum", "Minimum")},
    "Concatenate": _is("concat"),
    **dict.fromkeys(("Flatten", "Reshape", "Permute", "RepeatVector"), _is("reshape")),
    **{f"ZeroPadding{d}D": _is("pad") for d in (1, 2, 3)},
    **{f"Cropping{d}D": _is("crop") for d in (1, 2, 3)},
    **{f"UpSampling{d}D": _is("upsample") for d in (1, 2, 3)},
    "Resizing": _is("upsample"),
    "CenterCrop": _is("crop"),
    **dict.fromkeys(
        ("LayerNormalization", "GroupNormalization", "RMSNormalization", "UnitNormalization"),
        _is("normalize"),
    ),
    **dict.fromkeys(("MultiHeadAttention", "GroupedQueryAttention", "GroupQueryAttention"), open_attention),
    **dict.fromkeys(("SimpleRNN", "LSTM", "GRU", "Bidirectional"), open_recurrent),
    "TimeDistributed": _distributed,
    "Embedding": _is("embedding"),
    **dict.fromkeys(IDENTITIES, _is("identity")),
    "RandomCrop": random_crop,
    "Pipeline": pipeline,
}

_FUNCTIONS = {
    "Relu": "relu", "Relu6": "relu6", "Sigmoid": "sigmoid", "Silu": "silu", "Gelu": "gelu", "Tanh": "tanh",
    "HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu", "Softplus": "softplus", "Softsign": "softsign",
    "LeakyRelu": "leaky_relu", "Elu": "elu", "Selu": "selu", "Celu": "celu", "Clip": "clip",
    "LogSoftmax": "log_softmax",
}  # fmt: skip

_OPERATIONS: dict[str, Builder] = {
    **{name: _is_activation(function) for name, function in _FUNCTIONS.items()},
    "Softmax": _softmax,
    "Add": _binary("add"),
    "Subtract": _binary("subtract"),
    "Multiply": _binary("multiply"),
    **dict.fromkeys(("Divide", "TrueDivide"), _binary("divide")),
    "Maximum": _needs_two("maximum"),
    "Minimum": _needs_two("minimum"),
    "Matmul": _product,
    "Einsum": _product,
    **dict.fromkeys(("Concatenate", "Stack"), _is("concat")),
    **dict.fromkeys(
        (
            "Reshape",
            "Transpose",
            "Squeeze",
            "ExpandDims",
            "Swapaxes",
            "Moveaxis",
            "Flip",
            "Ravel",
            "BroadcastTo",
        ),
        _is("reshape"),
    ),
    **dict.fromkeys(("Repeat", "Tile"), _is("reshape")),
    **dict.fromkeys(("GetItem", "Split", "Slice", "Unstack"), _is("slice")),
    "Resize": _is("upsample"),
    "Mean": _pool("avg_pool"),
    "Cast": _is("identity"),
}
