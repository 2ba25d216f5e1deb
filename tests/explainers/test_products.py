"""Products in other precisions, and how many there are: `engine.precision`, `benchmarks.gpu.products`."""

from __future__ import annotations

import keras
import ml_dtypes
import numpy as np
import pytest

from benchmarks.gpu.products import counted
from benchmarks.gpu.table import difference
from explainers import create_analyzer, engine

layers = keras.layers


def test_operands_and_results_are_rounded_to_bfloat16_and_only_while_asked_for() -> None:
    rng = np.random.default_rng(0)
    # few digits each, so that sums of products are exact in float32 whatever their order
    a, w = (rng.integers(-300, 300, shape).astype("float32") for shape in ((4, 8), (8, 3)))
    program = engine.compile(
        lambda w, a: engine.multiply(keras.ops.matmul, a, w), keras.ops.convert_to_tensor(w)
    )
    exact = a @ w
    a_, w_ = (x.astype(ml_dtypes.bfloat16).astype("float32") for x in (a, w))
    rounded = (a_ @ w_).astype(ml_dtypes.bfloat16).astype("float32")
    assert not np.array_equal(rounded, exact)
    got = []
    for name in ("", "bfloat16", "float32", "tf32"):
        if name:
            with engine.precision(name):
                got.append(keras.ops.convert_to_numpy(program(keras.ops.convert_to_tensor(a))))
        else:
            got.append(keras.ops.convert_to_numpy(program(keras.ops.convert_to_tensor(a))))
    assert all(value.dtype == np.float32 for value in got)
    np.testing.assert_array_equal(got[1], rounded)
    for value in (got[0], got[2], got[3]):  # a CPU has no tf32
        np.testing.assert_array_equal(value, exact)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(program(keras.ops.convert_to_tensor(a))), exact)
    with (
        pytest.raises(ValueError, match=r"'half' is not known; valid: float32, tf32, bfloat16"),
        engine.precision("half"),
    ):
        pass


def test_maps_in_bfloat16_are_near_and_their_distance_is_what_the_definition_says() -> None:
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 3))
    t = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    t = layers.DepthwiseConv2D(3, strides=2, activation="relu")(t)
    model = keras.Model(x, layers.Dense(5)(layers.Flatten()(t)))
    images = np.random.default_rng(1).normal(size=(3, 8, 8, 3)).astype("float32")
    fitted = create_analyzer("lrp.preset_a").fit(model)
    exact = fitted.analyze(images).relevance
    with engine.precision("bfloat16"):
        near = fitted.analyze(images).relevance
    norms = [np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(near, exact, strict=True)]
    error, correlation = difference(near, exact)
    assert error == pytest.approx(np.median(norms), rel=1e-6)
    assert 1e-4 < error < 0.05
    assert 0.9 < correlation <= 1
    assert difference(exact, exact) == (0, pytest.approx(1))
    assert difference(-exact, exact) == (pytest.approx(2), pytest.approx(-1))
    np.testing.assert_array_equal(fitted.analyze(images).relevance, exact)  # what was compiled before stays


def test_products_are_counted_from_their_shapes() -> None:
    """A gradient is each product and its transpose: two operations for every weight that meets a value."""
    x = keras.Input((8, 8, 3))
    t = layers.Conv2D(4, 3, padding="same")(x)  # 8 * 8 outputs of 3 * 3 * 3 * 4 weights
    t = layers.DepthwiseConv2D(3, strides=2)(t)  # 3 * 3 outputs of 3 * 3 * 4 weights
    t = layers.Reshape((9, 4))(t)
    t = layers.MultiHeadAttention(2, 6)(
        t, t
    )  # 9 tokens: q, k, v, o of 4 * 12 weights; 2 heads of 9 * 9 * 6, twice
    model = keras.Model(x, layers.Dense(5)(layers.Flatten()(t)))  # 36 * 5 weights
    forward = 64 * 108 + 9 * 36 + 4 * 9 * 48 + 2 * (2 * 9 * 9 * 6) + 180
    fitted = create_analyzer("gradient").fit(model)
    images = np.zeros((2, 8, 8, 3), "float32")
    with counted() as count:
        fitted.network.logits((images,))
    assert count.flop == 2 * 2 * forward
    with counted() as count:
        fitted.network.logits((images,))  # compiled: nothing is traced again
    assert count.flop == 0
