"""LSTM, GRU and their like written out in NumPy float64: Epsilon for linear maps, the signal takes all of a
gated product (Arras et al. 2017), sums by share."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from explainers import create_analyzer, trace
from explainers.errors import UnsupportedLayer
from tests.oracles import Array, epsilon, norm

layers = keras.layers
STEPS, WIDTH, UNITS = 4, 3, 5
FLOAT64 = {"dtype": "float64"}


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def lstm_back(weights: list[Array], x: Array, r: Array | None = None) -> Array:
    """The last output (UNITS,) of an LSTM over x (STEPS, WIDTH); with `r`, its relevance, that of x."""
    kernel, recurrent, bias = weights
    h = c = np.zeros(UNITS)
    past = []
    for t in range(len(x)):
        i, f, g, o = np.split(x[t] @ kernel + h @ recurrent + bias, 4)
        new, kept = sigmoid(i) * np.tanh(g), sigmoid(f) * c
        past.append((h, g, new, kept))
        c = new + kept
        h = sigmoid(o) * np.tanh(c)
    if r is None:
        return h
    to_x, memory = np.zeros_like(x), np.zeros(UNITS)
    both = np.concatenate([kernel, recurrent])[:, 2 * UNITS : 3 * UNITS]
    for t in reversed(range(len(x))):
        h, _, new, kept = past[t]
        memory = memory + r  # all of the gated output is the memory's
        of_new, memory = norm([new, kept], memory) if t else (memory, np.zeros(UNITS))
        back = epsilon(np.concatenate([x[t], h]), both, bias[2 * UNITS : 3 * UNITS], of_new)
        to_x[t], r = back[:WIDTH], back[WIDTH:]
    return to_x


def gru_back(weights: list[Array], x: Array, r: Array | None = None) -> Array:
    """The same of a GRU whose reset gate works on `U h + b'` (Keras' default)."""
    kernel, recurrent, (own, theirs) = weights
    h, past, last = np.zeros(UNITS), [], slice(2 * UNITS, None)
    for t in range(len(x)):
        a, b = x[t] @ kernel + own, h @ recurrent + theirs
        z, s = sigmoid(a[:UNITS] + b[:UNITS]), sigmoid(a[UNITS : 2 * UNITS] + b[UNITS : 2 * UNITS])
        reset = s * b[last]
        new, kept = (1 - z) * np.tanh(a[last] + reset), z * h
        past.append((h, a[last], reset, new, kept))
        h = new + kept
    if r is None:
        return h
    to_x = np.zeros_like(x)
    for t in reversed(range(len(x))):
        h, a, reset, new, kept = past[t]
        of_new, of_kept = norm([new, kept], r) if t else (r, np.zeros(UNITS))
        of_x, of_h = norm([a, reset], of_new)
        to_x[t] = epsilon(x[t], kernel[:, last], own[last], of_x)
        r = of_kept + epsilon(h, recurrent[:, last], theirs[last], of_h)
    return to_x


BACK = {"LSTM": lstm_back, "GRU": gru_back}


def with_weights(model: keras.Model) -> keras.Model:
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) * 0.7 for w in model.weights])
    return model


@pytest.mark.parametrize("name", BACK)
def test_relevance_per_step_is_that_of_the_formulas(name: str) -> None:
    x = keras.Input((STEPS, WIDTH), **FLOAT64)
    h = getattr(layers, name)(UNITS, name="recurrent", **FLOAT64)(x)
    model = with_weights(keras.Model(x, layers.Dense(2, name="top", **FLOAT64)(h)))
    series = np.random.default_rng(1).normal(size=(3, STEPS, WIDTH))
    made = create_analyzer("lrp.epsilon").fit(model).analyze(series, target=1, ledger=True)
    np.testing.assert_allclose(made.output, np.asarray(model(series)), rtol=1e-8)
    weights = [np.asarray(w) for w in model.get_layer("recurrent").get_weights()]
    top, bias = model.get_layer("top").get_weights()
    for row, relevance in zip(series, made.relevance, strict=True):
        h = BACK[name](weights, row)
        logit = h @ top[:, 1] + bias[1]
        expected = BACK[name](weights, row, epsilon(h, top, bias, np.array([0, logit])))
        np.testing.assert_allclose(relevance, expected, rtol=1e-6, atol=1e-10)
    assert made.ledger is not None
    assert made.ledger.gap.max() < 1e-9


