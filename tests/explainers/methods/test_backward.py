"""Methods that are rules on the backward pass, against the framework's tape and NumPy; the baselines."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from explainers import Explanation, create_analyzer
from explainers.errors import InvalidInput
from tests.explainers.methods import small

layers = keras.layers
SHAPE = (12, 10, 3)


@tf.custom_gradient
def deconvolving(x: tf.Tensor) -> Any:
    """ReLU whose gradient is Zeiler's and Fergus's: `max(R, 0)`, whatever was passed forward."""
    return tf.nn.relu(x), tf.nn.relu


@tf.custom_gradient
def guiding(x: tf.Tensor) -> Any:
    """ReLU whose gradient is Springenberg's: `max(R, 0)` where the input was positive."""
    return tf.nn.relu(x), lambda r: tf.where(x > 0, tf.nn.relu(r), tf.zeros_like(r))


def network(activation: Any) -> keras.Model:
    """Convolutions, a branch, max-pooling, a dense layer: every ReLU is `activation`."""
    rng, d = np.random.default_rng(3), "float64"
    x = keras.Input(SHAPE, dtype=d)
    t = layers.Conv2D(4, 3, padding="same", activation=activation, dtype=d)(x)
    side = layers.Conv2D(4, 1, activation=activation, dtype=d)(t)
    t = layers.Add(dtype=d)([layers.Conv2D(4, 3, padding="same", activation=activation, dtype=d)(t), side])
    t = layers.Flatten(dtype=d)(layers.MaxPooling2D(2, dtype=d)(t))
    t = layers.Dense(6, activation=activation, dtype=d)(t)
    model = keras.Model(x, layers.Dense(3, dtype=d)(t))
    model.set_weights(
        [rng.normal(size=w.shape) / max(1, np.prod(w.shape[:-1])) ** 0.5 for w in model.weights]
    )
    return model


def tape(model: keras.Model, x: np.ndarray, target: int) -> np.ndarray:
    inputs = tf.constant(x)
    with tf.GradientTape() as record:
        record.watch(inputs)
        logit = model(inputs)[:, target]
    return record.gradient(logit, inputs).numpy()


@pytest.mark.parametrize(
    ("method", "activation"),
    [("gradient", "relu"), ("deconvnet", deconvolving), ("guided_backprop", guiding)],
)
def test_the_frameworks_tape_with_the_papers_activation(method: str, activation: Any) -> None:
    x = small.images(3, SHAPE)
    got = create_analyzer(method).fit(network("relu")).analyze(x, 2).relevance
    np.testing.assert_allclose(got, tape(network(activation), x, 2), rtol=1e-9, atol=1e-14)
    assert np.abs(got).max() > 0


def test_input_x_gradient() -> None:
    x = small.images(3, SHAPE)
    got = create_analyzer("input_x_gradient").fit(network("relu")).analyze(x, 1).relevance
    np.testing.assert_allclose(got, x * tape(network("relu"), x, 1), rtol=1e-9, atol=1e-14)


def test_gradient_is_the_slope_of_the_logit() -> None:
    """Against differences, which know nothing of any backward pass."""
    model, x, step = network("softplus"), small.images(1, SHAPE), 1e-6
    rng = np.random.default_rng(0)
    direction = rng.normal(size=SHAPE)
    ends = np.asarray(model(np.concatenate([x + step * direction, x - step * direction])))[:, 0]
    got = create_analyzer("gradient").fit(model).analyze(x, 0).relevance
    assert (got[0] * direction).sum() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6)


# dense networks whose relevance is worked out layer by layer

SIZES = (5, 6, 4, 3)


def dense(softmax: bool = False) -> tuple[keras.Model, list[np.ndarray]]:
    """Dense 5 - 6 - 4 - 3 with ReLU between and without bias."""
    rng = np.random.default_rng(1)
    x = keras.Input((SIZES[0],), dtype="float64")
    t = x
    for size in SIZES[1:-1]:
        t = layers.Dense(size, activation="relu", use_bias=False, dtype="float64")(t)
    last = "softmax" if softmax else None
    model = keras.Model(x, layers.Dense(SIZES[-1], activation=last, use_bias=False, dtype="float64")(t))
    weights = [rng.normal(size=pair) for pair in pairwise(SIZES)]
    model.set_weights(weights)
    return model, weights


def forward(x: np.ndarray, weights: list[np.ndarray]) -> list[np.ndarray]:
    """The inputs of all layers, and the logits."""
    record = [x]
    for w in weights[:-1]:
        record.append(np.maximum(record[-1] @ w, 0))
    return [*record, record[-1] @ weights[-1]]


