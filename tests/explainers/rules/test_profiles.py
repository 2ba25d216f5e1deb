"""The profiles and `flat_until`: what each library's conventions change, against formulas written here."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import keras
import numpy as np
import pytest

from explainers import create_analyzer
from explainers.methods.lrp import PROFILES
from tests import oracles
from tests.oracles import Array, divide, negative, positive, unroll

layers = keras.layers
SHAPE = (4, 4, 2)


@cache
def model() -> keras.Model:
    """float64: convolution, BatchNorm, ReLU, max-pooling with ties, convolution, dense."""
    keras.utils.set_random_seed(4)
    options = {"dtype": "float64"}
    x = keras.Input(SHAPE, **options)
    t = layers.Conv2D(3, 1, name="one", **options)(x)
    t = layers.ReLU(**options)(layers.BatchNormalization(name="bn", **options)(t))
    t = layers.MaxPooling2D(2, name="pool", **options)(t)
    t = layers.Conv2D(3, 2, activation="relu", name="two", **options)(t)
    made = keras.Model(x, layers.Dense(2, name="top", **options)(layers.Flatten(**options)(t)))
    rng = np.random.default_rng(2)
    for variable in made.weights:
        value = rng.normal(size=variable.shape)
        variable.assign(np.abs(value) + 0.5 if "variance" in variable.name else value)
    return made


def image() -> Array:
    """Constant in the left half: the pooling there has ties."""
    x = np.random.default_rng(1).normal(size=SHAPE)
    x[:, :2] = 0.3
    return x


def both_signs(a: Array, w: Array, b: Array, r: Array, alpha: float, beta: float) -> Array:
    """AlphaBeta with the whole bias in either denominator (iNNvestigate 2)."""
    c = a[:, None] * w
    up = positive(c) @ divide(r, positive(c).sum(0) + b)
    down = negative(c) @ divide(r, negative(c).sum(0) + b)
    return alpha * up - beta * down


def share_ties(a: Array, r: Array) -> Array:
    """2x2 max-pooling: equal shares among the largest (LRP toolbox)."""
    out = np.zeros_like(a)
    for y, x, c in np.ndindex(*r.shape):
        window = a[2 * y : 2 * y + 2, 2 * x : 2 * x + 2, c]
        wins = window == window.max()
        out[2 * y : 2 * y + 2, 2 * x : 2 * x + 2, c] += wins * r[y, x, c] / wins.sum()
    return out


def first_wins(a: Array, r: Array) -> Array:
    return oracles.max_pool(a, r, (2, 2), (2, 2))


def linear(name: str, a: Array) -> tuple[Array, Array]:
    """Matrix and bias of a layer, for inputs like ``a``."""
    layer = model().get_layer(name)
    bias = np.asarray(layer.bias)
    before = keras.Sequential([keras.Input(a.shape, dtype="float64"), copy(layer)])
    before.set_weights(layer.get_weights())
    zero = np.asarray(before(np.zeros((1, *a.shape))))
    shape = zero.shape[1:]
    return unroll(lambda v: np.asarray(before(v)) - zero, a.shape), np.broadcast_to(bias, shape).reshape(-1)


def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
    """The same layer without its activation."""
    return type(layer).from_config({**layer.get_config(), "activation": "linear"})


Rule = Callable[[Array, Array, Array, Array], Array]


def reference(
    conv: Rule, dense: Rule, pool: Callable[..., Array], fold: bool, first: Rule | None = None
) -> Array:
    """The map of logit 0, layer by layer."""
    x, bn = image(), model().get_layer("bn")
    gamma, beta, mean, variance = (np.asarray(v) for v in bn.get_weights())
    g = gamma / np.sqrt(variance + bn.epsilon)
    w1, b1 = linear("one", x)
    z1 = (x.reshape(-1) @ w1 + b1).reshape(4, 4, 3)
    a1 = np.round(positive(z1 * g + beta - mean * g), 12)  # equal pixels are equal, not nearly so
    pooled = a1.reshape(2, 2, 2, 2, 3).max((1, 3))
    w2, b2 = linear("two", pooled)
    a2 = positive(pooled.reshape(-1) @ w2 + b2)
    w3, b3 = linear("top", a2)
    r = np.array([(a2 @ w3 + b3)[0], 0.0])
    r = conv(pooled.reshape(-1), w2, b2, dense(a2, w3, b3, r)).reshape(pooled.shape)
    r = pool(a1, r)
    spread, shift = np.tile(g, 16), np.tile(beta - mean * g, 16)
    first = first or conv
    if fold:
        return first(x.reshape(-1), w1 * spread, b1 * spread + shift, r.reshape(-1)).reshape(SHAPE)
    r = dense(z1.reshape(-1), np.diag(spread), shift, r.reshape(-1))
    return first(x.reshape(-1), w1, b1, r).reshape(SHAPE)


def alpha_beta(alpha: float) -> Rule:
    return lambda a, w, b, r: oracles.alpha_beta(a, w, b, r, alpha, alpha - 1)


def epsilon(eps: float) -> Rule:
    return lambda a, w, b, r: oracles.epsilon(a, w, b, r, eps)


def alike(alpha: float) -> Rule:
    return lambda a, w, b, r: both_signs(a, w, b, r, alpha, alpha - 1)


def plus(bias: str) -> Rule:
    """ZPlus by what of the bias stands in its denominator."""
    part = {"none": np.zeros_like, "signed": positive}[bias]
    return lambda a, w, b, r: positive(a[:, None] * w) @ divide(r, positive(a[:, None] * w).sum(0) + part(b))


CASES: dict[tuple[str, str], Callable[[], Array]] = {
    ("lrp.preset_a", "textbook"): lambda: reference(alpha_beta(1), epsilon(1e-6), first_wins, True),
    ("lrp.preset_b", "textbook"): lambda: reference(alpha_beta(2), epsilon(1e-6), first_wins, True),
    ("lrp.z_plus", "textbook"): lambda: reference(plus("none"), plus("none"), first_wins, True),
    ("lrp.preset_a", "zennit"): lambda: reference(alpha_beta(1), epsilon(1e-6), first_wins, True),
    ("lrp.z_plus", "zennit"): lambda: reference(plus("signed"), plus("signed"), first_wins, True),
    ("lrp.epsilon", "zennit"): lambda: reference(epsilon(1e-6), epsilon(1e-6), first_wins, True),
    ("lrp.preset_a", "innvestigate_2"): lambda: reference(alike(1), epsilon(0.1), first_wins, False),
    ("lrp.preset_b", "innvestigate_2"): lambda: reference(alike(2), epsilon(0.1), first_wins, False),
    ("lrp.z_plus", "innvestigate_2"): lambda: reference(plus("none"), plus("none"), first_wins, False),
    ("lrp.epsilon", "innvestigate_2"): lambda: reference(epsilon(1e-7), epsilon(1e-7), first_wins, False),
    ("lrp.preset_b", "lrp_toolbox"): lambda: reference(alpha_beta(2), epsilon(1e-16), share_ties, True),
    ("lrp.epsilon", "lrp_toolbox"): lambda: reference(epsilon(1e-16), epsilon(1e-16), share_ties, True),
    ("lrp.preset_a_flat", "lrp_toolbox"): lambda: reference(
        alpha_beta(1), epsilon(1e-16), share_ties, True, oracles.flat
    ),
}


@pytest.mark.parametrize(("method", "profile"), CASES)
def test_profile(method: str, profile: str) -> None:
    fitted = create_analyzer(method, profile=profile).fit(model())
    got = fitted.analyze(image()[None], target=0).relevance[0]
    want = CASES[method, profile]()
    assert np.linalg.norm(got - want) <= 1e-8 * np.linalg.norm(want)


def test_every_profile_is_tested_and_the_ties_of_the_image_matter() -> None:
    assert {profile for _, profile in CASES} == set(PROFILES)
    one, other = (reference(alpha_beta(2), epsilon(1e-6), pool, True) for pool in (first_wins, share_ties))
    assert np.linalg.norm(one - other) > 1e-3 * np.linalg.norm(one)


def test_eps_given_by_hand_wins_over_the_profile() -> None:
    fitted = create_analyzer("lrp.preset_a", eps=0.5, profile="innvestigate_2").fit(model())
    got = fitted.analyze(image()[None], target=0).relevance[0]
    # the BatchNorm is a dense-like node too
    np.testing.assert_allclose(
        got, reference(alike(1), epsilon(0.5), first_wins, False), rtol=1e-7, atol=1e-9
    )


@pytest.mark.parametrize("method", ["lrp.preset_a_flat", "lrp.preset_b_flat"])
def test_flat_up_to_a_node(method: str) -> None:
    """Flat at every linear node from the input to `flat_until`, the preset's rules behind it."""
    alpha = 1 if method == "lrp.preset_a_flat" else 2

    def explain(until: str | None) -> Array:
        fitted = create_analyzer(method, flat_until=until).fit(model())
        return fitted.analyze(image()[None], target=0).relevance[0]

    only_first = reference(alpha_beta(alpha), epsilon(1e-6), first_wins, True, oracles.flat)
    both = reference(oracles.flat, epsilon(1e-6), first_wins, True, oracles.flat)
    everything = reference(oracles.flat, oracles.flat, first_wins, True)
    for until, want in ((None, only_first), ("one", only_first), ("two", both), ("top", everything)):
        np.testing.assert_allclose(explain(until), want, rtol=1e-7, atol=1e-10, err_msg=str(until))
