"""One network taken apart in several ways: maps against closed forms in float64, and what changes nothing."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from explainers import create_analyzer, plan
from explainers.decompositions import ONE_UNIT, decompositions
from explainers.errors import InvalidParameter
from explainers.model.decomposition import APART, FOLDED, OPTIONAL_STEPS, Decomposition
from explainers.network import network
from tests import oracles

layers = keras.layers
KINDS = {"fold": FOLDED, "apart": APART, "two": Decomposition("two")}
SHAPE = (3, 3, 2)


def randomised(x: keras.KerasTensor, t: keras.KerasTensor) -> keras.Model:
    """The model with normal weights, and variances that are positive."""
    model = keras.Model(x, t)
    rng = np.random.default_rng(5)
    for weight in model.weights:
        values = rng.normal(size=weight.shape)
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


@pytest.fixture(scope="module")
def folding() -> keras.Model:
    """A convolution that sees all of its input at once, BatchNorm, ReLU, dense: matrices by hand."""
    x = keras.Input(SHAPE, dtype="float64")
    t = layers.Conv2D(4, 3, dtype="float64", name="conv")(x)
    t = layers.BatchNormalization(dtype="float64", name="norm")(t)
    t = layers.Flatten(dtype="float64")(layers.ReLU(dtype="float64")(t))
    return randomised(x, layers.Dense(2, dtype="float64", name="top")(t))


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(1).normal(size=SHAPE)


class ByHand:
    """The network of ``folding`` as matrices, and relevance at the ReLU under a rule."""

    def __init__(self, model: keras.Model, image: np.ndarray) -> None:
        conv, norm, top = (model.get_layer(name) for name in ("conv", "norm", "top"))
        kernel, self.b = (np.asarray(p) for p in conv.get_weights())
        self.a, self.w = image.ravel(), kernel.reshape(-1, kernel.shape[-1])
        gamma, beta, mean, variance = (np.asarray(p) for p in norm.get_weights())
        self.g = gamma / np.sqrt(variance + norm.epsilon)
        self.shift = beta - mean * self.g
        self.v, self.c = (np.asarray(p) for p in top.get_weights())
        self.u = self.a @ self.w + self.b
        self.z = self.u * self.g + self.shift
        self.hidden = np.maximum(self.z, 0)
        self.logit = (self.hidden @ self.v + self.c)[0]


def explained(model: keras.Model, image: np.ndarray, method: str, how: Decomposition) -> np.ndarray:
    fitted = create_analyzer(method).decomposed(how).fit(model)
    return fitted.analyze(image[None], target=0).relevance[0].ravel()


def test_without_a_stabiliser_all_three_are_the_contributions(folding, image) -> None:
    """a_i w_ik g_k / z_k R_k: the convolution divides by u_k, which the BatchNorm multiplies with."""
    net = ByHand(folding, image)
    relevance = net.hidden * net.v[:, 0] / (net.hidden @ net.v + net.c)[0] * net.logit
    right = net.a * (net.w @ oracles.divide(net.g * relevance, net.z))
    assert (net.z > 0).any()
    assert (net.g * net.shift != 0).all()
    for how in KINDS.values():
        np.testing.assert_allclose(explained(folding, image, "lrp.zero", how), right, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_alpha_beta_tells_them_apart(folding, image, kind: str) -> None:
    net = ByHand(folding, image)

    def rule(a: np.ndarray, w: np.ndarray, b: np.ndarray, r: np.ndarray) -> np.ndarray:
        return oracles.alpha_beta(a, w, b, r, 2, 1)

    none, one = np.zeros(4), np.eye(4)
    r = rule(net.hidden, net.v, net.c, np.array([net.logit, 0.0]))
    if kind == "fold":
        right = rule(net.a, net.w * net.g, net.b * net.g + net.shift, r)
    elif kind == "apart":
        right = rule(net.a, net.w, net.b, rule(net.u, np.diag(net.g), net.shift, r))
    else:
        shifted = rule(net.u * net.g, one, net.shift, r)
        right = rule(net.a, net.w, net.b, rule(net.u, np.diag(net.g), none, shifted))
    got = explained(folding, image, "lrp.alpha_2_beta_1", KINDS[kind])
    np.testing.assert_allclose(got, right, rtol=1e-9)
    assert [node.kind for node in network(folding, KINDS[kind]).graph].count("scale") == len(
        {"fold": "", "apart": "1", "two": "12"}[kind]
    )


def test_padding_that_stays_a_layer_takes_its_share_of_flat() -> None:
    """A 3 x 3 window over four pixels and five zeros of a frame, which get 5/9 and lose it."""
    x = keras.Input((2, 2, 1), dtype="float64")
    t = layers.Conv2D(1, 3, use_bias=False, dtype="float64")(layers.ZeroPadding2D(1, dtype="float64")(x))
    model = randomised(x, layers.Flatten(dtype="float64")(t))
    picture = np.random.default_rng(2).normal(size=(2, 2, 1))
    logit = float(np.asarray(model(picture[None]))[0, 0])
    # the window of output 0 lies over all four pixels and five zeros
    merged = explained(model, picture, "lrp.flat", FOLDED)
    np.testing.assert_allclose(merged, np.full(4, logit / 4), rtol=1e-12)
    apart = explained(model, picture, "lrp.flat", Decomposition(without=("merge_padding",)))
    np.testing.assert_allclose(apart, np.full(4, logit / 9), rtol=1e-12)


def test_a_softmax_that_stays_is_crossed_by_its_taylor_expansion() -> None:
    """R_k = z_k (p_0 [k = 0] - p_k p_0), then the contributions to each logit."""
    x = keras.Input((4,), dtype="float64")
    model = randomised(x, layers.Dense(3, activation="softmax", dtype="float64", name="top")(x))
    row = np.random.default_rng(3).normal(size=4)
    w, b = (np.asarray(p) for p in model.get_layer("top").get_weights())
    z = row @ w + b
    p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    start = z * (p[0] * np.array([1.0, 0, 0]) - p * p[0])
    got = explained(model, row, "lrp.zero", Decomposition(without=("cut_output",)))
    np.testing.assert_allclose(got, oracles.zero(row, w, b, start), rtol=1e-9)


def test_what_changes_no_node_is_said_and_not_explained_again() -> None:
    x = keras.Input((6, 6, 1))
    t = layers.Flatten()(layers.Conv2D(2, 3, padding="same", activation="relu")(x))
    made = decompositions(create_analyzer("lrp.preset_b"), keras.Model(x, layers.Dense(2)(t)))
    assert [variant.name for variant in made if variant.fitted] == ["BatchNorm folded (default)"]
    reasons = {variant.how.without[0]: variant.reason for variant in made if variant.how.without}
    assert reasons == dict(OPTIONAL_STEPS)
    assert all("no BatchNorm" in v.reason for v in made if v.how.batch_norm != "fold")


def test_each_way_that_changes_nodes_is_one(folding) -> None:
    x = t = keras.Input((8, 8, 1))
    for part in (
        layers.ZeroPadding2D(1),
        layers.Conv2D(2, 3),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Dropout(0.5),
        layers.BatchNormalization(),
        layers.Conv2D(2, 3),
        layers.Flatten(),
        layers.Dense(2, activation="softmax"),
    ):
        t = part(t)
    made = decompositions(create_analyzer("lrp.alpha_2_beta_1"), randomised(x, t))
    assert [v.reason for v in made] == [""] * 8
    profile = decompositions(create_analyzer("lrp.preset_a", profile="innvestigate_2"), folding)
    assert profile[0].name == "BatchNorm one node (default)"
    assert not [v for v in profile if any(step.startswith("fold") for step in v.how.without)]
    same = {v.name: v.reason for v in decompositions(create_analyzer("lrp.zero"), folding)}
    assert same["without fold_into_previous"] == "the same nodes as 'BatchNorm one node'"


def test_one_unit_for_two_classes_needs_its_logit() -> None:
    x = keras.Input((4,))
    made = decompositions(create_analyzer("lrp.zero"), keras.Model(x, layers.Dense(1, "sigmoid")(x)))
    assert [v.reason for v in made if v.how.without == ("cut_output",)] == [ONE_UNIT]


def test_what_cannot_be_taken_apart_is_refused_by_name(folding) -> None:
    with pytest.raises(InvalidParameter, match=r"^gradient: .*; valid: lrp\.\*"):
        decompositions(create_analyzer("gradient"), folding)
    with pytest.raises(InvalidParameter, match="batch_norm: received 'three'; valid: fold, apart, two"):
        Decomposition("three")
    with pytest.raises(InvalidParameter, match="without: received 'both_classes'; valid: fold_into_previous"):
        Decomposition(without=("both_classes",))
    with pytest.raises(InvalidParameter, match=r"'fold_into_next' with batch_norm='apart'"):
        Decomposition("apart", ("fold_into_next",))


def test_plan_and_a_preset_of_ones_own_know_two_nodes(folding) -> None:
    preset = create_analyzer("lrp.zero").preset()
    rows = plan(folding, create_analyzer("lrp", preset=preset, batch_norm="two")).rows
    assert [row.node for row in rows if row.kind == "scale"] == ["norm/scale", "norm"]