LAYERS = {
    "simple": lambda: layers.SimpleRNN(UNITS, **FLOAT64),
    "reset before": lambda: layers.GRU(UNITS, reset_after=False, return_sequences=True, **FLOAT64),
    "no bias": lambda: layers.GRU(UNITS, use_bias=False, **FLOAT64),
    "backwards": lambda: layers.LSTM(UNITS, go_backwards=True, return_sequences=True, **FLOAT64),
    "both ways": lambda: layers.Bidirectional(
        layers.LSTM(UNITS, return_sequences=True, **FLOAT64), **FLOAT64
    ),
    "both ways, summed": lambda: layers.Bidirectional(
        layers.GRU(UNITS, **FLOAT64), merge_mode="sum", **FLOAT64
    ),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_what_is_unrolled_computes_the_same_and_has_the_same_gradient(kind: str) -> None:
    """The gradient of the unrolled graph is TensorFlow's of the model: every node is where it belongs."""
    import tensorflow as tf

    x = keras.Input((STEPS, WIDTH), **FLOAT64)
    t = layers.TimeDistributed(layers.Dense(WIDTH, activation="tanh", **FLOAT64), **FLOAT64)(x)
    t = layers.Flatten(**FLOAT64)(LAYERS[kind]()(t))
    model = with_weights(keras.Model(x, layers.Dense(2, **FLOAT64)(t)))
    series = tf.constant(np.random.default_rng(1).normal(size=(2, STEPS, WIDTH)))
    with tf.GradientTape() as tape:
        tape.watch(series)
        logit = model(series)[:, 0]
    made = create_analyzer("gradient").fit(model).analyze(series.numpy(), target=0)
    np.testing.assert_allclose(made.relevance, tape.gradient(logit, series).numpy(), rtol=1e-7, atol=1e-10)


def test_a_token_gets_what_its_vector_gets() -> None:
    tokens = keras.Input((STEPS,), dtype="int32")
    vectors = keras.Input((STEPS, WIDTH), **FLOAT64)
    embedding, lstm = layers.Embedding(7, WIDTH, **FLOAT64), layers.LSTM(UNITS, **FLOAT64)
    top = layers.Dense(2, **FLOAT64)
    whole = with_weights(keras.Model(tokens, top(lstm(embedding(tokens)))))
    behind = keras.Model(vectors, top(lstm(vectors)))
    words = np.random.default_rng(1).integers(0, 7, (3, STEPS))
    made = create_analyzer("lrp.epsilon").fit(whole).analyze(words, target=0)
    of_vectors = create_analyzer("lrp.epsilon").fit(behind).analyze(np.asarray(embedding(words)), target=0)
    np.testing.assert_allclose(made.relevance, of_vectors.relevance.sum(-1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda x: layers.LSTM(2)(layers.Masking()(x)), "a mask that tensors carry along is not supported"),
        (lambda x: layers.LSTM(2, return_state=True)(x)[0], "given or returns states is not supported"),
        (lambda x: layers.LSTM(2)(x, initial_state=[x[:, 0, :2]] * 2), "given or returns states"),
        (
            lambda x: layers.TimeDistributed(layers.Flatten())(x)[:, 0],
            "TimeDistributed of Flatten is not supp",
        ),
    ],
)
def test_what_is_not_unrolled_is_said(build, why: str) -> None:
    x = keras.Input((STEPS, WIDTH))
    notes = [node.note for node in trace(keras.Model(x, build(x)))]
    assert any(why in note for note in notes)


def test_a_series_of_any_length_is_refused() -> None:
    x = keras.Input((None, WIDTH))
    model = keras.Model(x, layers.Dense(2)(layers.LSTM(2)(x)))
    with pytest.raises(UnsupportedLayer, match="any number of steps; valid: fixed, up to 256"):
        create_analyzer("lrp.epsilon").fit(model)
