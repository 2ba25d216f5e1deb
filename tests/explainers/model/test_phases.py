"""The transpose by phases against the framework's own, the derivative of the convolution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from explainers.engine import vjp
from explainers.model.convolutions import Conv
from explainers.model.live import Live
from explainers.model.phases import Phases

# kernel, stride, padding, zeros merged into it, height; the width is one more
GEOMETRIES = [
    (7, 2, "valid", None, 11), (7, 2, "same", None, 11), (7, 2, "same", None, 12),
    (7, 2, "valid", ((3, 3), (3, 2)), 10), (1, 2, "valid", None, 12), (1, 2, "same", None, 9),
    (4, 4, "valid", None, 12), (4, 4, "same", None, 13), (11, 4, "valid", None, 14),
    (2, 3, "valid", None, 10), (2, 3, "same", None, 11), (4, 2, "valid", None, 5),
]  # fmt: skip


def case(kernel: int, stride: int, padding: str, pads: Any, height: int) -> tuple[Conv, Any, np.ndarray, Any]:
    """The convolution, an input, a kernel and relevance at the outputs; float64."""
    rng = np.random.default_rng(kernel)
    linear = Conv((kernel,) * 2, (stride,) * 2, padding, (1, 1), 1, pads)
    a = tf.constant(rng.normal(size=(2, height, height + 1, 3)))
    w = rng.normal(size=(kernel, kernel, 3, 4))
    return linear, a, w, tf.constant(rng.normal(size=linear.apply(a, tf.constant(w)).shape))


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_it_is_the_derivative_of_the_convolution(geometry: tuple[Any, ...]) -> None:
    linear, a, w, s = case(*geometry)
    assert Phases(linear.kernel_size, linear.strides).pay
    expected = ops.convert_to_numpy(vjp(lambda x: linear.apply(x, tf.constant(w)), (a,), s)[0])
    flipped = linear.flip(w)
    assert flipped.shape != w.shape or geometry[0] == 1
    np.testing.assert_allclose(linear.transpose(s, tf.constant(flipped), a), expected, rtol=0, atol=1e-13)
    live = linear.flip(Live(tf.constant(w)))
    np.testing.assert_allclose(linear.transpose(s, live.tensor, a), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("geometry", [GEOMETRIES[1], GEOMETRIES[3], GEOMETRIES[5], GEOMETRIES[9]], ids=str)
def test_images_of_any_size_in_one_program(geometry: tuple[Any, ...]) -> None:
    kernel, stride, padding, pads, height = geometry
    linear, _, w, _ = case(*geometry)
    flipped = tf.constant(linear.flip(w))
    sizes = [tf.TensorSpec((None, None, None, channels), tf.float64) for channels in (4, 3)]
    program = tf.function(lambda s, a: linear.transpose(s, flipped, a), input_signature=sizes)
    for size in (height, height + 1):
        _, a, _, s = case(kernel, stride, padding, pads, size)
        expected = vjp(lambda x: linear.apply(x, tf.constant(w)), (a,), s)[0]
        np.testing.assert_allclose(program(s, a), expected, rtol=0, atol=1e-13)


def test_many_zeros_among_the_taps_do_not_pay() -> None:
    assert not Phases((3, 3), (2, 2)).pay  # 16 taps for 9
    assert Phases((7, 7), (2, 2)).pay  # 64 for 49
