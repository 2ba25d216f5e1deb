"""Every type of linear layer, small, and its matrix; independent of the code under test.

Weights and inputs are multiples of 1/64 of at most 8 bits, so that a float32 layer computes its ``z``
exactly: the comparison is then not about the rounding of a ``z`` that happens to be near zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from tests.oracles import Array, unroll

layers = keras.layers


@dataclass(frozen=True)
class Case:
    """A layer type: ``make(use_bias=..., dtype=...)`` builds it; ``shape`` of the input without the batch."""

    make: Callable[..., Any]
    shape: tuple[int, ...]


def einsum(equation: str, output_shape: tuple[int, ...], bias_axes: str) -> Callable[..., Any]:
    def make(use_bias: bool, **options: Any) -> Any:
        axes = bias_axes if use_bias else None
        return layers.EinsumDense(equation, output_shape=output_shape, bias_axes=axes, **options)

    return make


CASES: dict[str, Case] = {
    "dense": Case(partial(layers.Dense, 6), (9,)),
    "dense_on_sequence": Case(partial(layers.Dense, 4), (3, 5)),
    "conv1d": Case(partial(layers.Conv1D, 3, 3, padding="same"), (7, 3)),
    "conv1d_causal": Case(partial(layers.Conv1D, 3, 3, padding="causal", dilation_rate=2), (7, 2)),
    "conv2d": Case(partial(layers.Conv2D, 3, 3, padding="same"), (5, 4, 3)),
    "conv2d_valid": Case(partial(layers.Conv2D, 3, (2, 3)), (5, 5, 2)),
    "conv2d_even_kernel": Case(partial(layers.Conv2D, 3, 4, padding="same"), (5, 6, 2)),
    "conv3d": Case(partial(layers.Conv3D, 2, 2, padding="same"), (3, 4, 3, 2)),
    "strided": Case(partial(layers.Conv2D, 3, 3, strides=2, padding="same"), (6, 5, 2)),
    "strided_valid": Case(partial(layers.Conv2D, 3, 2, strides=3), (7, 8, 2)),
    "strided_phases": Case(partial(layers.Conv2D, 3, (4, 1), strides=2, padding="same"), (6, 5, 2)),
    "strided_3d": Case(partial(layers.Conv3D, 2, 3, strides=2, padding="same"), (4, 5, 4, 2)),
    "dilated": Case(partial(layers.Conv2D, 3, 3, dilation_rate=2, padding="same"), (6, 7, 2)),
    "grouped": Case(partial(layers.Conv2D, 4, 3, groups=2, padding="same"), (5, 4, 4)),
    "grouped_1d": Case(partial(layers.Conv1D, 6, 3, groups=3), (6, 6)),
    "depthwise": Case(partial(layers.DepthwiseConv2D, 3, depth_multiplier=2, padding="same"), (5, 4, 3)),
    "depthwise_strided": Case(partial(layers.DepthwiseConv2D, 3, strides=2, padding="same"), (6, 6, 3)),
    "depthwise_1d": Case(partial(layers.DepthwiseConv1D, 3, padding="same"), (7, 3)),
    "separable": Case(partial(layers.SeparableConv2D, 4, 3, depth_multiplier=2, padding="same"), (5, 4, 3)),
    "separable_plain": Case(partial(layers.SeparableConv2D, 4, (3, 2)), (5, 4, 3)),
    "separable_1d": Case(partial(layers.SeparableConv1D, 4, 3, strides=2), (8, 3)),
    "transposed": Case(partial(layers.Conv2DTranspose, 3, 3, strides=2, padding="same"), (3, 4, 3)),
    "transposed_1d": Case(partial(layers.Conv1DTranspose, 3, 3), (5, 3)),
    "transposed_3d": Case(partial(layers.Conv3DTranspose, 2, 2, strides=2), (2, 3, 2, 2)),
    "einsum": Case(einsum("abc,cde->abde", (4, 2, 3), "de"), (4, 5)),
    "einsum_two_axes": Case(einsum("abcd,cde->abe", (3, 4), "e"), (3, 2, 3)),
}


def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Multiples of 1/64 in (-2, 2), none of them 0."""
    return rng.choice([-1, 1], size=shape) * rng.integers(1, 128, size=shape) / 64


def built(case: Case, use_bias: bool, dtype: str, seed: int) -> Any:
    """The layer with drawn weights: the same for both dtypes."""
    layer = case.make(use_bias=use_bias, dtype=dtype)
    layer.build((None, *case.shape))
    rng = np.random.default_rng(seed)
    layer.set_weights([draw(rng, tuple(w.shape)) for w in layer.weights])
    return layer


def array(tensor: Any) -> Array:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def called(layer: Any, x: Array) -> Array:
    """The layer's output on whatever framework Keras runs."""
    return array(layer(keras.ops.convert_to_tensor(x)))


def stages(case: Case, use_bias: bool, seed: int, split: bool) -> list[tuple[Array, Array]]:
    """``[(W, b)]`` of the layer; a separable convolution is two stages if ``split``, else its composite."""
    layer = built(case, use_bias, "float64", seed)
    bias = called(layer, np.zeros((1, *case.shape))).reshape(-1)
    if split and isinstance(layer, layers.SeparableConv1D | layers.SeparableConv2D):
        first, middle = depthwise_stage(layer, case.shape)
        one_by_one = array(layer.pointwise_kernel).reshape(middle[-1], -1)
        return [
            (first, np.zeros(first.shape[1])),
            (unroll(lambda m: m @ one_by_one, middle), bias),
        ]
    return [(unroll(lambda x: called(layer, x).reshape(len(x), -1) - bias, case.shape), bias)]


def depthwise_stage(layer: Any, shape: tuple[int, ...]) -> tuple[Array, tuple[int, ...]]:
    """Matrix of a separable convolution's first half, and the shape between the halves."""
    config = layer.get_config()
    keys = ("kernel_size", "strides", "padding", "dilation_rate", "depth_multiplier", "dtype")
    options = {key: config[key] for key in keys}
    one_dimensional = isinstance(layer, layers.SeparableConv1D)
    half = (layers.DepthwiseConv1D if one_dimensional else layers.DepthwiseConv2D)(**options, use_bias=False)
    half.build((None, *shape))
    half.set_weights([array(layer.depthwise_kernel)])
    middle = tuple(called(half, np.zeros((1, *shape))).shape[1:])
    return unroll(lambda x: called(half, x), shape), middle
