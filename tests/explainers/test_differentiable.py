"""The map as a function: the same map, and its derivatives those of finite differences in float64."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from explainers import create_analyzer
from explainers.errors import InvalidParameter

layers = keras.layers
METHODS = {
    "gradient": {},
    "lrp.preset_b": {"eps": 0.1},
    "lrp.epsilon_gamma_box": {"low": -9.0, "high": 9.0},
}


def network() -> keras.Model:
    """Every way in which kernels are derived: merged padding, folded BatchNorm before and behind, a separable
    and a strided convolution, a branch, one sigmoid unit as two classes. Smooth, for finite differences."""
    rng = np.random.default_rng(3)
    with_dtype = {"dtype": "float64"}
    x = keras.Input((6, 6, 2), **with_dtype)
    t = layers.ZeroPadding2D(1, **with_dtype)(layers.Rescaling(0.5, 0.1, **with_dtype)(x))
    t = layers.BatchNormalization(**with_dtype)(layers.Conv2D(3, 3, **with_dtype)(t))
    t = layers.Activation("softplus", **with_dtype)(t)
    side = layers.SeparableConv2D(3, 3, padding="same", activation="softplus", **with_dtype)(t)
    t = layers.Add(**with_dtype)([t, side])
    t = layers.Conv2D(4, 3, strides=2, activation="softplus", **with_dtype)(t)
    t = layers.BatchNormalization(**with_dtype)(layers.Flatten(**with_dtype)(t))
    model = keras.Model(x, layers.Dense(1, activation="sigmoid", **with_dtype)(t))
    model.set_weights(
        [rng.uniform(0.3, 0.9, w.shape) * rng.choice([-1, 1, 1], w.shape) for w in model.weights]
    )
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_variance.assign(np.abs(layer.moving_variance.numpy()))
    return model


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return network()


def along(function: Callable[[], np.ndarray], variable: tf.Variable, direction: np.ndarray) -> float:
    """Derivative of a number by a variable in a direction: central differences."""
    before, step = variable.numpy(), 1e-5
    variable.assign(before + step * direction)
    above = function()
    variable.assign(before - step * direction)
    below = function()
    variable.assign(before)
    return float(above - below) / (2 * step)


@pytest.mark.parametrize("method", METHODS)
def test_the_map_and_its_derivatives_by_inputs_and_weights(model: keras.Model, method: str) -> None:
    rng = np.random.default_rng(0)
    x = tf.Variable(rng.normal(size=(2, 6, 6, 2)))
    weighting = tf.constant(rng.normal(size=x.shape))
    fitted = create_analyzer(method, **METHODS[method]).fit(model)
    target = [1, 0]
    expected = fitted.analyze(x.numpy(), target).relevance
    fixed, live = fitted.function(), fitted.function(live=True)

    @tf.function
    def slopes():
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(weighting * live(x, tf.constant(target)) ** 2)
        return value, tape.gradient(value, [x, *model.trainable_variables])

    np.testing.assert_allclose(live(x, target).numpy(), fixed(x, target).numpy(), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(fixed(x, target).numpy(), expected, rtol=1e-9, atol=1e-12)
    _, made = slopes()
    for variable, slope in zip([x, *(v.value for v in model.trainable_variables)], made, strict=True):
        direction = rng.normal(size=variable.shape)
        numeric = along(lambda: slopes()[0].numpy(), variable, direction)
        exact = 0.0 if slope is None else float(tf.reduce_sum(slope * direction))
        assert exact == pytest.approx(numeric, rel=2e-4, abs=1e-6), variable


def test_a_function_of_the_output_can_be_explained_and_differentiated(model: keras.Model) -> None:
    x = tf.constant(np.random.default_rng(1).normal(size=(3, 6, 6, 2)))
    fitted = create_analyzer("gradient").fit(model)

    def certain(output):
        return tf.reduce_sum(tf.nn.log_softmax(output), axis=-1)

    with tf.GradientTape() as tape:
        tape.watch(x)
        value = certain(fitted.network.record(fitted.network.weights, (x,))[fitted.network.graph.output])
    expected = tape.gradient(value, x).numpy()
    np.testing.assert_allclose(
        fitted.function(live=True)(x, certain).numpy(), expected, rtol=1e-7, atol=1e-10
    )


def test_what_was_trained_since_is_explained_by_the_live_function_alone() -> None:
    model = network()
    fitted = create_analyzer("lrp.epsilon").fit(model)
    x = np.random.default_rng(2).normal(size=(2, 6, 6, 2))
    before, fixed, live = fitted.analyze(x, 1).relevance, fitted.function(), fitted.function(live=True)
    model.layers[3].kernel.assign(model.layers[3].kernel * 1.5)
    np.testing.assert_allclose(fixed(x, 1).numpy(), before, rtol=1e-9)
    again = create_analyzer("lrp.epsilon").fit(model).analyze(x, 1).relevance
    assert np.abs(again - before).max() > 1e-3
    np.testing.assert_allclose(live(x, 1).numpy(), again, rtol=1e-7, atol=1e-10)


def test_a_method_of_many_passes_has_no_function(model: keras.Model) -> None:
    fitted = create_analyzer("occlusion", size=2).fit(model)
    with pytest.raises(InvalidParameter, match="is no single backward pass"):
        fitted.function()
