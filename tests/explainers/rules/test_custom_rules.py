"""Presets, conditions and backward mappings of one's own, through the public interface."""

from __future__ import annotations

from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from explainers import analyze_many, create_analyzer, register_kind
from explainers.errors import InvalidParameter
from explainers.model.graph import Graph, Node
from explainers.rules import AlphaBeta, ChainRule, Custom, Epsilon, Flat, Pass, WSquare
from explainers.rules.presets import Everything, Kinds, Named, OfType, Preset, Subgraph, compose, structure
from tests import oracles

layers = keras.layers
SIZE = 6
NORMAL = keras.initializers.RandomNormal(stddev=1.0, seed=1)


class Square(layers.Layer):
    """``x^2``: a layer that the library does not know."""

    def call(self, x: Any) -> Any:
        return x * x


class Shift(layers.Layer):
    """Adds learned numbers."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.shift = self.add_weight(
            shape=shape[1:], initializer=keras.initializers.RandomNormal(stddev=1.0, seed=1), name="shift"
        )

    def call(self, x: Any) -> Any:
        return x + self.shift


register_kind(Shift, "add")


@cache
def chain(*parts: type[keras.layers.Layer]) -> keras.Model:
    """float64: a dense layer, the parts, a dense layer."""
    keras.utils.set_random_seed(3)
    x = keras.Input((SIZE,), dtype="float64")
    t = layers.Dense(5, name="first", dtype="float64")(x)
    for i, part in enumerate(parts):
        t = part(name=f"part{i}", dtype="float64")(t)
    return keras.Model(x, layers.Dense(2, name="top", dtype="float64")(t))


def images(n: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, SIZE))


def through(model: keras.Model, name: str, a: np.ndarray, r: np.ndarray, eps: float = 1e-6) -> np.ndarray:
    w, b = (np.asarray(v) for v in model.get_layer(name).get_weights())
    return oracles.epsilon(a, w, b, r, eps)


def inner(model: keras.Model) -> keras.Model:
    """The value behind the first dense layer and the one before the last."""
    ends = [model.get_layer("first").output, model.get_layer("top").input]
    return keras.Model(model.layers[0].output, ends)


def expected(model: keras.Model, x: np.ndarray, middle: Any) -> np.ndarray:
    """Epsilon at both dense layers and ``middle(value, R)`` for what lies between them; target 0."""
    ends = inner(model)
    maps = []
    for image in x:
        value, top = (np.asarray(v)[0] for v in ends(image[None]))
        logit = float(np.asarray(model(image[None]))[0, 0])
        r = middle(value, through(model, "top", top, np.array([logit, 0.0])))
        maps.append(through(model, "first", image, r))
    return np.array(maps)


def test_a_preset_in_five_lines() -> None:
    mine = compose("mine", dense=Epsilon(0.1), conv=AlphaBeta(2, 1), first=Flat(), rest=structure())
    analyzer = create_analyzer("lrp", preset=mine)
    model, x = chain(layers.ReLU), images()
    got = analyzer.fit(model).analyze(x, target=0).relevance
    for image, r in zip(x, got, strict=True):
        np.testing.assert_allclose(r, r[0])  # Flat at the input: the same share for each
        hidden = np.maximum(np.asarray(model.get_layer("first")(image[None]))[0], 0)
        logit = float(np.asarray(model(image[None]))[0, 0])
        np.testing.assert_allclose(
            r.sum(), through(model, "top", hidden, np.array([logit, 0.0]), 0.1).sum(), rtol=1e-10
        )


def double(a: tuple[Any, ...], z: Any, R: Any) -> Any:
    """All that arrives, by the size of the input; an array in place of a tuple is one input's."""
    return R * ops.abs(a[0]) / (ops.abs(a[0]) + 1.0)


@pytest.mark.parametrize(
    "condition",
    [
        OfType(Square),
        Named("part*"),
        Kinds("unknown"),
        Kinds("unknown") & Named("part0"),
        Named("nothing") | OfType(Square),
        ~Kinds("dense") & ~Kinds("input"),
        lambda node, graph: node.type == "Square" and graph.position(node) == 2,
    ],
    ids=["type", "pattern", "kind", "both", "either", "neither", "function"],
)
def test_a_backward_mapping_for_a_class_a_name_a_kind_or_a_condition(condition: Any) -> None:
    model, x = chain(Square), images()
    got = create_analyzer("lrp.epsilon", rules=((condition, Custom(double)),)).fit(model)
    want = expected(model, x, lambda a, r: r * np.abs(a) / (np.abs(a) + 1.0))
    e = got.analyze(x, target=0, ledger=True)
    np.testing.assert_allclose(e.relevance, want, rtol=1e-8)
    assert e.ledger is not None
    assert e.ledger.gap.max() < 1e-10