def shared(parts: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    """`R_i = sum_k parts_ik / sum_j parts_jk R_k`; nothing where the parts are all 0."""
    total = parts.sum(0)
    return (parts / np.where(total == 0, 1, total)) @ np.where(total == 0, 0, relevance)


def z_plus(a: np.ndarray, w: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    """`(a w)+` of inputs that may be negative."""
    return shared(np.maximum(a[:, None] * w, 0), relevance)


def positive_logit(explained: Explanation, target: int) -> np.ndarray:
    rows = np.flatnonzero(explained.output[:, target] > 0)
    assert len(rows) >= 3
    return rows


def start(logits: np.ndarray, target: int) -> np.ndarray:
    return np.where(np.arange(len(logits)) == target, logits, 0)


def test_deep_taylor_layer_by_layer() -> None:
    """z+ in the hidden layers, w^2 at the input (Montavon et al. 2017, equations 14 and 10)."""
    (model, weights), x = dense(), small.images(12, SIZES[:1])
    explained = create_analyzer("deep_taylor").fit(model).analyze(x, 1)
    for row in positive_logit(explained, 1):
        _, a1, a2, logits = forward(x[row], weights)
        relevance = z_plus(a1, weights[1], z_plus(a2, weights[2], start(logits, 1)))
        expected = shared(weights[0] ** 2, relevance)
        np.testing.assert_allclose(explained.relevance[row], expected, rtol=1e-9, atol=1e-12)
        assert (explained.relevance[row] >= 0).all()


def test_bounded_deep_taylor_layer_by_layer() -> None:
    """z^B at the input: `a w - low w+ - high w-`, another range for every input."""
    (model, weights), x = dense(), small.images(12, SIZES[:1])
    low, high = (-1.5, -1, -2, -1, -1.25), (1, 2, 1, 1.5, 1)
    explained = create_analyzer("deep_taylor.bounded", low=low, high=high).fit(model).analyze(x, 1)
    for row in positive_logit(explained, 1):
        a0, a1, a2, logits = forward(x[row], weights)
        relevance = z_plus(a1, weights[1], z_plus(a2, weights[2], start(logits, 1)))
        w, w_plus, w_minus = weights[0], np.maximum(weights[0], 0), np.minimum(weights[0], 0)
        parts = a0[:, None] * w - np.array(low)[:, None] * w_plus - np.array(high)[:, None] * w_minus
        np.testing.assert_allclose(explained.relevance[row], shared(parts, relevance), rtol=1e-9, atol=1e-12)
    with pytest.raises(InvalidInput, match="does not contain the input"):
        create_analyzer("deep_taylor.bounded", low=-0.1, high=0.1).fit(model).analyze(x, 1)


@pytest.mark.parametrize(
    ("method", "params"), [("deep_taylor", {}), ("deep_taylor.bounded", {"low": -1, "high": 1})]
)
def test_deep_taylor_says_which_rows_have_no_evidence(method: str, params: dict) -> None:
    (model, _), x = dense(), small.images(12, SIZES[:1])
    explained = create_analyzer(method, **params).fit(model).analyze(x, 1)
    negative = explained.output[:, 1] < 0
    assert negative.any()
    for row, reason in enumerate(explained.reason):
        assert (reason is not None and "negative target logit" in reason) == negative[row]
        assert not negative[row] or not explained.relevance[row].any()


def test_excitation_backprop_passes_the_probability_to_the_winners() -> None:
    """`P(a_i) = sum_k a_i w+_ik / (sum_j a_j w+_jk) P(a_k)` for inputs >= 0 (Zhang et al. 2016)."""
    (model, weights), x = dense(softmax=True), np.abs(small.images(6, SIZES[:1]))
    explained = create_analyzer("excitation_backprop").fit(model).analyze(x, 2)
    for row in range(6):
        a0, a1, a2, logits = forward(x[row], weights)
        winners = np.where(np.arange(3) == 2, np.exp(logits) / np.exp(logits).sum(), 0)
        for a, w in ((a2, weights[2]), (a1, weights[1]), (a0, weights[0])):
            winners = shared(a[:, None] * np.maximum(w, 0), winners)
        np.testing.assert_allclose(explained.relevance[row], winners, rtol=1e-9, atol=1e-12)


# baselines


def test_random_maps_are_standard_normal_and_belong_to_the_image() -> None:
    x = small.images(3, (40, 40, 3))
    model = small.linear(np.ones((40, 40, 3, 2)))
    fitted = create_analyzer("random", seed=1).fit(model)
    maps = fitted.analyze(x).relevance
    assert maps.mean() == pytest.approx(0, abs=0.05)
    assert maps.std() == pytest.approx(1, abs=0.05)
    assert abs(np.corrcoef(maps[0].ravel(), maps[1].ravel())[0, 1]) < 0.05
    np.testing.assert_array_equal(fitted.analyze(x[::-1]).relevance, maps[::-1])


def test_the_constant_map_is_one() -> None:
    fitted = create_analyzer("constant").fit(small.dense())
    assert (fitted.analyze(small.images(2, (4, 4, 1), "float32")).relevance == 1).all()
