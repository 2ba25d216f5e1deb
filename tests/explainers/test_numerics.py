"""Weights and inputs from 1e-30 to 1e30, denormals, zeros, one huge pixel: finite maps, or a reason."""

from __future__ import annotations

from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explainers import create_analyzer, list_methods
from explainers.analyzer import ZERO_MAP as OURS
from explainers.errors import InvalidInput
from explainers.network import network
from pipeline.measure.metrics import ZERO_MAP
from tests.explainers.test_conformance import CHEAP, METHODS, RANGE, SHAPE, images

layers = keras.layers
DATA = [info.name for info in list_methods() if "data" in info.needs]
WIDE = {"low": -2e30, "high": 2e30}  # for methods that are given the range of the input
SCALES = (0.0, 1e-30, 1e-10, 1.0, 1e10)


@cache
def model(scale: float) -> keras.Model:
    """A convolution, max-pooling and two dense layers whose weights are of this size."""
    x = keras.Input(SHAPE)
    t = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    t = layers.Dense(6, activation="relu")(layers.Flatten()(layers.MaxPooling2D(2)(t)))
    made = keras.Model(x, layers.Dense(3, activation="softmax")(t))
    rng = np.random.default_rng(2)
    made.set_weights([(rng.normal(size=w.shape) * scale).astype("float32") for w in made.get_weights()])
    return made


@cache
def fitted(method: str, scale: float) -> Any:
    given = CHEAP[method]
    params = given | WIDE if RANGE.items() <= given.items() else given
    return create_analyzer(method, **params).fit(model(scale), images(20, seed=7) if method in DATA else None)


def inputs() -> np.ndarray:
    """Sizes 1e-30, denormal, 0, 1, 1e30, and one huge pixel."""
    base = np.random.default_rng(1).uniform(-1, 1, SHAPE).astype("float32")
    pixel = base.copy()
    pixel[3, 3] = 1e30
    return np.stack([base * np.float32(s) for s in (1e-30, 1e-40, 0, 1, 1e30)] + [pixel])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", SCALES)
def test_maps_are_finite_or_there_is_a_reason(method: str, scale: float) -> None:
    if method.startswith("pattern") and scale == 1e10:
        with pytest.raises(InvalidInput, match=r"^pattern_\w+: products of .* are not finite[^\n]*$"):
            fitted(method, scale)
        return
    e = fitted(method, scale).analyze(inputs())
    assert np.isfinite(e.relevance).all()
    assert [reason is None for reason in e.reason] == [bool(row.any()) for row in e.relevance]


@pytest.mark.parametrize("scale", [1e20, 1e30])
def test_a_model_that_overflows_is_refused_in_one_line(scale: float) -> None:
    with pytest.raises(InvalidInput, match=r"^the model's outputs are not finite[^\n]*$"):
        network(model(scale))


def test_a_zero_map_has_one_reason_in_maps_and_tables() -> None:
    assert OURS == ZERO_MAP


@settings(max_examples=25, deadline=None)
@given(
    method=st.sampled_from([m for m in METHODS if m.startswith(("lrp", "grad", "deep_t", "guided", "exc"))]),
    scale=st.sampled_from(SCALES),
    exponents=st.lists(st.floats(-45, 30), min_size=2, max_size=2),
    seed=st.integers(0, 5),
)
def test_pixels_of_many_sizes_in_one_image(
    method: str, scale: float, exponents: list[float], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sizes = 10.0 ** rng.uniform(min(exponents), max(exponents), (6, *SHAPE))
    x = (rng.choice([-1, 0, 1], sizes.shape) * sizes).astype("float32")
    e = fitted(method, scale).analyze(x)
    assert np.isfinite(e.relevance).all()
    assert [reason is None for reason in e.reason] == [bool(row.any()) for row in e.relevance]