def test_a_part_that_is_not_connected() -> None:
    x = keras.Input((4,))
    a, b = layers.Dense(4, name="a")(x), layers.Dense(4, name="b")(x)
    t = layers.Dense(2, name="top")(layers.Add(name="sum")([a, b]))
    for patterns, message in ((("a", "b"), "only its last node"), (("a", "top"), "only its last node")):
        analyzer = create_analyzer("lrp.epsilon", rules=((Subgraph(*patterns), ChainRule()),))
        with pytest.raises(InvalidParameter, match=message):
            analyzer.fit(keras.Model(x, t))


def test_a_condition_sees_the_node_its_place_and_the_whole_graph() -> None:
    seen: list[tuple[str, int, tuple[str, ...], tuple[str, ...]]] = []

    def look(node: Node, graph: Graph) -> bool:
        children = tuple(child.name for child in graph.children(node))
        seen.append((node.name, graph.position(node), node.inputs, children))
        return False

    model = chain(layers.ReLU)
    create_analyzer("lrp.epsilon", rules=((look, Pass()),)).fit(model)
    name = model.layers[0].name
    assert seen == [
        ("first", 1, (name,), ("part0",)),
        ("part0", 2, ("first",), ("top",)),
        ("top", 3, ("part0",), ()),
    ]


def test_the_first_matching_pair_wins() -> None:
    model, x = chain(layers.ReLU), images()
    pairs = ((Named("first"), WSquare()), (Named("fir*"), Flat()), (Everything(), Epsilon()))
    first = Preset("own", (*pairs[:2], *structure(), pairs[2]))
    other = Preset("own", (pairs[1], pairs[0], *structure(), pairs[2]))

    def explain(preset: Preset) -> np.ndarray:
        return create_analyzer("lrp", preset=preset).fit(model).analyze(x, target=0).relevance

    a, b = explain(first), explain(other)
    np.testing.assert_allclose(b, b[:, :1].repeat(SIZE, 1))
    assert not np.allclose(a, b)
    np.testing.assert_array_equal(explain(first.before((Named("first"), Flat()))), b)


def test_a_mapping_for_a_connected_part_of_the_graph() -> None:
    """Two nodes crossed by one mapping: here relevance in proportion to the part's input."""
    model, x = chain(Square, layers.ReLU), images()

    def share(a: tuple[Any, ...], z: Any, R: Any) -> tuple[Any, ...]:
        return (a[0] * ops.sum(R, axis=-1, keepdims=True) / ops.sum(a[0], axis=-1, keepdims=True),)

    fitted = create_analyzer("lrp.epsilon", rules=((Subgraph("part0", "part1"), Custom(share)),)).fit(model)
    assert [node.kind for node in fitted.network.graph] == ["input", "dense", "subgraph", "dense"]
    assert ("part1", "2 nodes collapsed into one") in fitted.network.graph.changes
    got = fitted.analyze(x, target=0).relevance
    np.testing.assert_allclose(got, expected(model, x, lambda a, r: a * r.sum() / a.sum()), rtol=1e-8)


def test_a_part_with_weights_and_branches_computes_what_the_model_does() -> None:
    keras.utils.set_random_seed(0)
    x = keras.Input((5, 5, 2))
    t = layers.Conv2D(3, 3, padding="same", activation="relu", name="a")(x)
    side = layers.SeparableConv2D(3, 3, padding="same", name="block_side")(t)
    t = layers.Add(name="block_sum")([t, layers.Activation("tanh", name="block_tanh")(side)])
    model = keras.Model(x, layers.Dense(2, name="top")(layers.Flatten(name="flat")(t)))
    rules = ((Subgraph("block_*"), ChainRule()),)
    image = np.random.default_rng(0).normal(size=(2, 5, 5, 2)).astype("float32")
    part = create_analyzer("lrp.epsilon", rules=rules).fit(model).network.graph["block_sum"]
    assert part.inputs == ("a/relu",)
    assert {node.name for node in part.parts} == {"block_side", "block_tanh", "block_sum"}
    value = np.asarray(keras.Model(x, model.get_layer("a").output)(image))
    np.testing.assert_allclose(
        np.asarray(part.call(ops.convert_to_tensor(value))),
        np.asarray(keras.Model(x, model.get_layer("block_sum").output)(image)),
        rtol=1e-4, atol=1e-5,
    )  # fmt: skip
    assert create_analyzer("lrp.epsilon", rules=rules).fit(model).analyze(image).relevance.any()


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (("nothing",), "subgraph nothing: no node matches; nodes: "),
        (("first", "top"), "only its last node 'top' may be read from outside, but 'first' is too"),
    ],
)
def test_a_part_that_is_none(patterns: tuple[str, ...], message: str) -> None:
    analyzer = create_analyzer("lrp.epsilon", rules=((Subgraph(*patterns), ChainRule()),))
    with pytest.raises(InvalidParameter, match=message):
        analyzer.fit(chain(layers.ReLU))


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (
            lambda a, z, R: (R[:, :2],),
            r"node 'part0' gives relevance of shape \(2, 2\); valid: one tensor per",
        ),
        (lambda a, z, R: (R, R), r"gives relevance of shape \(2, 5\), \(2, 5\); valid: .*: \(2, 5\)"),
    ],
)
def test_a_mapping_that_gives_something_else(mapping: Any, message: str) -> None:
    fitted = create_analyzer("lrp.epsilon", rules=((OfType(Square), Custom(mapping)),)).fit(chain(Square))
    with pytest.raises(InvalidParameter, match=message):
        fitted.analyze(images(), target=0)


