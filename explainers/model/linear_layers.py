"""Builders for layers with weights, and for what is a scale: their operator, kernel and bias on the host."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np

from explainers.model.activations import function_name
from explainers.model.convolutions import Conv, ConvTranspose, DepthwiseConv, Separable
from explainers.model.graph import Arguments, Node
from explainers.model.linear import Dense, Einsum, Linear, Scale
from explainers.model.live import double, host_array


def _bias(layer: Any) -> np.ndarray | None:
    bias = getattr(layer, "bias", None)
    return None if bias is None else host_array(bias)


def _linear(node: Node, kind: str, linear: Linear, kernel: Any, bias: np.ndarray | None) -> Node:
    activation = getattr(node.layer, "activation", None)
    name = "" if activation in (None, keras.activations.linear) else function_name(activation)
    return replace(node, kind=kind, linear=linear, kernel=kernel, bias=bias, function=name)


def dense(node: Node, arguments: Arguments) -> Node:
    """`a @ w + b` over the last axis."""
    return _linear(node, "dense", Dense(), host_array(node.layer.kernel), _bias(node.layer))


def _geometry(layer: Any) -> tuple[Any, Any, Any, Any]:
    return tuple(layer.kernel_size), tuple(layer.strides), layer.padding, tuple(layer.dilation_rate)


def conv(node: Node, arguments: Arguments) -> Node:
    """A convolution: plain, causal, or with as many groups as channels (then depthwise)."""
    layer = node.layer
    kernel, channels = host_array(layer.kernel), layer.kernel.shape[-2] * layer.groups
    if layer.padding == "causal":
        size, strides, _, dilation = _geometry(layer)
        linear = Conv(size, strides, "valid", dilation, layer.groups, ((dilation[0] * (size[0] - 1), 0),))
        return _linear(node, "conv", linear, kernel, _bias(layer))
    if layer.groups == channels and layer.groups > 1 and layer.rank < 3:
        kernel = kernel.reshape(*kernel.shape[:-2], channels, -1)
        return _linear(node, "depthwise_conv", DepthwiseConv(*_geometry(layer)), kernel, _bias(layer))
    return _linear(node, "conv", Conv(*_geometry(layer), groups=layer.groups), kernel, _bias(layer))


def depthwise(node: Node, arguments: Arguments) -> Node:
    """Every channel by its own kernels."""
    layer = node.layer
    linear = DepthwiseConv(*_geometry(layer))
    return _linear(node, "depthwise_conv", linear, host_array(layer.kernel), _bias(layer))


def separable(node: Node, arguments: Arguments) -> Node:
    """A depthwise convolution, then a pointwise one."""
    layer = node.layer
    rank = layer.rank
    pointwise = Conv((1,) * rank, (1,) * rank, "valid", (1,) * rank)
    linear = Separable(DepthwiseConv(*_geometry(layer)), pointwise, layer.depth_multiplier)
    kernels = (host_array(layer.depthwise_kernel), host_array(layer.pointwise_kernel))
    return _linear(node, "separable_conv", linear, kernels, _bias(layer))


def conv_transpose(node: Node, arguments: Arguments) -> Node:
    """A transposed convolution."""
    layer = node.layer
    output_padding = None if layer.output_padding is None else tuple(layer.output_padding)
    linear = ConvTranspose(tuple(layer.strides), layer.padding, output_padding, tuple(layer.dilation_rate))
    return _linear(node, "conv_transpose", linear, host_array(layer.kernel), _bias(layer))


def einsum_dense(node: Node, arguments: Arguments) -> Node:
    """`einsum(equation, a, w) + b`."""
    layer = node.layer
    return _linear(node, "einsum", Einsum(layer.equation), host_array(layer.kernel), _bias(layer))


def scale(node: Node, w: Any, b: Any) -> Node:
    """The node as `w * a + b`, element by element."""
    w, b = double(w), double(b)
    return replace(node, kind="scale", linear=Scale(), kernel=w, bias=b if np.any(b) else None)


def batch_norm(node: Node, arguments: Arguments) -> Node:
    """`g (a - mean) + beta`, `g = gamma / sqrt(variance + epsilon)`, over the last axis."""
    layer, rank = node.layer, len(node.shape)
    if layer.axis not in (-1, rank - 1):
        return replace(
            node, note=f"BatchNormalization over axis {layer.axis}; only the last axis is supported"
        )
    mean, variance = (host_array(v).astype(np.float64) for v in (layer.moving_mean, layer.moving_variance))
    gamma = host_array(layer.gamma).astype(np.float64) if layer.scale else 1.0
    beta = host_array(layer.beta).astype(np.float64) if layer.center else 0.0
    g = gamma / np.sqrt(variance + layer.epsilon)
    return scale(node, g, beta - mean * g)


def rescaling(node: Node, arguments: Arguments) -> Node:
    """`scale a + offset`."""
    return scale(node, node.layer.scale, node.layer.offset)


def normalization(node: Node, arguments: Arguments) -> Node:
    """`(a - mean) / std`, or its inverse."""
    layer = node.layer
    mean, variance = (host_array(v).astype(np.float64) for v in (layer.mean, layer.variance))
    std = np.maximum(np.sqrt(variance), keras.config.epsilon())
    g, c = (std, mean) if layer.invert else (1 / std, -mean / std)
    return scale(node, *(v.reshape(-1) if v.shape[-1] == v.size else v for v in (g, c)))


def layer_scale(node: Node, arguments: Arguments) -> Node:
    """`gamma a`, as ConvNeXt has it."""
    return scale(node, host_array(node.layer.gamma), 0.0)
