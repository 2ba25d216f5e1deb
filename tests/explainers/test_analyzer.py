"""Fitting and analysing: compiled programs, one shared forward pass, batches, and which weights count."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from explainers import analyze_many, create_analyzer, trace
from explainers import network as networks
from explainers.network import network
from explainers.rules import ChainRule
from explainers.rules.presets import Subgraph
from tests.explainers.zoo import randomise

layers = keras.layers
SHAPE = (9, 8, 3)
METHODS = ("lrp.epsilon", "lrp.preset_a", "lrp.preset_b", "deconvnet", "guided_backprop", "gradient")


def build() -> keras.Model:
    """Residual, BatchNorm, a gate, LayerNormalization, a max-pooling and a softmax over four classes."""
    keras.utils.set_random_seed(1)
    x = keras.Input(SHAPE)
    t = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", name="stem")(x))
    t = layers.ReLU()(t)
    gate = layers.Dense(4, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(t))
    t = layers.Add()([t, layers.Multiply()([layers.Conv2D(4, 3, padding="same")(t), gate])])
    t = layers.MaxPooling2D(2)(layers.LayerNormalization(name="norm")(t))
    t = layers.Dense(6, activation="relu", name="hidden")(layers.Flatten()(t))
    return randomise(keras.Model(x, layers.Dense(4, activation="softmax", name="top")(t)))


@cache
def model() -> keras.Model:
    return build()


def images(n: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, *SHAPE)).astype("float32")


@pytest.fixture
def forward_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one whenever a forward pass becomes part of a program."""
    passes: list[int] = []
    real = networks.evaluate_all

    def counted(*arguments: Any) -> Any:
        passes.append(1)
        return real(*arguments)

    monkeypatch.setattr(networks, "evaluate_all", counted)
    return passes


