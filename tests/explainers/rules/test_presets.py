"""Every registered LRP preset is the rule by layer that its name says, against a map by hand;
every rule of nodes with weights is in some table of rules that is tested."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import keras
import numpy as np
import pytest

from explainers import create_analyzer, list_methods, rules
from explainers.rules import Epsilon, Gradient, Rule, ZBox
from explainers.rules.presets import InputLayer, compose, structure
from tests import oracles
from tests.explainers.rules.test_oracle_rules import PAIRS
from tests.explainers.rules.test_profiles import (
    alpha_beta,
    epsilon,
    first_wins,
    image,
    model,
    plus,
    reference,
)
from tests.oracles import Array

layers = keras.layers
LOW, HIGH = -4.0, 4.0
gamma = oracles.gamma
box = partial(oracles.z_box, low=LOW, high=HIGH)
eps = epsilon(1e-6)


def probability() -> float:
    logits = np.asarray(model()(image()[None]))[0]
    return float(np.exp(logits[0]) / np.exp(logits).sum() / logits[0])  # as a factor of the logit


def by(dense: Callable[..., Array], conv: Callable[..., Array], first: Callable[..., Array]) -> Array:
    return reference(conv, dense, first_wins, True, first)


PRESETS: dict[str, Callable[[], Array]] = {
    "lrp.zero": lambda: by(oracles.zero, oracles.zero, oracles.zero),
    "lrp.epsilon": lambda: by(eps, eps, eps),
    "lrp.gamma": lambda: by(gamma, gamma, gamma),
    "lrp.z_plus": lambda: by(plus("none"), plus("none"), plus("none")),
    "lrp.w_square": lambda: by(oracles.w_square, oracles.w_square, oracles.w_square),
    "lrp.flat": lambda: by(oracles.flat, oracles.flat, oracles.flat),
    "lrp.alpha_1_beta_0": lambda: by(alpha_beta(1), alpha_beta(1), alpha_beta(1)),
    "lrp.alpha_2_beta_1": lambda: by(alpha_beta(2), alpha_beta(2), alpha_beta(2)),
    "lrp.preset_a": lambda: by(eps, alpha_beta(1), alpha_beta(1)),
    "lrp.star": lambda: by(eps, alpha_beta(1), alpha_beta(1)),
    "lrp.preset_b": lambda: by(eps, alpha_beta(2), alpha_beta(2)),
    "lrp.preset_a_flat": lambda: by(eps, alpha_beta(1), oracles.flat),
    "lrp.preset_b_flat": lambda: by(eps, alpha_beta(2), oracles.flat),
    "lrp.epsilon_gamma_box": lambda: by(eps, gamma, box),
    "deep_taylor": lambda: by(plus("none"), plus("none"), oracles.w_square),
    "deep_taylor.bounded": lambda: by(plus("none"), plus("none"), box),
    "excitation_backprop": lambda: probability() * by(plus("none"), plus("none"), plus("none")),
}


def test_every_registered_preset_and_alias_is_tested() -> None:
    registered = {n for info in list_methods() if info.family == "lrp" for n in (info.name, *info.aliases)}
    assert registered - {"lrp"} == set(PRESETS)  # `lrp` takes a preset of one's own


def test_every_rule_is_compared_with_its_matrix_form() -> None:
    registered = {
        value
        for value in vars(rules).values()
        if isinstance(value, type) and issubclass(value, Rule) and value.weighted
    }
    tested = {type(pair.rule) for pair in PAIRS.values()}
    assert registered - tested == {Gradient}  # the framework's own gradient is its oracle elsewhere


@pytest.mark.parametrize("name", PRESETS)
def test_preset(name: str) -> None:
    needs = next((i.needs for i in list_methods() if name in (i.name, *i.aliases)), ())
    analyzer = create_analyzer(name, **({"low": LOW, "high": HIGH} if "low" in needs else {}))
    explanation = analyzer.fit(model()).analyze(image()[None], target=0)
    assert explanation.output[0, 0] > 0, "deep Taylor decomposition needs a positive logit"
    want = PRESETS[name]()
    assert np.linalg.norm(explanation.relevance[0] - want) <= 1e-8 * np.linalg.norm(want)


def test_deep_taylor_of_a_negative_logit_says_so() -> None:
    x = keras.Input((2,))
    small = keras.Model(x, layers.Dense(2, use_bias=False)(x))
    small.layers[-1].set_weights([np.array([[1.0, -1.0], [1.0, -1.0]])])
    for name, bounds in (("deep_taylor", {}), ("deep_taylor.bounded", {"low": 0.0, "high": 2.0})):
        e = create_analyzer(name, **bounds).fit(small).analyze(np.ones((2, 2)), target=[0, 1])
        assert e.reason[0] is None
        assert "not defined for a negative target logit (-2)" in str(e.reason[1])
        assert e.relevance[0].any()
        assert not e.relevance[1].any()


def test_excitation_starts_at_the_sigmoid_where_that_was_the_output() -> None:
    x = keras.Input((2,))
    small = keras.Model(x, layers.Dense(2, activation="sigmoid", use_bias=False)(x))
    small.layers[-1].set_weights([np.array([[1.0, 0.5], [1.0, 2.0]])])
    e = create_analyzer("excitation_backprop").fit(small).analyze(np.ones((1, 2)), target=1)
    np.testing.assert_allclose(e.relevance.sum(), 1 / (1 + np.exp(-2.5)), rtol=1e-5)


@pytest.mark.parametrize("own", [False, True], ids=["by_name", "own_preset"])
def test_the_bounds_of_the_box_go_through_the_preparation_of_the_input(own: bool) -> None:
    """Bounds 0..255 of pixels; the convolution behind rescaling, normalisation and padding sees others."""
    keras.utils.set_random_seed(0)
    options = {"dtype": "float64"}
    x = keras.Input((4, 4, 2), **options)
    t = layers.Rescaling(-1 / 255, offset=1.0, **options)(x)
    t = layers.Normalization(mean=[0.25, 0.5], variance=[0.25, 4.0], **options)(t)
    conv = layers.Conv2D(3, 3, padding="same", **options)
    head = layers.Dense(2, **options)
    small = keras.Model(x, head(layers.Flatten(**options)(conv(t))))
    pixels = np.random.default_rng(0).uniform(0, 255, (4, 4, 2))
    rule = ZBox(0.0, 255.0)
    preset = compose("own", Epsilon(), Epsilon(), rule, structure())
    if not own:
        analyzer = create_analyzer("lrp.epsilon_gamma_box", low=0.0, high=255.0)
    else:
        analyzer = create_analyzer("lrp", preset=preset.before((InputLayer(), rule)))
    got = analyzer.fit(small).analyze(pixels[None], target=0).relevance[0].reshape(-1)

    std, mean = np.array([0.5, 2.0]), np.array([0.25, 0.5])
    a = ((1 - pixels / 255 - mean) / std).reshape(-1)
    low, high = (np.tile((v - mean) / std, 16) for v in (0.0, 1.0))
    apply = keras.Model(t, conv.output)
    bias = np.tile(np.asarray(conv.bias), 16)
    w = oracles.unroll(lambda v: np.asarray(apply(v)).reshape(len(v), -1) - bias, (4, 4, 2))
    z = a @ w + bias
    top, b = (np.asarray(v) for v in head.get_weights())
    r = oracles.epsilon(z, top, b, np.array([(z @ top + b)[0], 0.0]))
    np.testing.assert_allclose(got, oracles.z_box(a, w, bias, r, low, high), rtol=1e-8)
