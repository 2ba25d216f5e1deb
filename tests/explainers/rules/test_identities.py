"""Identities on random small networks: no oracle, only what must be equal to what."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from explainers import create_analyzer
from explainers.rules import AlphaBeta, ZBox, Zero
from explainers.rules.presets import Named, compose, structure

layers = keras.layers
SIDE = 8
Block = tuple[str, int, str]  # kind, kernel size, padding
few = settings(max_examples=5, deadline=None, derandomize=True, database=None)


class Network(NamedTuple):
    """What is drawn; ``hidden``: a hidden dense layer."""

    seed: int
    channels: int
    blocks: list[Block]
    hidden: bool


block = st.tuples(
    st.sampled_from(["fused", "apart", "parallel", "pool"]),
    st.integers(1, 3),
    st.sampled_from(["same", "valid"]),
)
networks = st.builds(
    Network, st.integers(0, 2**16), st.integers(1, 3), st.lists(block, min_size=1, max_size=3), st.booleans()
)


def build(drawn: Network, bias: bool) -> tuple[keras.Model, np.ndarray]:
    """The float64 network with three logits, and a batch of four."""
    rng = np.random.default_rng(drawn.seed)
    x = keras.Input((SIDE, SIDE, drawn.channels), dtype="float64")
    t = x
    for kind, size, padding in drawn.blocks:
        t = add_block(
            t, kind, {"kernel_size": size, "padding": padding, "use_bias": bias, "dtype": "float64"}
        )
    t = layers.Flatten(dtype="float64")(t)
    if drawn.hidden:
        t = layers.Dense(5, activation="relu", use_bias=bias, dtype="float64")(t)
    model = keras.Model(x, layers.Dense(3, use_bias=bias, dtype="float64")(t))
    model.set_weights([rng.normal(size=w.shape) / np.prod(w.shape[:-1]) ** 0.5 for w in model.weights])
    return model, rng.normal(size=(4, *x.shape[1:]))


def add_block(t: keras.KerasTensor, kind: str, options: dict[str, object]) -> keras.KerasTensor:
    """One convolution (its ReLU fused or apart), two in parallel, or a pooling."""
    if kind == "pool":
        return layers.MaxPooling2D(2, dtype="float64")(t) if t.shape[1] >= 4 else t
    if kind == "parallel":
        options = options | {"padding": "same", "activation": "relu"}
        sides = [layers.Conv2D(2, **(options | {"kernel_size": n}))(t) for n in (1, 3)]
        return layers.Concatenate(dtype="float64")(sides)
    if t.shape[1] < 4:
        options = options | {"padding": "same"}
    if kind == "fused":
        return layers.Conv2D(3, activation="relu", **options)(t)
    return layers.ReLU(dtype="float64")(layers.Conv2D(3, **options)(t))


def explain(
    method: str, model: keras.Model, x: np.ndarray, target: int | None = 1, **params: object
) -> np.ndarray:
    return create_analyzer(method, **params).fit(model).analyze(x, target=target).relevance


def assert_close(got: np.ndarray, expected: np.ndarray, tolerance: float = 1e-10) -> None:
    """Relative L2 over the batch."""
    assert got.shape == expected.shape
    assert np.linalg.norm(got - expected) <= tolerance * max(np.linalg.norm(expected), 1e-12)


@few
@given(networks)
def test_zero_on_a_network_without_bias_is_input_times_gradient(
    drawn: tuple[keras.Model, np.ndarray],
) -> None:
    model, x = build(drawn, bias=False)
    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        logit = model(inputs)[:, 1]
    assert_close(explain("lrp.zero", model, x), x * tape.gradient(logit, inputs).numpy(), 1e-8)


@few
@given(networks)
def test_alpha_1_beta_0_is_z_plus_without_bias(drawn: Network) -> None:
    model, x = build(drawn, bias=False)
    assert_close(explain("lrp.alpha_1_beta_0", model, np.abs(x)), explain("lrp.z_plus", model, np.abs(x)))


@few
@given(networks)
def test_w_square_is_flat_when_all_weights_have_one_size(drawn: Network) -> None:
    model, x = build(drawn, bias=True)
    model.set_weights([0.3 * np.sign(w) if w.ndim > 1 else w for w in model.get_weights()])
    assert_close(explain("lrp.w_square", model, x), explain("lrp.flat", model, x))


@few
@given(networks)
def test_a_box_of_no_size_is_zero_without_bias(drawn: Network) -> None:
    model, x = build(drawn, bias=False)
    rules = {"dense": Zero(), "conv": Zero(), "rest": structure()}
    boxed, plain = (
        create_analyzer("lrp", preset=compose("test", first=first, **rules)).fit(model).analyze(x).relevance
        for first in (ZBox(0.0, 0.0), Zero())
    )
    assert_close(boxed, plain)


@few
@given(networks)
def test_maps_are_linear_in_the_start_relevance(drawn: Network) -> None:
    """A sum of two logits on top hands each logit down as its start relevance: their maps add up."""
    model, x = build(drawn, bias=True)
    top = layers.Dense(1, use_bias=False, dtype="float64", name="top")
    both = keras.Model(model.inputs, top(model.outputs[0]))
    top.set_weights([np.array([[1.0], [1.0], [0.0]])])
    rule = AlphaBeta(2, 1)
    preset = compose("test", rule, rule, rule, structure()).before((Named("top"), Zero()))
    explained = create_analyzer("lrp", preset=preset).fit(model)
    apart = sum(explained.analyze(x, target=k).relevance for k in (0, 1))
    assert_close(create_analyzer("lrp", preset=preset).fit(both).analyze(x, target=0).relevance, apart)


@few
@given(networks)
def test_batch_of_n_is_n_batches_of_one(drawn: Network) -> None:
    model, x = build(drawn, bias=True)
    fitted = create_analyzer("lrp.preset_b").fit(model)
    together = fitted.analyze(x).relevance
    alone = np.concatenate([fitted.analyze(image[None]).relevance for image in x])
    assert_close(alone, together)


@few
@given(networks)
def test_weights_are_untouched_and_results_repeat(drawn: Network) -> None:
    model, x = build(drawn, bias=True)
    before = [w.copy() for w in model.get_weights()]
    fitted = create_analyzer("lrp.preset_a").fit(model)
    first, second = fitted.analyze(x).relevance, fitted.analyze(x).relevance
    again = create_analyzer("lrp.preset_a").fit(model).analyze(x).relevance
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, again)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
