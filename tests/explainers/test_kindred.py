"""Programs that networks of one structure share: they compute what each network's own would."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from explainers import analyze_many, create_analyzer, network
from explainers.analyzer import Fitted
from explainers.kindred import Kindred

layers = keras.layers
X = np.random.default_rng(5).normal(size=(3, 8, 8, 3)).astype("float32")
BOX = {"low": -9.0, "high": 9.0}
METHODS = (("lrp.preset_a", {}), ("lrp.epsilon_gamma_box", BOX), ("gradient", {}))


def convolutional() -> keras.Model:
    """A normalised convolution, one without an activation, two dense layers."""
    keras.utils.set_random_seed(1)
    x = keras.Input((8, 8, 3))
    t = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3)(x)))
    t = layers.Dense(6, activation="relu")(layers.Flatten()(layers.Conv2D(3, 3)(t)))
    return keras.Model(x, layers.Dense(5, activation="softmax")(t))


def normalised() -> keras.Model:
    """One with a layer that is called as it is, and so holds its weights itself."""
    keras.utils.set_random_seed(1)
    x = keras.Input((8, 8, 3))
    t = layers.LayerNormalization()(layers.Conv2D(4, 3)(x))
    return keras.Model(x, layers.Dense(5)(layers.Flatten()(t)))


def clone(model: keras.Model, seed: int) -> keras.Model:
    """With other weights of either sign; variances stay positive."""
    rng = np.random.default_rng(seed)
    copy = keras.models.clone_model(model)
    copy.set_weights(
        [
            np.abs(rng.normal(size=w.shape)) if w.min() > 0 else rng.normal(size=w.shape)
            for w in model.get_weights()
        ]
    )
    return copy


def fitted(model: keras.Model) -> list[Fitted]:
    return [create_analyzer(name, **given).fit(model) for name, given in METHODS]


def assert_same_maps(shared: list[Fitted], own: list[Fitted]) -> None:
    for a, b in zip(analyze_many(shared, X), analyze_many(own, X), strict=True):
        np.testing.assert_allclose(a.output, b.output, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(a.relevance, b.relevance, rtol=1e-4, atol=1e-5 * np.abs(b.relevance).max())


def test_a_clone_is_explained_by_its_own_weights(monkeypatch):
    """Each network's maps by the shared program are those by its own; one program is traced for all."""
    model = clone(convolutional(), 1)  # a bias of zeros is left out
    copies = [clone(model, seed) for seed in (2, 3)]
    own = [fitted(each) for each in (model, *copies)]
    kindred = Kindred(own[0])
    traced = []
    backward = network.backward
    monkeypatch.setattr(network, "backward", lambda *given: traced.append(1) or backward(*given))
    shared = [kindred.of(bound) for bound in own]
    maps = [analyze_many(bound, X)[0].relevance for bound in shared]
    assert len(traced) == len(METHODS)
    assert not np.allclose(maps[0], maps[1], rtol=0.1)
    assert not np.allclose(maps[1], maps[2], rtol=0.1)
    for bound, its_own in zip(shared, own, strict=True):
        assert_same_maps(bound, its_own)


def test_what_a_rule_knows_of_values_must_hold_for_the_clone():
    """Behind a normalisation that only scales a rule leaves out negative values; in the clone they occur."""
    keras.utils.set_random_seed(1)
    x = keras.Input((8, 8, 3))
    t = layers.MaxPooling2D(2)(layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu")(x)))
    model = keras.Model(x, layers.Dense(5)(layers.Flatten()(t)))
    other = keras.models.clone_model(model)
    gamma, _, mean, variance = model.layers[2].get_weights()
    for each, beta in ((model, 0.5), (other, -0.5)):
        each.layers[2].set_weights([gamma, np.full(4, beta), mean, variance])
    rule = create_analyzer("lrp.alpha_2_beta_1")
    own, theirs = [rule.fit(model)], [rule.fit(other)]
    assert_same_maps(Kindred(own).of(theirs), theirs)


@pytest.mark.parametrize("other", ["a layer's own weights", "an estimate", "another method"])
def test_what_no_shared_program_serves_stays_as_it_is(other: str):
    model = normalised() if other == "a layer's own weights" else clone(convolutional(), 1)
    name = "pattern_attribution" if other == "an estimate" else "lrp.preset_a"
    bound, copy = ([create_analyzer(name).fit(each, X)] for each in (model, clone(model, 2)))
    if other == "another method":
        copy = fitted(clone(model, 2))[2:]
    assert Kindred(bound).of(copy)[0] is copy[0]
