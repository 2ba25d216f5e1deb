"""Nodes that are not linear layers and the rules' corner cases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from explainers import create_analyzer
from explainers.rules import AlphaBeta, Epsilon, Flat, Gamma, Rule, WSquare, ZBox, Zero, ZPlus
from explainers.rules.presets import compose, structure
from tests import oracles

layers = keras.layers
VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "hand_vectors.json").read_text("utf-8"))
EPS = 0.125  # large, so that it shows which eps a node got


@pytest.fixture(autouse=True)
def without_compiling() -> Iterator[None]:
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def everywhere(rule: Rule, eps: float = 1e-6) -> object:
    return create_analyzer("lrp", preset=compose("test", rule, rule, rule, rest=structure(eps)))


def float64(layer: type, *args: object, **options: object) -> keras.layers.Layer:
    return layer(*args, dtype="float64", **options)


def headed(x: list[keras.KerasTensor], t: keras.KerasTensor, seed: int = 0) -> keras.Model:
    """``t`` flattened under a bias-free dense layer with three logits."""
    model = keras.Model(x, float64(layers.Dense, 3, use_bias=False)(float64(layers.Flatten)(t)))
    rng = np.random.default_rng(seed)
    model.layers[-1].set_weights([rng.normal(size=model.layers[-1].kernel.shape)])
    return model


def through_head(model: keras.Model, features: np.ndarray, eps: float) -> np.ndarray:
    """Relevance of ``features`` (one image) for logit 0, Epsilon at the head."""
    w = np.asarray(model.layers[-1].kernel)
    start = np.array([features.reshape(-1) @ w[:, 0], 0, 0])
    return oracles.epsilon(features.reshape(-1), w, np.zeros(3), start, eps).reshape(features.shape)


def maps(model: keras.Model, x: np.ndarray, eps: float = EPS) -> np.ndarray:
    return everywhere(Epsilon(eps), eps).fit(model).analyze(x[None], target=0).relevance[0]


def signed(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=shape)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (float64(layers.AveragePooling2D, 2), (4, 6, 2)),
        (float64(layers.AveragePooling2D, 3, strides=2, padding="same"), (5, 6, 2)),
        (float64(layers.AveragePooling1D, 2), (6, 2)),
        (float64(layers.GlobalAveragePooling2D), (3, 4, 2)),
        (float64(layers.GlobalAveragePooling1D), (5, 3)),
    ],
    ids=lambda v: getattr(v, "name", None),
)
def test_average_pooling_shares_by_the_sum(layer: keras.layers.Layer, shape: tuple[int, ...]) -> None:
    x = keras.Input(shape, dtype="float64")
    model, image = headed([x], layer(x)), signed(*shape)
    member = (oracles.unroll(lambda v: np.asarray(layer(v)), shape) > 0).astype(float)
    features = np.asarray(layer(image[None]))[0]
    r = through_head(model, features, EPS).reshape(-1)
    expected = oracles.norm_pool(image.reshape(-1), member, r, EPS)
    np.testing.assert_allclose(maps(model, image).reshape(-1), expected, rtol=1e-10)


def test_add_shares_by_the_sum() -> None:
    x = keras.Input((3, 3, 2), dtype="float64")
    model = headed([x], float64(layers.Add)([float64(layers.ReLU)(x), float64(layers.Activation, "tanh")(x)]))
    image = signed(3, 3, 2)
    parts = [np.maximum(image, 0), np.tanh(image)]
    shares = oracles.norm(parts, through_head(model, sum(parts), EPS), EPS)
    np.testing.assert_allclose(maps(model, image), sum(shares), rtol=1e-10)


def test_subtract_shares_by_signed_value_even_where_both_are_positive() -> None:
    """z = a - b may be negative although a and b cannot: the stabiliser has z's sign."""
    x = keras.Input((3, 3, 2), dtype="float64")
    halves = [float64(layers.ReLU)(x), float64(layers.Activation, "sigmoid")(x)]
    model = headed([x], float64(layers.Subtract)(halves))
    image = signed(3, 3, 2)
    parts = [np.maximum(image, 0), -1 / (1 + np.exp(-image))]
    assert sum(parts).min() < 0
    shares = oracles.norm(parts, through_head(model, sum(parts), EPS), EPS)
    np.testing.assert_allclose(maps(model, image), sum(shares), rtol=1e-10)


