"""What cannot be explained says so in one line: what was received, what is valid, what to do."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest

from explainers import ExplainError, create_analyzer, register_kind
from explainers.errors import InvalidInput, InvalidParameter, UnsupportedLayer, UntraceableModel
from explainers.rules import AlphaBeta, Epsilon, ZBox
from explainers.rules.presets import Kinds, compose, structure

layers = keras.layers


class Subclassed(keras.Model):
    """A model that is only code."""

    def __init__(self) -> None:
        super().__init__(name="mine")
        self.top = layers.Dense(2)

    def call(self, x: Any) -> Any:
        return self.top(x)


class Swirl(layers.Layer):
    """Nobody knows what it does."""

    def call(self, x: Any) -> Any:
        return x * keras.ops.flip(x, axis=-1)


def chain(*parts: Any, shape: tuple[int, ...] = (4,)) -> keras.Model:
    x = t = keras.Input(shape)
    for part in parts:
        t = part(t)
    return keras.Model(x, t)


@cache
def small() -> keras.Model:
    keras.utils.set_random_seed(0)
    return chain(layers.Conv2D(3, 3), layers.Flatten(), layers.Dense(3), shape=(6, 6, 2))


def with_subclassed_part() -> keras.Model:
    return chain(layers.Dense(4), Subclassed())


def with_nan(name: str) -> keras.Model:
    norm = layers.LayerNormalization(name="norm")
    attention = layers.MultiHeadAttention(2, 3, name="attention")
    x = keras.Input((4, 5))
    t = norm(x)
    t = layers.Dense(2, name="top")(layers.Flatten()(attention(t, t)))
    model = keras.Model(x, t)
    variable = next(v for v in model.weights if v.path.startswith(name))
    value = np.array(variable)
    value.flat[0] = np.nan
    variable.assign(value)
    return model


MODELS: list[tuple[Callable[[], Any], type[ExplainError], str]] = [
    (
        Subclassed,
        UntraceableModel,
        r"model 'mine' \(Subclassed\) is subclassed and has no graph; valid",
    ),
    (with_subclassed_part, UntraceableModel, r"\(Subclassed\) is subclassed and has no graph"),
    (
        lambda: chain(layers.Dense(4), Swirl(name="swirl"), layers.Dense(2)),
        UnsupportedLayer,
        r"preset 'lrp.preset_a' has no rule for node 'swirl' \(Swirl\); kinds with a rule: .*dense.*; "
        r"add a \(condition, rule\) pair or register the layer's kind",
    ),
    (
        lambda: chain(layers.Conv2D(2, 3), shape=(6, 6, 2)),
        UntraceableModel,
        r"has shape \(None, 4, 4, 2\); valid: one row of class scores per image",
    ),
    (
        lambda: chain(layers.Softmax(axis=1), layers.Flatten(), layers.Dense(2), shape=(4, 3)),
        UnsupportedLayer,
        r"softmax over axis 1; only the last axis is supported",
    ),
    (
        lambda: chain(layers.Dense(4, activation="sparsemax", name="odd"), layers.Dense(2)),
        UnsupportedLayer,
        r"node 'odd/mixing sparsemax' .*activation 'sparsemax' is not element-wise",
    ),
    (
        lambda: chain(layers.BatchNormalization(axis=1), layers.Flatten(), layers.Dense(2), shape=(4, 3)),
        UnsupportedLayer,
        r"BatchNormalization over axis 1; only the last axis is supported",
    ),
    (lambda: with_nan("norm"), InvalidInput, r"weights of node 'norm' \(LayerNormalization\) hold 1 nan"),
    (lambda: with_nan("attention"), InvalidInput, r"weights of node 'attention' .* hold 1 nan"),
    (lambda: with_nan("top"), InvalidInput, r"weights of node 'top' \(Dense\) hold 1 nan or infinite values"),
]


@pytest.mark.parametrize(("make", "error", "message"), MODELS)
def test_model(make: Callable[[], Any], error: type[ExplainError], message: str) -> None:
    analyzer = create_analyzer("lrp.preset_a")
    with pytest.raises(error, match=message) as caught:
        analyzer.fit(make())
    assert "\n" not in str(caught.value)


def test_an_unsupported_layer_carries_its_fields() -> None:
    with pytest.raises(UnsupportedLayer) as caught:
        create_analyzer("lrp.epsilon").fit(chain(Swirl(name="swirl"), layers.Dense(2)))
    error = caught.value
    assert (error.preset, error.node, error.layer) == ("lrp.epsilon", "swirl", "Swirl")
    assert {"dense", "conv", "add", "activation"} <= set(error.known)


INPUTS: list[tuple[Any, str]] = [
    (np.zeros((2, 6, 6, 3)), r"has shape \(2, 6, 6, 3\); valid: \(b, 6, 6, 2\)"),
    (np.zeros((6, 6, 2)), r"has shape \(6, 6, 2\); valid: \(b, 6, 6, 2\)"),
    (np.zeros((0, 6, 6, 2)), "is an empty batch; valid: at least one image"),
    (np.zeros((1, 6, 6, 2), complex), "has dtype complex128; valid: a floating-point or integer dtype"),
    (np.zeros((1, 6, 6, 2), bool), "has dtype bool; valid"),
    (np.full((3, 6, 6, 2), [[[[np.nan, 0]]]]), r"holds nan or infinite values in rows \[0, 1, 2\]"),
    (np.full((1, 6, 6, 2), np.inf), "holds nan or infinite values"),
    ({"other": np.zeros((1, 6, 6, 2))}, "is missing; the model's inputs: "),
]


@pytest.mark.parametrize(("x", "message"), INPUTS)
def test_images(x: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        create_analyzer("lrp.preset_a").fit(small()).analyze(x)


TARGETS: list[tuple[Any, str]] = [
    (3, "target 3 is out of range; valid: 0 to 2"),
    (-1, "target -1 is out of range; valid: 0 to 2"),
    ([0, 7], "target 7 is out of range"),
    ([0, 1, 2], r"target is int64 of shape \(3,\); valid: .* one class per image \(shape \(2,\)\)"),
    (1.0, "target is float64"),
    ("cat", "target is <U3"),
    (lambda output: output, r"target function gives shape \(2, 3\); valid: one number per image, \(2,\)"),
    (lambda output: keras.ops.argmax(output, axis=1) + 3, r"out of range; valid: 0 to 2"),
]


@pytest.mark.parametrize(("target", "message"), TARGETS)
def test_target(target: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        create_analyzer("lrp.preset_a").fit(small()).analyze(np.ones((2, 6, 6, 2)), target)


PARAMETERS: list[tuple[Callable[[], Any], str]] = [
    (lambda: AlphaBeta(2, 2), "alpha - beta must be 1 with both >= 0, received alpha=2, beta=2"),
    (lambda: AlphaBeta(0.5, -0.5), "alpha - beta must be 1 with both >= 0, received alpha=0.5"),
    (lambda: AlphaBeta(1, 0, "half"), "bias must be 'signed', 'both' or 'none', received 'half'"),
    (lambda: ZBox(1, -1), "box bounds need low <= high, finite; received low=1, high=-1"),
    (lambda: ZBox(0, np.inf), "box bounds need low <= high, finite"),
    (lambda: create_analyzer("lrp.preset_a", profile="captum"), "'captum' is not known; valid: textbook"),
    (lambda: create_analyzer("lrp", preset="lrp.epsilon"), "preset must be a Preset, received str"),
    (lambda: create_analyzer("lrp.epsilon_gamma_box"), "needs the parameter 'low'; valid: low, high"),
    (
        lambda: create_analyzer("lrp.preset_a_flat", flat_until="nowhere").fit(small()),
        "flat_until: no node is named 'nowhere'; linear nodes: ",
    ),
    (
        lambda: create_analyzer("lrp.epsilon", rules=((Kinds("reshape"), Epsilon()),)).fit(small()),
        r"rule Epsilon\(eps=1e-06\) needs weights, and node 'flatten.*' \(Flatten, kind 'reshape'\) has none",
    ),
    (
        lambda: create_analyzer("lrp", preset=compose("p", Epsilon(), Epsilon(), Epsilon(), structure()),
                                start="half").fit(small()),
        "start must be one of logit, one, probability, received 'half'",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), PARAMETERS)
def test_parameter(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        call()


def test_a_kind_that_needs_weights_cannot_be_declared() -> None:
    with pytest.raises(ValueError, match="kind 'conv' is not known or needs weights; valid: activation"):
        register_kind(Swirl, "conv")


BOXES = {
    "lrp.epsilon_gamma_box": lambda low, high: create_analyzer("lrp.epsilon_gamma_box", low=low, high=high),
    "deep_taylor.bounded": lambda low, high: create_analyzer("deep_taylor.bounded", low=low, high=high),
    "own": lambda low, high: create_analyzer(
        "lrp", preset=compose("own", Epsilon(), Epsilon(), ZBox(low, high), structure())
    ),
}


@pytest.mark.parametrize("make", BOXES.values(), ids=list(BOXES))
@pytest.mark.parametrize(("low", "high"), [(-1.0, 0.5), (0.5, 2.0), ((-1.0, -1.0), (2.0, 0.5))])
def test_a_box_that_does_not_contain_the_input(make: Callable[..., Any], low: Any, high: Any) -> None:
    x = np.random.default_rng(0).uniform(0, 1, (2, 6, 6, 2))
    with pytest.raises(InvalidInput, match=r"the box \[.*\] does not contain the input, which spans \[0\.0"):
        make(low, high).fit(small()).analyze(x)
    make(0.0, 1.0).fit(small()).analyze(x)


def test_a_box_of_too_many_channels() -> None:
    analyzer = create_analyzer("lrp.epsilon_gamma_box", low=(0.0, 0.0, 0.0), high=(1.0, 1.0, 1.0))
    with pytest.raises(InvalidInput, match=r"bounds have shape \(3,\); valid: one number or one per channel"):
        analyzer.fit(small())
