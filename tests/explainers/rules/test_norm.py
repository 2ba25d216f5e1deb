"""Sums of branches: what is not kept of their summands changes nothing."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from explainers import create_analyzer
from explainers.engine import Tensor
from explainers.model.graph import Graph
from explainers.network import network, prepare
from explainers.rules import AlphaBeta, Custom, Epsilon, Rule
from explainers.rules.assign import assign
from explainers.rules.presets import Kinds, Preset, compose, structure

layers = keras.layers
EPS = 0.125  # large, so that it shows


def residual(relu: bool, shortcut: bool) -> keras.Model:
    """A sum of a convolution and its input, or of two convolutions; float64."""
    fixed = {"dtype": "float64", "bias_initializer": keras.initializers.RandomNormal(seed=9)}
    x = keras.Input((5, 5, 2), dtype="float64")
    before = layers.Conv2D(4, 3, padding="same", activation="relu", **fixed)(x)
    t = layers.Conv2D(4, 3, padding="same", name="branch", **fixed)(before)
    other = layers.Conv2D(4, 1, **fixed)(before) if shortcut else before
    t = layers.Add(dtype="float64", name="sum")([t, other])
    t = layers.Activation("relu", dtype="float64")(t) if relu else t
    t = layers.Conv2D(3, 3, activation="relu", **fixed)(t)
    t = layers.Dense(2, dtype="float64")(layers.Flatten(dtype="float64")(t))
    keras.utils.set_random_seed(4)
    model = keras.Model(x, t)
    rng = np.random.default_rng(4)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def by_the_letter(a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> tuple[Tensor, ...]:
    """`a_i / stab(sum_j a_j) R`, of the summands themselves."""
    summed = sum(a)
    return tuple(x * R / ops.where(summed >= 0, summed + EPS, summed - EPS) for x in a)


def preset(conv: Rule) -> Preset:
    return compose("test", Epsilon(EPS), conv, conv, rest=structure(EPS))


def spare(graph: Graph, rule: Rule) -> int | None:
    (step,) = (s for s in assign(preset(rule), graph) if s.site.node.name == "sum")
    return step.site.spare


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("shortcut", [True, False])
@pytest.mark.parametrize(
    "rule", [AlphaBeta(), AlphaBeta(2, 1), Epsilon(EPS)], ids=["a1b0", "a2b1", "epsilon"]
)
def test_a_sum_is_shared_by_its_summands_whether_they_are_kept_or_not(
    relu: bool, shortcut: bool, rule: Rule
) -> None:
    model, x = residual(relu, shortcut), np.random.default_rng(1).normal(size=(3, 5, 5, 2))
    own = preset(rule)
    literal = Preset("literal", ((Kinds("add"), Custom(by_the_letter)), *own.pairs))
    maps, expected = (
        create_analyzer("lrp", preset=chosen).fit(model).analyze(x).relevance for chosen in (own, literal)
    )
    assert np.any(expected)
    np.testing.assert_allclose(maps, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())


def test_what_a_rule_reads_of_a_summand_is_kept() -> None:
    graph = prepare(residual(relu=True, shortcut=False))
    assert spare(graph, AlphaBeta()) == 0
    assert spare(graph, Epsilon(EPS)) is None  # divides by the branch's own output


def test_a_sum_of_one_thing_twice_and_a_branch_that_is_read_twice_keep_their_summands() -> None:
    x = keras.Input((4, 4, 2))
    branch = layers.Conv2D(2, 1)(x)
    for summands in ([branch, branch], [branch, layers.Conv2D(2, 1)(branch)]):
        t = layers.Add(name="sum")(summands)
        graph = prepare(keras.Model(x, layers.Dense(2)(layers.Flatten()(t))))
        assert spare(graph, AlphaBeta()) == (None if summands[0] is summands[1] else 1)


def test_folded_weights_are_there_once() -> None:
    x = keras.Input((4, 4, 2))
    t = layers.BatchNormalization()(layers.Conv2D(3, 3, use_bias=False)(x))
    model = keras.Model(x, layers.Dense(2)(layers.Flatten()(t)))
    model.layers[2].moving_variance.assign([0.5, 2.0, 3.0])
    net = network(model)
    for node in net.graph:
        if node.linear is not None:
            assert node.kernel.dtype == np.float32
            assert np.shares_memory(node.kernel, np.asarray(net.weights[node.name]["kernel"]))