@pytest.mark.parametrize("layer", [layers.Add, layers.Maximum, layers.Average])
def test_merging_an_image_with_a_vector_per_channel(layer: type) -> None:
    """Keras puts the missing axes behind the batch's; three images, so that a wrong axis shows."""
    x = keras.Input((3, 3, 2), dtype="float64")
    vector = float64(layers.GlobalMaxPooling2D)(x)
    model = headed([x], float64(layer)([float64(layers.Activation, "tanh")(x), vector]))
    batch = np.random.default_rng(3).normal(size=(3, 3, 3, 2))
    got = everywhere(Epsilon(EPS), EPS).fit(model).analyze(batch, target=0).relevance
    for image, map_ in zip(batch, got, strict=True):
        a, b = np.tanh(image), np.broadcast_to(image.max((0, 1)), image.shape)
        if layer is layers.Maximum:
            r = through_head(model, np.maximum(a, b), EPS)
            first, second = np.where(a >= b, r, 0), np.where(a >= b, 0, r)
        else:
            r = through_head(model, (a + b) / (2 if layer is layers.Average else 1), EPS)
            first, second = oracles.norm([a, b], r, EPS)
        want = first.copy()
        for c in range(2):
            want[(*np.unravel_index(image[..., c].argmax(), (3, 3)), c)] += second[..., c].sum()
        np.testing.assert_allclose(map_, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("pads", [1, 2, ((0, 3), (2, 0))])
@pytest.mark.parametrize("size", [1, 2])
def test_zero_padding_wider_than_the_kernel_has_no_share(pads: object, size: int) -> None:
    x = keras.Input((3, 3, 2), dtype="float64")
    conv, pad = float64(layers.Conv2D, 2, size), float64(layers.ZeroPadding2D, pads)
    t = conv(pad(x))
    model, image = headed([x], t), signed(3, 3, 2)
    apply = keras.Model(x, t)
    z = np.asarray(apply(image[None]))[0]
    w = oracles.unroll(
        lambda v: np.asarray(apply(v)).reshape(len(v), -1) - np.asarray(apply(0 * v[:1])).ravel(), image.shape
    )
    bias = np.asarray(apply(np.zeros((1, *image.shape)))).ravel()
    want = oracles.epsilon(image.ravel(), w, bias, through_head(model, z, EPS).ravel(), EPS)
    np.testing.assert_allclose(maps(model, image).ravel(), want, rtol=1e-9, atol=1e-12)


def test_multiply_splits_by_half_and_a_gate_gets_the_sum() -> None:
    x = keras.Input((3, 3, 2), dtype="float64")
    gate = float64(layers.GlobalAveragePooling2D, keepdims=True)(x)
    model = headed([x], float64(layers.Multiply)([float64(layers.Activation, "tanh")(x), gate]))
    image = signed(3, 3, 2)
    mean = image.mean((0, 1))
    half = through_head(model, np.tanh(image) * mean, EPS) / 2
    gate_share = image * half.sum((0, 1)) / oracles.stab(image.sum((0, 1)), EPS)
    np.testing.assert_allclose(maps(model, image), half + gate_share, rtol=1e-10)


def test_a_layer_called_twice_is_two_nodes() -> None:
    x = keras.Input((6,), dtype="float64")
    shared = float64(layers.Dense, 6, use_bias=False)
    model = headed([x], shared(shared(x)))
    rng = np.random.default_rng(2)
    shared.set_weights([rng.normal(size=(6, 6))])
    image, w = signed(6), np.asarray(shared.kernel)
    r = through_head(model, image @ w @ w, EPS)
    r = oracles.epsilon(image @ w, w, np.zeros(6), r, EPS)
    np.testing.assert_allclose(maps(model, image), oracles.epsilon(image, w, np.zeros(6), r, EPS), rtol=1e-10)


def test_max_pooling_equals_the_hand_vector() -> None:
    v = VECTORS["max_pool_2x2_stride_1"]
    x = keras.Input((3, 3, 1), dtype="float64")
    model = headed([x], float64(layers.MaxPooling2D, 2, strides=1)(x))
    image, won = np.array(v["a"], dtype=float)[..., None], np.array([10.0, 6.0, 10.0, 9.0])
    kernel = np.zeros((4, 3))
    kernel[:, 0] = np.ravel(v["R"]) / won  # so that the features' relevance is the vector's R
    model.layers[-1].set_weights([kernel])
    got = everywhere(Zero()).fit(model).analyze(image[None], target=0).relevance[0, ..., 0]
    np.testing.assert_allclose(got, v["R_in"], rtol=1e-10)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_max_pooling_ties_go_to_the_first_in_row_major_order(padding: str) -> None:
    x = keras.Input((4, 4, 2), dtype="float64")
    model = headed([x], float64(layers.MaxPooling2D, 2, padding=padding)(x))
    got = everywhere(Zero()).fit(model).analyze(np.ones((1, 4, 4, 2)), target=0).relevance[0]
    w = np.asarray(model.layers[-1].kernel)[:, 0].reshape(2, 2, 2)
    np.testing.assert_allclose(got[::2, ::2], w, rtol=1e-10)
    got[::2, ::2] = 0
    np.testing.assert_array_equal(got, 0)


HAND = {
    "zero": Zero(),
    "alpha1_beta0_negative_bias": AlphaBeta(1, 0),
    "alpha2_beta1_negative_bias": AlphaBeta(2, 1),
    "z_plus": ZPlus(),
    "z_plus_negative_input": ZPlus(),
    "w_square_bias_ignored": WSquare(),
    "flat": Flat(),
}


@pytest.mark.parametrize("name", HAND)
def test_rule_equals_the_hand_vector(name: str) -> None:
    v = VECTORS[name]
    a, w, b, r = (np.array(v[key], dtype=float) for key in ("a", "W", "b", "R"))
    x = keras.Input(a.shape, dtype="float64")
    under, head = float64(layers.Dense, len(b)), float64(layers.Dense, 1, use_bias=False)
    model = keras.Model(x, head(under(x)))
    under.set_weights([w.T, b])
    head.set_weights([(r / (w @ a + b))[:, None]])  # so that the layer's relevance is the vector's R
    preset = compose("test", Zero(), HAND[name], HAND[name], rest=structure())
    got = create_analyzer("lrp", preset=preset).fit(model).analyze(a[None], target=0).relevance[0]
    np.testing.assert_allclose(got, v["R_in"], rtol=1e-10)


@pytest.mark.parametrize(
    "rule",
    [Zero(), Epsilon(), Gamma(), AlphaBeta(1, 0), AlphaBeta(2, 1), ZPlus(), WSquare(), Flat(), ZBox(-1, 1)],
    ids=lambda rule: type(rule).__name__,
)
@pytest.mark.parametrize("image", [np.zeros(4), np.ones(4), -np.ones(4)], ids=["zeros", "ones", "minus_ones"])
def test_no_rule_returns_inf_or_nan(rule: Rule, image: np.ndarray) -> None:
    x = keras.Input((4,), dtype="float64")
    under = float64(layers.Dense, 3)
    model = headed([x], under(x))
    kernel = np.array([[1, 0, -1], [-1, 0, -1], [1, 0, -1], [-1, 0, -1]], dtype=float)  # z = 0, 0 and -4
    under.set_weights([kernel, np.zeros(3)])
    explanation = everywhere(rule).fit(model).analyze(image[None], target=0)
    assert np.isfinite(explanation.relevance).all()
    # nothing had to be hidden; AlphaBeta and ZPlus see no positive evidence for outputs that are not positive
    assert explanation.reason[0] in (None, "the target's logit is 0", "the map is zero everywhere")