def test_methods_asked_for_together_share_one_forward_pass(forward_passes: list[int]) -> None:
    own = build()  # a network of its own, so that nothing is compiled yet
    fitted = [create_analyzer(name).fit(own) for name in METHODS]
    assert len({id(one.network) for one in fitted}) == 1
    forward_passes.clear()
    together = analyze_many(fitted, images(2))
    assert len(forward_passes) == 1
    apart = [one.analyze(images(2)) for one in fitted]
    assert len(forward_passes) == 1 + len(METHODS)
    for name, one, other in zip(METHODS, together, apart, strict=True):
        np.testing.assert_allclose(one.relevance, other.relevance, rtol=1e-4, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(one.output, other.output, rtol=1e-5)
        np.testing.assert_array_equal(one.target, other.target)


def test_analyze_many_keeps_the_order_and_takes_the_same_one_twice() -> None:
    a, b = (create_analyzer(name).fit(model()) for name in ("lrp.epsilon", "lrp.z_plus"))
    unfolded = create_analyzer("lrp.preset_a", profile="innvestigate_2").fit(model())
    got = analyze_many([b, a, unfolded, b], images(2), target=1)
    for one, fitted in zip(got, (b, a, unfolded, b), strict=True):
        np.testing.assert_allclose(
            one.relevance, fitted.analyze(images(2), target=1).relevance, rtol=1e-4, atol=1e-6
        )
    assert analyze_many([], images(2)) == []


def test_a_program_is_compiled_once_per_batch_size(forward_passes: list[int]) -> None:
    fitted = create_analyzer("lrp.preset_a").fit(model())
    forward_passes.clear()
    for seed in range(4):
        fitted.analyze(images(2, seed), target=seed % 4)
        fitted.analyze(images(2, seed))
    assert len(forward_passes) == 1
    fitted.analyze(images(3))
    assert len(forward_passes) == 2


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_its_images_one_by_one_and_results_repeat_bit_by_bit(method: str) -> None:
    fitted = create_analyzer(method).fit(model())
    x = images(5)
    together = fitted.analyze(x)
    np.testing.assert_array_equal(fitted.analyze(x).relevance, together.relevance)
    anew = create_analyzer(method).fit(model()).analyze(x)
    np.testing.assert_array_equal(anew.relevance, together.relevance)
    alone = np.concatenate([fitted.analyze(x[i : i + 1]).relevance for i in range(5)])
    np.testing.assert_allclose(alone, together.relevance, rtol=1e-4, atol=1e-5 * np.abs(alone).max())


def test_every_weight_and_the_model_itself_stay_as_they_are() -> None:
    own = build()
    before = [np.array(w) for w in own.get_weights()]
    config, probabilities = own.get_config(), np.asarray(own(images(2)))
    for one in [create_analyzer(name).fit(own) for name in METHODS]:
        one.analyze(images(2), ledger=True)
    for old, new in zip(before, own.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert own.get_config() == config
    np.testing.assert_array_equal(np.asarray(own(images(2))), probabilities)


def test_a_dict_a_list_and_an_integer_image_are_taken() -> None:
    fitted = create_analyzer("lrp.epsilon").fit(model())
    x = np.random.default_rng(0).integers(0, 5, (2, *SHAPE))
    expected = fitted.analyze(x.astype("float32")).relevance
    for given in (x, x.astype("uint8"), x.astype("float64"), {model().layers[0].name: x}, x.tolist()):
        np.testing.assert_array_equal(fitted.analyze(given).relevance, expected)


TARGETS: list[tuple[Any, list[int]]] = [
    (2, [2, 2, 2]),
    ([3, 0, 1], [3, 0, 1]),
    (np.array([3, 0, 1], "uint8"), [3, 0, 1]),
    (lambda output: ops.argsort(output, axis=1)[:, -2], []),
]


@pytest.mark.parametrize(("target", "classes"), TARGETS)
def test_target(target: Any, classes: list[int]) -> None:
    fitted = create_analyzer("lrp.epsilon").fit(model())
    e = fitted.analyze(images(3), target, ledger=True)
    expected = classes or list(np.argsort(e.output, axis=1)[:, -2])
    assert list(e.target) == expected
    assert e.ledger is not None
    np.testing.assert_allclose(e.ledger.received[0], e.output[np.arange(3), expected], rtol=1e-6)


def change_kernel(m: keras.Model) -> None:
    m.get_layer("stem").kernel.assign(m.get_layer("stem").kernel * -1.0)


def change_norm(m: keras.Model) -> None:
    m.get_layer("norm").gamma.assign(m.get_layer("norm").gamma * 3.0)


def add_in_place(m: keras.Model) -> None:
    for weight in m.trainable_weights:
        weight.value.assign_add(np.full(weight.shape, 0.1, "float32"))


def scatter(m: keras.Model) -> None:
    kernel = m.get_layer("hidden").kernel
    kernel.value.scatter_nd_update([[i] for i in range(10)], np.ones((10, kernel.shape[1]), "float32"))


def train(m: keras.Model, optimizer: str = "sgd", jit_compile: bool = False) -> None:
    m.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=jit_compile)
    m.fit(images(8), np.arange(8) % 4, epochs=2, batch_size=8, verbose=0)


CHANGES = [change_kernel, change_norm, add_in_place, scatter, train, partial(train, optimizer="adam")]
CHANGES += [partial(train, jit_compile=True)]


def test_a_fit_takes_no_second_copy_of_weights_that_stay_as_they_are() -> None:
    own = build()
    held = network(own).weights["hidden"]["kernel"]
    there = tf.convert_to_tensor(own.get_layer("hidden").kernel)
    assert np.asarray(held).ctypes.data == np.asarray(there).ctypes.data


@pytest.mark.parametrize("change", CHANGES)
def test_a_fit_explains_the_weights_at_its_time_and_a_new_fit_the_new_ones(
    change: Callable[[keras.Model], None],
) -> None:
    own = build()
    analyzer = create_analyzer("lrp.preset_a")
    old = analyzer.fit(own)
    before = old.analyze(images(2), target=1)
    change(own)
    after = analyzer.fit(own).analyze(images(2), target=1)
    assert np.abs(after.output - before.output).max() > 1e-3
    shares = np.exp(after.output - after.output.max(1, keepdims=True))
    np.testing.assert_allclose(
        shares / shares.sum(1, keepdims=True),
        np.asarray(own(images(2))),
        rtol=1e-3,
        atol=1e-6,
    )
    again = old.analyze(images(3), target=1)  # another batch size: the program is traced anew
    np.testing.assert_allclose(again.relevance[:2], before.relevance, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(again.output[:2], before.output, rtol=1e-4)


def test_an_unchanged_model_keeps_its_network_and_a_changed_part_of_it_does_not() -> None:
    own = build()
    first = network(own)
    assert network(own) is first
    assert network(trace(own)) is first
    rules = ((Subgraph("hidden*"), ChainRule()),)
    collapsed = create_analyzer("lrp.epsilon", rules=rules).fit(own).network
    own.get_layer("hidden").kernel.assign(own.get_layer("hidden").kernel * 2.0)
    assert network(own) is not first
    assert create_analyzer("lrp.epsilon", rules=rules).fit(own).network is not collapsed
