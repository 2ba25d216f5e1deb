"""Which activation a function is: a softmax of another library is cut, what mixes its inputs is refused."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from explainers import create_analyzer
from explainers.model.activations import function_name
from explainers.network import network

layers = keras.layers

FUNCTIONS: list[tuple[Any, str]] = [
    (keras.activations.relu, "relu"),
    (keras.activations.log_softmax, "log_softmax"),
    (keras.activations.sparsemax, "mixing sparsemax"),
    (tf.nn.softmax, "softmax"),
    (tf.nn.log_softmax, "log_softmax"),
    (tf.nn.relu, "relu"),
    (tf.nn.relu6, "relu6"),
    (tf.nn.silu, "silu"),
    (lambda x: tf.minimum(tf.nn.relu(x), 20.0), "custom <lambda>"),  # no relu, and no relu6
    (lambda x: x * x, "custom <lambda>"),
    (lambda x: x - tf.reduce_mean(x, axis=-1, keepdims=True), "mixing <lambda>"),
    (lambda x: tf.one_hot(tf.argmax(x, axis=-1), 40), "mixing <lambda>"),  # no softmax
    (lambda x: tf.reduce_sum(x, axis=-1), "mixing <lambda>"),
    (lambda x: tf.ensure_shape(x, (None, 7)), "mixing <lambda>"),
]


@pytest.mark.parametrize(("function", "name"), FUNCTIONS)
def test_name(function: Any, name: str) -> None:
    assert function_name(function) == name


@pytest.mark.parametrize("activation", [tf.nn.softmax, tf.nn.log_softmax, keras.activations.log_softmax])
def test_a_softmax_by_another_name_is_cut(activation: Any) -> None:
    keras.utils.set_random_seed(0)
    x = keras.Input((5,))
    named = keras.Model(x, layers.Dense(3, activation=activation, name="top")(x))
    plain = keras.Model(x, layers.Dense(3, name="top")(x))
    plain.set_weights(named.get_weights())
    image = np.random.default_rng(0).normal(size=(2, 5)).astype("float32")
    one, other = (create_analyzer("lrp.epsilon").fit(m).analyze(image) for m in (named, plain))
    np.testing.assert_array_equal(one.relevance, other.relevance)
    np.testing.assert_array_equal(one.output, other.output)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("fused", [True, False])
def test_logits_are_compared_where_probabilities_are_saturated(
    activation: str, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logits of some hundreds: all probabilities are 0 or 1, and a wrong fold must still show."""
    from explainers.errors import UnequalForward
    from explainers.model import canonize

    keras.utils.set_random_seed(0)
    x = keras.Input((6, 6, 2))
    t = layers.BatchNormalization(name="bn")(layers.Conv2D(3, 3, name="conv")(x))
    top = layers.Dense(4, activation=activation if fused else None)(layers.Flatten()(t))
    model = keras.Model(x, top if fused else layers.Activation(activation)(top))
    model.layers[-1 if fused else -2].kernel.assign(1e4 * np.random.default_rng(0).normal(size=(48, 4)))
    probe = np.random.default_rng(0).uniform(0, 255, (1, 6, 6, 2))
    assert set(np.asarray(model(probe)).ravel()) <= {0.0, 1.0}
    assert 0 < network(model).equality < 1e-5
    real = canonize.fold_into_previous
    monkeypatch.setattr(canonize, "fold_into_previous", lambda graph: spoilt(real(graph)))
    with pytest.raises(UnequalForward):
        network(model)


def spoilt(graph: Any) -> Any:
    graph["conv"].kernel[...] *= 1.01
    return graph
