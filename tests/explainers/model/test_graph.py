"""Tracing: one node per call, nested models inlined, one input and one output chosen, safe loading."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from explainers import create_analyzer, trace
from explainers.errors import UntraceableModel

layers = keras.layers


def two_in_two_out() -> keras.Model:
    a, b = keras.Input((4,), name="left"), keras.Input((3,), name="right")
    joined = layers.Concatenate(name="join")([layers.Dense(5, name="dense_left")(a), b])
    return keras.Model([a, b], [layers.Dense(2, name="first")(joined), layers.Dense(3, name="second")(a)])


def test_nodes_come_after_their_inputs_and_every_call_is_one() -> None:
    x = keras.Input((8, 8, 3))
    conv = layers.Conv2D(3, 3, padding="same", name="shared")
    t = layers.Add(name="sum")([conv(x), conv(conv(x))])
    graph = trace(keras.Model(x, layers.GlobalMaxPooling2D(name="top")(t)))
    names = [node.name for node in graph]
    assert [n for n in names if n.startswith("shared")] == ["shared", "shared@2", "shared@3"]
    for node in graph:
        assert all(names.index(i) < names.index(node.name) for i in node.inputs)
    assert len({id(graph[n].layer) for n in ("shared", "shared@2", "shared@3")}) == 1
    assert {child.name for child in graph.children(graph["shared"])} <= {"sum", "shared@2", "shared@3"}


def test_nested_models_are_inlined_each_time_they_are_called() -> None:
    inner_input = keras.Input((6,))
    inner = keras.Model(inner_input, layers.Dense(6, activation="relu", name="d")(inner_input), name="inner")
    block = keras.Sequential([keras.Input((6,)), inner, layers.Dense(6, name="e")], name="block")
    x = keras.Input((6,))
    model = keras.Model(x, layers.Dense(2, name="out")(block(block(x))))
    graph = trace(model)
    assert [n.name for n in graph if n.kind == "dense"] == [
        "block/inner/d", "block/e", "block/inner/d@2", "block/e@2", "out",
    ]  # fmt: skip
    assert not any(isinstance(node.layer, keras.Model) for node in graph)
    image = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    got = create_analyzer("input_x_gradient").fit(model).analyze(image, target=1)
    np.testing.assert_allclose(got.output, np.asarray(model(image)), rtol=1e-5, atol=1e-6)


def test_several_outputs_need_a_choice() -> None:
    model = two_in_two_out()
    with pytest.raises(UntraceableModel, match=r"2 outputs \(first, second\) and none was chosen"):
        trace(model)
    with pytest.raises(UntraceableModel, match="received 'third'"):
        trace(model, output="third")
    assert trace(model, output="second").explained == "left"  # the only input that it depends on
    assert trace(model, output=1).output == trace(model, output="second").output == "second"


def test_several_inputs_need_a_choice_and_the_chosen_one_gets_the_relevance() -> None:
    keras.utils.set_random_seed(0)
    model = two_in_two_out()
    with pytest.raises(UntraceableModel, match=r"2 inputs \(left, right\) and none was chosen"):
        trace(model, output="first")
    rng = np.random.default_rng(0)
    x = {"right": rng.normal(size=(2, 3)), "left": rng.normal(size=(2, 4))}
    kernel, first = (np.asarray(model.get_layer(n).kernel) for n in ("dense_left", "first"))
    for name, expected in (("left", kernel @ first[:5, 1]), ("right", first[5:, 1])):
        fitted = create_analyzer("gradient").fit(trace(model, "first", explained=name))
        got = fitted.analyze(x, target=1).relevance
        np.testing.assert_allclose(got, np.broadcast_to(expected, got.shape), rtol=1e-5, atol=1e-6)


class Subclassed(keras.Model):
    def call(self, x: object) -> object:
        return x


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Subclassed(), "is subclassed and has no graph"),
        (keras.Sequential([layers.Dense(2)]), "is not built"),
        ("not a network", "neither a .keras or .h5 file nor a keras.applications name"),
        ("gone.keras", "no such model file"),
        (3, "expected a keras.Model, received int"),
    ],
)
def test_what_cannot_be_traced_says_so(model: object, message: str) -> None:
    with pytest.raises(UntraceableModel, match=message):
        trace(model)


def test_input_part_and_first_linear_nodes() -> None:
    x = keras.Input((8, 8, 3))
    t = layers.Normalization(mean=[1.0, 2, 3], variance=[4.0, 4, 4], name="normal")(layers.Rescaling(2.0)(x))
    t = layers.ZeroPadding2D(1, name="pad")(t)
    left, right = layers.Conv2D(2, 3, name="a")(t), layers.Conv2D(2, 3, name="b")(t)
    top = layers.Dense(2, name="top")(layers.Flatten()(layers.Add()([left, right])))
    graph = trace(keras.Model(x, top))
    assert graph.first_linear == {"a", "b"}
    assert {"normal", "pad"} <= graph.input_part
    assert not {"a", "b", "top"} & graph.input_part


def test_a_saved_model_is_read_and_a_lambda_layer_in_it_is_not(tmp_path: Path) -> None:
    x = keras.Input((3,))
    plain = keras.Model(x, layers.Dense(2, name="out")(x))
    for suffix in ("keras", "h5"):
        path = tmp_path / f"plain.{suffix}"
        plain.save(path)
        np.testing.assert_array_equal(trace(path)["out"].kernel, np.asarray(plain.get_layer("out").kernel))
    unsafe = keras.Model(x, layers.Dense(2)(layers.Lambda(lambda t: t * 2)(x)))
    for suffix in ("keras", "h5"):
        path = tmp_path / f"unsafe.{suffix}"
        unsafe.save(path)
        with pytest.raises(UntraceableModel, match=r"cannot load the model.*[Ll]ambda"):
            trace(path)
    broken = tmp_path / "broken.keras"
    broken.write_bytes(b"not a model")
    with pytest.raises(UntraceableModel, match="cannot load the model"):
        trace(broken)


def test_tracing_copies_the_weights() -> None:
    x = keras.Input((3,))
    model = keras.Model(x, layers.Dense(2, name="out")(x))
    graph = trace(model)
    before = graph["out"].kernel.copy()
    model.get_layer("out").kernel.assign(np.zeros((3, 2)))
    np.testing.assert_array_equal(graph["out"].kernel, before)