def test_a_layer_of_ones_own_that_adds_learned_numbers() -> None:
    """Declared as `add`: the inputs get their share of the sum, what it adds absorbs the rest."""
    model, x = chain(Shift), images()
    e = create_analyzer("lrp.epsilon").fit(model).analyze(x, target=0, ledger=True)
    shift = np.asarray(model.get_layer("part0").shift)
    want = expected(model, x, lambda a, r: a * r / oracles.stab(a + shift, 1e-6))
    np.testing.assert_allclose(e.relevance, want, rtol=1e-8)
    assert e.ledger is not None
    row = e.ledger.nodes.index("part0")
    assert np.all(np.abs(e.ledger.absorbed[row]) > 1e-6)
    assert e.ledger.gap.max() < 1e-10


def test_what_a_layer_of_ones_own_gives_is_not_taken_for_non_negative() -> None:
    """ReLU, then learned numbers of both signs: AlphaBeta must see the negative inputs."""
    keras.utils.set_random_seed(5)
    model, x = chain(layers.ReLU, Shift), images()
    e = create_analyzer("lrp.alpha_1_beta_0").fit(model).analyze(x, target=0)
    ends = inner(model)
    for image, got in zip(x, e.relevance, strict=True):
        value, top = (np.asarray(v)[0] for v in ends(image[None]))
        assert top.min() < 0
        logit = float(np.asarray(model(image[None]))[0, 0])
        r = np.array([logit, 0.0])
        for a, name in ((top, "top"), (image, "first")):
            w, b = (np.asarray(v) for v in model.get_layer(name).get_weights())
            r = oracles.alpha_beta(a, w, b, r, 1, 0)
            if name == "top":
                r = np.maximum(value, 0) * r / oracles.stab(top, 1e-6)
        np.testing.assert_allclose(got, r, rtol=1e-8)


def test_methods_with_rules_of_ones_own_are_explained_together_with_others() -> None:
    model, x = chain(Square), images()
    rules = ((OfType(Square), Custom(double)),)
    fitted = [create_analyzer(name, rules=rules).fit(model) for name in ("lrp.epsilon", "lrp.z_plus")]
    for one, e in zip(fitted, analyze_many(fitted, x, 0), strict=True):
        np.testing.assert_allclose(e.relevance, one.analyze(x, 0).relevance, rtol=1e-10)


def test_relevance_at_zeros_that_a_passed_scale_lets_through_is_not_taken_for_nothing() -> None:
    """A constant is added behind a ReLU: where the ReLU is 0 its output has relevance all the same."""
    options = {"dtype": "float64"}
    x = keras.Input((3,), **options)
    hidden, top = layers.Dense(6, **options), layers.Dense(2, **options)
    shift = layers.Rescaling(1.0, offset=1.0, **options)
    model = keras.Model(x, top(shift(layers.ReLU(**options)(hidden(x)))))
    rng = np.random.default_rng(4)
    model.set_weights([rng.normal(size=w.shape) for w in model.weights])
    image = rng.normal(size=3)
    rule = AlphaBeta(2, 1)
    preset = compose("own", rule, rule, rule, structure())
    preset = preset.before((Kinds("scale"), Pass()))
    analyzer = create_analyzer("lrp", preset=preset, batch_norm="apart")
    got = analyzer.fit(model).analyze(image[None], target=0).relevance[0]

    (w, b), (v, c) = ([np.asarray(p) for p in layer.get_weights()] for layer in (hidden, top))
    z = image @ w + b
    assert (z < 0).any()
    a = np.maximum(z, 0) + 1
    r = oracles.alpha_beta(a, v, c, np.array([(a @ v + c)[0], 0.0]), 2, 1)
    np.testing.assert_allclose(got, oracles.alpha_beta(image, w, b, r, 2, 1), rtol=1e-9)
