"""Identities of MATHS section 9 on random small networks: no oracle, only what must be equal to what."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from explainers import create_analyzer

layers = keras.layers
SIDE = 8
few = settings(max_examples=5, deadline=None, derandomize=True, database=None)


@st.composite
def networks(draw: st.DrawFn, bias: bool = False) -> tuple[keras.Model, np.ndarray]:
    """A float64 ReLU network of convolutions, pooling and branches with three logits, and a batch of four."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    x = keras.Input((SIDE, SIDE, draw(st.integers(1, 3))), dtype="float64")
    t = x
    for _ in range(draw(st.integers(1, 3))):
        t = draw(blocks(t, bias))
    t = layers.Flatten(dtype="float64")(t)
    if draw(st.booleans()):
        t = layers.Dense(5, activation="relu", use_bias=bias, dtype="float64")(t)
    model = keras.Model(x, layers.Dense(3, use_bias=bias, dtype="float64")(t))
    model.set_weights([rng.normal(size=w.shape) / max(1, np.prod(w.shape[:-1])) ** 0.5 for w in model.weights])
    return model, rng.normal(size=(4, *x.shape[1:]))


@st.composite
def blocks(draw: st.DrawFn, t: keras.KerasTensor, bias: bool) -> keras.KerasTensor:
    """One convolution (fused ReLU or not), two in parallel, or a pooling."""
    size, padding = draw(st.integers(1, 3)), draw(st.sampled_from(["same", "valid"]))
    options = {"use_bias": bias, "dtype": "float64"}
    kind = draw(st.sampled_from(["fused", "apart", "parallel", "pool"]))
    if kind == "pool" and t.shape[1] >= 4:
        return layers.MaxPooling2D(2, dtype="float64")(t)
    if kind == "parallel":
        sides = [layers.Conv2D(2, n, padding="same", activation="relu", **options)(t) for n in (1, 3)]
        return layers.Concatenate(dtype="float64")(sides)
    if t.shape[1] < 4:
        padding = "same"
    if kind == "fused":
        return layers.Conv2D(3, size, padding=padding, activation="relu", **options)(t)
    return layers.ReLU(dtype="float64")(layers.Conv2D(3, size, padding=padding, **options)(t))


def explain(method: str, model: keras.Model, x: np.ndarray, target: int | None = 1, **params: object) -> np.ndarray:
    return create_analyzer(method, **params).fit(model).analyze(x, target=target).relevance


def assert_close(got: np.ndarray, expected: np.ndarray, tolerance: float = 1e-10) -> None:
    """Relative L2 over the batch."""
    assert got.shape == expected.shape
    assert np.linalg.norm(got - expected) <= tolerance * max(np.linalg.norm(expected), 1e-12)


@few
@given(networks())
def test_zero_on_a_network_without_bias_is_input_times_gradient(drawn: tuple[keras.Model, np.ndarray]) -> None:
    model, x = drawn
    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        logit = model(inputs)[:, 1]
    assert_close(explain("lrp.zero", model, x), x * tape.gradient(logit, inputs).numpy(), 1e-8)


@few
@given(networks())
def test_alpha_1_beta_0_is_z_plus_without_bias(drawn: tuple[keras.Model, np.ndarray]) -> None:
    model, x = drawn
    assert_close(explain("lrp.alpha_1_beta_0", model, np.abs(x)), explain("lrp.z_plus", model, np.abs(x)))


@few
@given(networks(bias=True))
def test_w_square_is_flat_when_all_weights_have_one_size(drawn: tuple[keras.Model, np.ndarray]) -> None:
    model, x = drawn
    model.set_weights([0.3 * np.sign(w) if w.ndim > 1 else w for w in model.get_weights()])
    assert_close(explain("lrp.w_square", model, x), explain("lrp.flat", model, x))


@few
@given(networks(bias=True))
def test_batch_of_n_is_n_batches_of_one(drawn: tuple[keras.Model, np.ndarray]) -> None:
    model, x = drawn
    fitted = create_analyzer("lrp.preset_b").fit(model)
    together = fitted.analyze(x).relevance
    alone = np.concatenate([fitted.analyze(image[None]).relevance for image in x])
    assert_close(alone, together)


@few
@given(networks(bias=True))
def test_weights_are_untouched_and_results_repeat(drawn: tuple[keras.Model, np.ndarray]) -> None:
    model, x = drawn
    before = [w.copy() for w in model.get_weights()]
    fitted = create_analyzer("lrp.preset_a").fit(model)
    first, second = fitted.analyze(x).relevance, fitted.analyze(x).relevance
    again = create_analyzer("lrp.preset_a").fit(model).analyze(x).relevance
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, again)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
