"""What `hansaudit methods` and the tables say about a method's cost is what `plan` counts."""

from __future__ import annotations

import re
from functools import cache

import keras
import pytest

from explainers import list_methods, method_info, plan
from explainers.registry import example

layers = keras.layers

PRESETS = [info.name for info in list_methods() if not info.stated]
REPEATED = [
    info.name
    for info in list_methods()
    if info.stated and "preset" not in info.required and example(info.name).preset() is not None
]


@cache
def between_relus() -> keras.Model:
    """Convolutions between ReLUs do 99.5 % of the work: 3 x 16x16x8x72 of it, the first 16x16x8."""
    x = keras.Input((16, 16, 1))
    t = layers.Conv2D(8, 1, activation="relu")(x)
    for _ in range(3):
        t = layers.Conv2D(8, 3, padding="same", activation="relu")(t)
    return keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling2D()(t)))


@cache
def without_relu() -> keras.Model:
    """The input has both signs, and so has everything behind it."""
    x = keras.Input((8, 8, 2))
    t = layers.DepthwiseConv2D(3, padding="same", activation="tanh")(x)
    t = layers.Conv2D(4, 3, activation="tanh")(t)
    return keras.Model(x, layers.Dense(2)(layers.Flatten()(t)))


@cache
def dense() -> keras.Model:
    x = keras.Input((8,))
    return keras.Model(x, layers.Dense(3)(layers.Dense(5, activation="relu")(x)))


def said(method: str) -> tuple[float, float, float]:
    """Forward passes between ReLUs, the least and the most, from the words."""
    numbers = [float(n) for n in re.findall(r"\d+", method_info(method).cost.partition(";")[0])]
    return numbers[0], min(numbers), max(numbers)


@pytest.mark.parametrize("method", PRESETS)
def test_the_words_about_a_preset_are_what_the_plan_counts(method: str) -> None:
    between, least, most = said(method)
    assert plan(between_relus(), method).cost == pytest.approx(between, rel=0.02)
    for model in (between_relus(), without_relu(), dense()):
        cost = plan(model, method).cost
        assert cost is not None
        assert least - 1e-9 <= cost <= most + 1e-9


def test_the_most_is_reached_where_inputs_have_both_signs() -> None:
    """Two halves of the input with two kernels each, there and back: 1 + 2 * 2 * 2 passes."""
    x = keras.Input((8, 8, 2))
    model = keras.Model(x, layers.Dense(2)(layers.Flatten()(x)))
    assert plan(model, "lrp.alpha_2_beta_1").cost == said("lrp.alpha_2_beta_1")[2] == 9


@pytest.mark.parametrize("method", REPEATED)
def test_the_words_about_repeated_passes_are_what_the_plan_counts(method: str) -> None:
    """The words are a formula in the method's parameters; a gradient costs two passes."""
    formula = method_info(method).cost.removesuffix(" forward passes").replace(" x ", " * ")
    cost = plan(between_relus(), method).cost
    assert cost == pytest.approx(eval(formula, {}, example(method).get_config()))


def test_the_methods_that_say_their_cost_themselves_are_no_presets() -> None:
    assert {"lrp.z_plus", "gradient", "pattern_net"} <= set(PRESETS)
    assert {"deep_shap", "gradcam", "vargrad"} <= set(REPEATED)
