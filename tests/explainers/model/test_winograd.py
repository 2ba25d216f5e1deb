"""Wide convolutions, which on a CPU go through Winograd's algorithm, against plain sums in float64."""

from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explainers import create_analyzer, engine
from explainers.model import winograd
from explainers.model.linear import Conv
from tests.explainers import numpy_networks as reference
from tests.explainers.model.test_networks import distance, in_float64

layers, ops = keras.layers, keras.ops
WIDE = 96


@given(
    height=st.integers(3, 14), width=st.integers(3, 6), kernel_width=st.integers(1, 3),
    padding=st.sampled_from(["same", "valid"]), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_it_is_the_convolution(height: int, width: int, kernel_width: int, padding: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, w = rng.normal(size=(2, height, width, 5)), rng.normal(size=(3, kernel_width, 5, 4))
    got = np.asarray(
        winograd.convolve(ops.convert_to_tensor(a), ops.convert_to_tensor(winograd.transform(w)), padding)
    )
    low = [(k - 1) // 2 if padding == "same" else 0 for k in (3, kernel_width)]
    high = [k - 1 - n if padding == "same" else 0 for k, n in zip((3, kernel_width), low, strict=True)]
    padded = np.pad(a, ((0, 0), (low[0], high[0]), (low[1], high[1]), (0, 0)))
    expected = np.stack([reference.Convolution(w, np.zeros(4)).forward(x, w) for x in padded])
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= 1e-12 * np.abs(expected).max()


def test_only_where_it_pays() -> None:
    def is_changed(linear: Conv, *shape: int) -> bool:
        w = np.ones(shape, "float32")
        assert linear.is_fast(linear.fast(w)) == (linear.fast(w) is not w)
        return linear.is_fast(linear.fast(w))

    plain = Conv((3, 3), (1, 1), "same", (1, 1))
    assert is_changed(plain, 3, 3, WIDE, WIDE)
    assert not is_changed(plain, 3, 3, 16, 512)
    assert not is_changed(Conv((1, 1), (1, 1), "same", (1, 1)), 1, 1, WIDE, WIDE)
    assert not is_changed(Conv((3, 3), (2, 2), "same", (1, 1)), 3, 3, WIDE, WIDE)
    assert not is_changed(Conv((3, 3), (1, 1), "same", (2, 2)), 3, 3, WIDE, WIDE)
    assert not is_changed(Conv((3, 3), (1, 1), "same", (1, 1), groups=2), 3, 3, WIDE, 2 * WIDE)
    assert not is_changed(Conv((3, 3, 3), (1, 1, 1), "same", (1, 1, 1)), 3, 3, 3, WIDE, WIDE)


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    linear, w = Conv((3, 3), (1, 1), "same", (1, 1)), np.ones((3, 3, WIDE, WIDE), "float32")
    assert linear.is_fast(linear.flip(w, fast=True))
    monkeypatch.setenv("HANSAUDIT_WINOGRAD", "off")
    assert not linear.is_fast(linear.flip(w, fast=True))


def wide_model(use_bias: bool) -> keras.Model:
    x = keras.Input((12, 11, 3))
    t = layers.ReLU()(layers.Conv2D(WIDE, 3, padding="same", use_bias=use_bias, name="first")(x))
    t = layers.ReLU()(layers.Conv2D(WIDE, 3, padding="same", use_bias=use_bias, name="same")(t))
    t = layers.ReLU()(layers.Conv2D(WIDE, (3, 1), use_bias=use_bias, name="valid")(t))
    model = keras.Model(x, layers.Dense(5, name="logits")(layers.GlobalAveragePooling2D()(t)))
    rng = np.random.default_rng(5)
    model.set_weights(
        [
            (rng.normal(size=w.shape) * ((2 / np.prod(w.shape[:-1])) ** 0.5 if len(w.shape) > 1 else 0.1))
            .astype("float32")
            for w in model.weights
        ]
    )  # fmt: skip
    return model


def images() -> np.ndarray:
    """Noise, and the same with a black half: sums there are exactly zero where there is no bias."""
    x = np.random.default_rng(6).normal(size=(2, 12, 11, 3)).astype("float32")
    x[1, :, :6] = 0
    return x


def by_hand(model: keras.Model, x: np.ndarray, rule: reference.Rule) -> np.ndarray:
    def convolution(name: str, pad: int) -> reference.Convolution:
        kernel, *bias = (np.asarray(w, np.float64) for w in model.get_layer(name).get_weights())
        return reference.Convolution(kernel, bias[0] if bias else np.zeros(WIDE), pad=pad)

    nodes = [convolution("first", 1), convolution("same", 1), convolution("valid", 0)]
    values = [x.astype(np.float64)]
    for node in nodes:
        values.append(reference.relu(node(values[-1])))
    w, b = (np.asarray(v, np.float64) for v in model.get_layer("logits").get_weights())
    pooled = values[-1].mean((0, 1))
    logits = pooled @ w + b
    r = reference.dense_back(pooled, w, b, np.where(np.arange(5) == logits.argmax(), logits, 0.0), 1e-6)
    r = reference.global_average_back(values[-1], r)
    for node, a in zip(reversed(nodes), reversed(values[:-1]), strict=True):
        r = rule(node, a, r)
    return r


RULES = {
    "lrp.epsilon": reference.epsilon,
    "lrp.preset_a": partial(reference.alpha_beta, alpha=1.0, beta=0.0),
    "lrp.preset_b": partial(reference.alpha_beta, alpha=2.0, beta=1.0),
}


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("method", RULES)
def test_wide_network_equals_the_plain_sums(method: str, use_bias: bool) -> None:
    model, x = wide_model(use_bias), images()
    expected = np.array([by_hand(model, image, RULES[method]) for image in x])
    got = create_analyzer(method).fit(model).analyze(x).relevance
    assert distance(got, expected).max() < 1e-5
    double = create_analyzer(method).fit(in_float64(model)).analyze(x.astype("float64")).relevance
    assert distance(double, expected).max() < 1e-10
    # what rounding by neighbours could leave is nothing: no relevance where the image is zero
    assert np.all(got[1, :, :6] == 0)


@pytest.mark.parametrize("method", [*RULES, "gradient", "guided_backprop"])
def test_it_agrees_with_the_framework_s_convolution(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = wide_model(True), images()
    fast = create_analyzer(method).fit(model)
    maps = fast.analyze(x).relevance
    monkeypatch.setattr(engine, "pays_to_multiply_less", lambda: False)
    plain = create_analyzer(method).fit(model)

    def kernels(fitted: object) -> list[int]:
        constants = fitted.head.constants["same"]  # type: ignore[attr-defined]
        return [len(value.shape) for key, value in constants.items() if key.startswith(("t", "positive0"))]

    assert 5 in kernels(fast)
    assert 5 not in kernels(plain)
    assert distance(maps, plain.analyze(x).relevance).max() < 1e-5


@pytest.mark.parametrize("method", RULES)
def test_where_neighbouring_rows_differ_by_1e4_a_percent_can_be_lost_unless_switched_off(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = keras.Input((8, 4, WIDE))
    t = layers.Conv2D(WIDE, 3, padding="same", use_bias=False)(layers.ReLU()(x))
    top = layers.Dense(2, use_bias=False)(layers.Flatten()(layers.ReLU()(t)))
    model, rng = keras.Model(x, top), np.random.default_rng(5)
    weights = [rng.normal(size=w.shape) for w in model.weights]
    weights[1].reshape(8, 4, WIDE, 2)[2:] = 0  # only the two first rows count
    model.set_weights([w.astype("float32") for w in weights])
    image = np.abs(rng.normal(size=(2, 8, 4, WIDE))).astype("float32")
    image[:, 3] *= 1e4
    expected = create_analyzer(method).fit(in_float64(model)).analyze(image.astype("float64"), 0).relevance
    got = create_analyzer(method).fit(model).analyze(image, 0).relevance
    assert distance(got, expected).max() < 1e-2
    monkeypatch.setenv("HANSAUDIT_WINOGRAD", "off")
    plain = create_analyzer(method).fit(model).analyze(image, 0).relevance
    assert distance(plain, expected).max() < 1e-5


def test_a_sum_rounded_by_its_neighbours_is_never_taken_for_less_than_z() -> None:
    fitted = create_analyzer("lrp.preset_a").fit(wide_model(True))
    step = next(s for s in fitted.head.steps if s.site.node.name == "same")
    c, rng = fitted.head.constants["same"], np.random.default_rng(7)
    a = ops.convert_to_tensor(np.abs(rng.normal(size=(1, 12, 11, WIDE))).astype("float32"))
    z = ops.full((1, 12, 11, WIDE), 1e3)  # far above every sum
    (relevance,) = step.rule(step.site, c, (a,), z, z).inputs
    kernel, bias = (
        np.asarray(v, np.float64) for v in fitted.network.graph.model.get_layer("same").get_weights()
    )
    node = reference.Convolution(np.maximum(kernel, 0), np.zeros_like(bias), pad=1)
    sums = node(np.asarray(a[0], np.float64))
    assert sums.max() < 1e3
    np.testing.assert_allclose(np.asarray(relevance).sum(), sums.sum(), rtol=1e-4)
