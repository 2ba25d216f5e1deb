"""Relevance per concept: a network written out in NumPy float64, and what must add up to what."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from explainers import Fitted, create_analyzer
from explainers.errors import ExplainError
from explainers.methods.concepts import Concepts
from tests import oracles
from tests.explainers.methods.small import convolutional, images
from tests.explainers.numpy_networks import Convolution, alpha_beta, epsilon, relu
from tests.oracles import stab

layers = keras.layers


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return create_analyzer("lrp.epsilon").fit(convolutional("float64"))


def two_convolutions() -> tuple[keras.Model, np.ndarray]:
    """conv -> ReLU -> conv -> ReLU -> global mean -> dense, float64, and two pictures."""
    rng = np.random.default_rng(0)
    x = keras.Input((6, 5, 2), dtype="float64")
    t = layers.Conv2D(4, 3, padding="same", activation="relu", dtype="float64", name="early")(x)
    t = layers.Conv2D(5, 3, activation="relu", dtype="float64", name="late")(t)
    t = layers.GlobalAveragePooling2D(dtype="float64")(t)
    model = keras.Model(x, layers.Dense(3, dtype="float64", name="logits")(t))
    model.set_weights([rng.normal(size=w.shape) / 2 for w in model.weights])
    return model, rng.normal(size=(2, 6, 5, 2))


def by_hand(
    model: keras.Model, x: np.ndarray, rule, channel: int, target: int
) -> tuple[np.ndarray, np.ndarray]:
    """Relevance of each channel of `late` (5,), and the map of one of them: formulas only."""
    w0, b0, w1, b1, w2, b2 = (np.asarray(w, np.float64) for w in model.get_weights())
    early, late = Convolution(w0, b0, pad=1), Convolution(w1, b1)
    a1 = relu(early(x))
    a2 = relu(late(a1))
    pooled = a2.mean((0, 1))
    logits = pooled @ w2 + b2
    r = np.where(np.arange(3) == target, logits, 0.0)
    r = oracles.epsilon(pooled, w2, b2, r)
    r = a2 * (r / stab(a2.sum((0, 1)), 1e-6))
    through = r.sum((0, 1))
    r = np.where(np.arange(5) == channel, r, 0.0)
    return through, rule(early, x, rule(late, a1, r))


RULES = {
    "lrp.epsilon": epsilon,
    "lrp.preset_a": lambda node, a, r: alpha_beta(node, a, r, 1.0, 0.0),
    "lrp.preset_b": lambda node, a, r: alpha_beta(node, a, r, 2.0, 1.0),
}


@pytest.mark.parametrize("method", RULES)
def test_channels_and_their_maps_are_those_of_the_formulas(method: str) -> None:
    model, x = two_convolutions()
    concepts = Concepts(create_analyzer(method).fit(model), "late")
    assert (concepts.node, concepts.channels) == ("late/relu", 5)
    through = concepts.relevance(x, target=1)
    for channel in (0, 3):
        made = concepts.analyze(x, channel, target=1)
        for i in range(2):
            expected, picture = by_hand(model, x[i], RULES[method], channel, 1)
            np.testing.assert_allclose(through[i], expected, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(made.relevance[i], picture, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", ["lrp.epsilon", "lrp.preset_b", "lrp.gamma", "deep_taylor"])
def test_all_channels_add_up_to_the_map_without_a_condition(method: str) -> None:
    model, x = convolutional("float64"), images(3, (12, 10, 3))
    fitted = create_analyzer(method).fit(model)
    whole = fitted.analyze(x, target=2).relevance
    concepts = Concepts(fitted)
    parts = [concepts.analyze(x, k, target=2).relevance for k in range(concepts.channels)]
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-8, atol=1e-10)
    together = concepts.analyze(x, [0, 3], target=2).relevance
    np.testing.assert_allclose(together, parts[0] + parts[3], rtol=1e-8, atol=1e-10)


def test_beside_a_layer_that_is_one_of_two_branches_only_its_own_paths_count() -> None:
    """Add of two branches: the maps of the branches add up to the whole, not those of one of them."""
    model, x = convolutional("float64"), images(2, (12, 10, 3))
    fitted = create_analyzer("lrp.epsilon").fit(model)
    branches = [n.name for n in fitted.network.graph if n.shape == (None, 6, 5, 5) and n.kind == "activation"]
    parts = [Concepts(fitted, name).analyze(x, range(5), target=0).relevance for name in branches]
    whole = fitted.analyze(x, target=0).relevance
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-8, atol=1e-10)
    assert np.abs(parts[0] - whole).max() > 1e-3


def test_replacing_channels_is_the_rest_of_the_network_on_another_value() -> None:
    model, x = two_convolutions()
    concepts = Concepts(create_analyzer("lrp.epsilon").fit(model), "late")
    late = keras.Model(model.input, model.get_layer("late").output)(x).numpy()
    np.testing.assert_allclose(concepts.means(x), late.mean((0, 1, 2)), rtol=1e-10)
    late[..., 2] = 0
    late[..., 4] = 0.7
    w, b = model.get_layer("logits").get_weights()
    values = np.array([9, 9, 0, 9, 0.7])
    np.testing.assert_allclose(
        concepts.replaced(x, [2, 4], values), late.mean((1, 2)) @ w + b, rtol=1e-9, atol=1e-12
    )


def test_a_hidden_dense_layer_has_channels_without_places() -> None:
    rng = np.random.default_rng(1)
    x = keras.Input((7,), dtype="float64")
    hidden = layers.Dense(4, activation="relu", dtype="float64", name="hidden")(x)
    model = keras.Model(x, layers.Dense(2, dtype="float64")(hidden))
    model.set_weights([rng.normal(size=w.shape) for w in model.weights])
    concepts = Concepts(create_analyzer("lrp.epsilon").fit(model), "hidden")
    through = concepts.relevance(rng.normal(size=(3, 7)), target=0)
    assert through.shape == (3, 4)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda f: Concepts(f, "nowhere"), "layer 'nowhere': there is no such layer; layers: "),
        (
            lambda f: Concepts(f, f.network.graph.output),
            "layer 'dense.*' is the model's output; valid: a layer before it",
        ),
        (lambda f: Concepts(f).analyze(images(1, (12, 10, 3)), 5), "channel 5 of 'add.*' is out of range"),
        (lambda f: Concepts(f).analyze(images(1, (12, 10, 3)), []), "channels: received"),
        (
            lambda f: Concepts(create_analyzer("gradient").fit(f.network.graph.model)),
            "relevance per concept is defined for LRP",
        ),
    ],
)
def test_what_there_is_not_is_said_in_one_line(fitted: Fitted, ask, said: str) -> None:
    with pytest.raises(ExplainError, match=said):
        ask(fitted)
