"""Activation maximisation: linear units whose best picture is known, and the mathematics of its priors."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explainers.errors import ExplainError
from explainers.methods.activation_maximization import (
    ActivationMaximization,
    filtered,
    spectrum,
    total_variation,
    total_variation_slope,
)

SIDE = 8


def linear_model(weights: np.ndarray) -> keras.Model:
    """Logits of a Dense layer on the flat picture; weights (h, w, c, k)."""
    inputs = keras.Input(weights.shape[:3])
    dense = keras.layers.Dense(weights.shape[-1], name="logits")
    model = keras.Model(inputs, dense(keras.layers.Flatten()(inputs)))
    dense.set_weights([weights.reshape(-1, weights.shape[-1]), np.zeros(weights.shape[-1])])
    return model


def plain(**given: object) -> ActivationMaximization:
    bare = {"low": -1.0, "high": 3.0, "jitter": 0, "total_variation": 0.0, "frequency": 0.0}
    bare |= {"norm": 0.0, "colours": False}
    return ActivationMaximization(**(bare | given))  # type: ignore[arg-type]


def test_the_best_picture_of_a_linear_class_has_the_signs_of_its_weights() -> None:
    weights = np.random.default_rng(0).normal(size=(SIDE, SIDE, 3, 4))
    made = plain(steps=200, rate=0.2).of_class(linear_model(weights), 2, n=2)
    assert made.pictures.shape == (2, SIDE, SIDE, 3)
    best = np.where(weights[..., 2] > 0, 3.0, -1.0)
    np.testing.assert_allclose(made.pictures, np.broadcast_to(best, made.pictures.shape), atol=0.05)
    highest = (best * weights[..., 2]).sum()
    assert made.activation[-1] == pytest.approx(highest, rel=0.01)
    assert made.activation.shape == (201, 2)


def test_a_channel_of_a_layer_by_its_own_filter() -> None:
    """A 1 x 1 convolution that likes red and hates blue: the best picture is red everywhere."""
    inputs = keras.Input((SIDE, SIDE, 3))
    conv = keras.layers.Conv2D(2, 1, activation="relu", name="colour")
    out = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(conv(inputs)))
    model = keras.Model(inputs, out)
    conv.set_weights([np.array([[[[1.0, 0], [0, 1], [-1, 0]]]]), np.zeros(2)])
    made = plain(steps=150, rate=0.2).of_channel(model, "colour", 0)
    red, _, blue = np.moveaxis(made.pictures[0], -1, 0)
    np.testing.assert_allclose(red, 3, atol=0.05)
    np.testing.assert_allclose(blue, -1, atol=0.05)


def test_pictures_stay_in_the_range_of_each_channel_and_seeds_repeat_them() -> None:
    weights = np.random.default_rng(1).normal(size=(SIDE, SIDE, 3, 2))
    model = linear_model(weights)
    method = ActivationMaximization((-2.0, 0.0, 1.0), (-1.0, 5.0, 1.5), steps=20, jitter=3)
    made = method.of_class(model, 0)
    assert np.all(made.pictures >= np.float32(method.low) - 1e-6)
    assert np.all(made.pictures <= np.float32(method.high) + 1e-6)
    np.testing.assert_array_equal(made.pictures, method.of_class(model, 0).pictures)
    other = ActivationMaximization(method.low, method.high, steps=20, jitter=3, seed=1).of_class(model, 0)
    assert not np.array_equal(made.pictures, other.pictures)


def test_total_variation_makes_a_picture_smoother() -> None:
    model = linear_model(np.random.default_rng(2).normal(size=(SIDE, SIDE, 1, 2)))
    rough, smooth = (
        total_variation(plain(steps=60, total_variation=w).of_class(model, 0).pictures.astype(float))
        for w in (0.0, 3.0)
    )
    assert smooth < 0.7 * rough


@given(st.integers(0, 2**31), st.floats(0, 2), st.tuples(st.integers(2, 9), st.integers(2, 9)))
def test_the_filter_is_its_own_adjoint(seed: int, exponent: float, size: tuple[int, int]) -> None:
    p, q = np.random.default_rng(seed).normal(size=(2, 1, *size, 2))
    scale = spectrum(*size, exponent)
    assert (filtered(p, scale) * q).sum() == pytest.approx((p * filtered(q, scale)).sum(), abs=1e-9)


def test_the_filter_leaves_white_noise_as_strong_as_it_was() -> None:
    noise = np.random.default_rng(3).normal(size=(40, 32, 32, 1))
    assert filtered(noise, spectrum(32, 32, 1.0)).std() == pytest.approx(1, abs=0.1)


@given(st.integers(0, 2**31))
def test_the_slope_of_the_total_variation_is_its_derivative(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, along = rng.normal(size=(2, 1, 5, 4, 2))
    slope = total_variation_slope(x)
    step = 1e-5
    numeric = (total_variation(x + step * along) - total_variation(x - step * along))[0] / (2 * step)
    # the slope is given over its mean size; a second direction removes that factor
    other = slope / np.abs(slope).sum()
    reference = (total_variation(x + step * other) - total_variation(x - step * other))[0] / (2 * step)
    factor = reference / (slope * other).sum()
    assert numeric == pytest.approx(factor * (slope * along).sum(), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda model: plain().of_class(model, 9), "unit 9 of .* is out of range; valid: 0 to 1"),
        (
            lambda model: plain().of_channel(model, "conv", 0),
            "layer 'conv': there is no such layer; layers: ",
        ),
        (lambda model: plain(steps=0), "steps: received 0; valid: a whole number, 1 or more"),
        (lambda model: plain(low=4.0), "low and high: received"),
        (lambda model: plain().of_class(model, 0, n=0), "n: received 0"),
    ],
)
def test_what_there_is_not_is_said_in_one_line(wrong, said: str) -> None:
    model = linear_model(np.zeros((SIDE, SIDE, 1, 2)) + 1)
    with pytest.raises(ExplainError, match=said):
        wrong(model)


def test_natural_colours_are_mostly_grey_and_the_best_picture_stays_the_best() -> None:
    weights = np.random.default_rng(4).normal(size=(SIDE, SIDE, 3, 2))
    model = linear_model(weights)
    made = plain(steps=400, rate=0.2, colours=True).of_class(model, 0)
    best = np.where(weights[..., 0] > 0, 3.0, -1.0)
    assert made.activation[-1] == pytest.approx((best * weights[..., 0]).sum(), rel=0.02)
    noise = plain(steps=1, rate=1e-9, colours=True).of_class(model, 0, n=16).pictures
    between = np.corrcoef(noise.reshape(-1, 3).T)
    assert between[np.triu_indices(3, 1)].min() > 0.6


def test_the_norm_keeps_pictures_from_the_ends_of_the_range() -> None:
    model = linear_model(np.random.default_rng(5).normal(size=(SIDE, SIDE, 1, 2)))
    far, near = (np.abs(plain(steps=200, norm=w).of_class(model, 0).pictures - 1).mean() for w in (0.0, 1.0))
    assert near < 0.8 * far
