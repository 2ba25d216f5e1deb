"""Canonisation computes what the model computes, in fewer and simpler nodes."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest

from explainers import create_analyzer, plan, trace
from explainers.errors import UnequalForward
from explainers.model.canonize import canonize
from explainers.model.decomposition import APART, FOLDED, Decomposition
from explainers.model.graph import Graph
from explainers.network import Network, network
from explainers.rules.facts import non_negative
from tests.explainers.zoo import randomise

layers = keras.layers
SHAPE = (8, 8, 4)


def model_of(body: Callable[[keras.KerasTensor], keras.KerasTensor], **top: object) -> keras.Model:
    x = keras.Input(SHAPE)
    t = layers.Flatten()(body(x))
    return randomise(keras.Model(x, layers.Dense(3, name="top", **top)(t)))


def chain(*parts: Callable[[keras.KerasTensor], keras.KerasTensor]) -> keras.Model:
    def body(t: keras.KerasTensor) -> keras.KerasTensor:
        for part in parts:
            t = part(t)
        return t

    return model_of(body)


def graph_of(model: keras.Model) -> Graph:
    """Canonised and checked: fitting raises unless the logits are the model's."""
    net = network(model)
    assert net.equality < 1e-5
    return net.graph


def kinds(model: keras.Model) -> list[str]:
    return [node.kind for node in graph_of(model) if node.kind != "input"]


def bn() -> keras.layers.Layer:
    return layers.BatchNormalization()


CONV = {
    "conv": layers.Conv2D,
    "conv_transpose": layers.Conv2DTranspose,
    "separable_conv": layers.SeparableConv2D,
}


@pytest.mark.parametrize("kind", CONV)
@pytest.mark.parametrize("use_bias", [True, False])
def test_batch_norm_folds_into_the_convolution_before_it(kind: str, use_bias: bool) -> None:
    model = chain(CONV[kind](5, 3, use_bias=use_bias, padding="same", name="c"), bn(), layers.ReLU())
    assert kinds(model) == [kind, "activation", "reshape", "dense"]
    assert graph_of(model)["c"].folded == (model.layers[2].name,)


def test_batch_norm_folds_into_depthwise_dense_and_einsum() -> None:
    assert (
        kinds(chain(layers.DepthwiseConv2D(3, depth_multiplier=2), bn(), layers.ReLU()))[0]
        == "depthwise_conv"
    )
    assert kinds(chain(layers.Dense(5), bn(), layers.ReLU())) == ["dense", "activation", "reshape", "dense"]
    einsum = layers.EinsumDense("abcd,de->abce", output_shape=(8, 8, 5), bias_axes="e")
    assert kinds(chain(einsum, bn(), layers.ReLU())) == ["einsum", "activation", "reshape", "dense"]


def test_batch_norm_folds_into_the_next_convolution_only_where_no_zero_padding_lies_between() -> None:
    before = (layers.Conv2D(4, 3, activation="relu"), bn())
    assert kinds(chain(*before, layers.Conv2D(2, 3))).count("scale") == 0
    assert kinds(chain(*before, layers.Conv2D(2, 1, padding="same"))).count("scale") == 0
    assert kinds(chain(*before, layers.Conv2D(2, 3, padding="same"))).count("scale") == 1
    assert kinds(chain(*before, layers.ZeroPadding2D(1), layers.Conv2D(2, 3))).count("scale") == 1


def test_a_batch_norm_read_by_several_folds_into_all_or_none() -> None:
    def both(padding: str) -> keras.Model:
        def body(t: keras.KerasTensor) -> keras.KerasTensor:
            t = bn()(layers.Conv2D(4, 3, activation="relu")(t))
            ends = layers.Conv2D(2, 1)(t), layers.Conv2D(3, 3, padding=padding)(t)
            return layers.Concatenate()([layers.Flatten()(end) for end in ends])

        return model_of(body)

    assert kinds(both("valid")).count("scale") == 0
    assert kinds(both("same")).count("scale") == 1


def test_a_convolution_read_twice_keeps_its_batch_norm() -> None:
    def body(t: keras.KerasTensor) -> keras.KerasTensor:
        t = layers.Conv2D(4, 3)(t)
        return layers.Add()([bn()(t), t])

    assert kinds(model_of(body)).count("scale") == 1


def test_zero_padding_becomes_part_of_every_convolution_that_reads_it() -> None:
    strided = layers.Conv2D(4, 3, strides=2, name="c")
    model = chain(layers.ZeroPadding2D(((1, 2), (0, 1))), strided)
    assert kinds(model) == ["conv", "reshape", "dense"]
    assert graph_of(model)["c"].linear.pads == ((1, 2), (0, 1))
    assert kinds(chain(layers.ZeroPadding2D(1), layers.DepthwiseConv2D(3)))[0] == "depthwise_conv"
    assert (
        kinds(chain(layers.ZeroPadding2D(1), layers.SeparableConv2D(4, 3, strides=2)))[0] == "separable_conv"
    )
    assert kinds(chain(layers.ZeroPadding2D(1), layers.MaxPooling2D()))[:2] == ["pad", "max_pool"]


def test_dropout_noise_and_identities_go() -> None:
    parts = (layers.Dropout(0.5), layers.Identity(), layers.GaussianNoise(1.0), layers.Activation("linear"))
    parts += (layers.SpatialDropout2D(0.5), layers.ActivityRegularization(0.1))
    assert kinds(chain(*parts, layers.RandomFlip(), layers.RandomRotation(0.2))) == ["reshape", "dense"]


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("fused", [True, False])
def test_the_trailing_activation_is_cut_and_no_other(activation: str, fused: bool) -> None:
    x = keras.Input((5,))
    t = layers.Dense(4, activation=activation, name="hidden")(x)
    t = layers.Dense(3, name="top", **({"activation": activation} if fused else {}))(t)
    model = randomise(keras.Model(x, t if fused else layers.Activation(activation)(t)))
    graph = graph_of(model)
    assert graph.output == "top"
    assert graph.cut == activation
    assert [node.function for node in graph if node.function] == [activation]
    image = np.random.default_rng(0).normal(size=(2, 5)).astype("float32")
    logits = create_analyzer("gradient").fit(model).analyze(image).output
    again = keras.activations.get(activation)(keras.ops.convert_to_tensor(logits))
    np.testing.assert_allclose(np.asarray(again), np.asarray(model(image)), rtol=1e-5)


def test_a_grouped_convolution_with_one_channel_per_group_is_depthwise() -> None:
    assert kinds(chain(layers.Conv2D(8, 3, groups=4)))[0] == "depthwise_conv"
    assert kinds(chain(layers.Conv2D(8, 3, groups=2)))[0] == "conv"


def test_arithmetic_with_constants_is_a_scale() -> None:
    model = chain(
        layers.Conv2D(4, 3, activation="relu"), lambda t: (2.0 - t * 3.0) / 4.0 + 1.0, layers.MaxPooling2D()
    )
    assert kinds(model)[2:4] == ["scale", "max_pool"]  # four operations, folded into one
    scale = next(node for node in graph_of(model) if node.kind == "scale")
    np.testing.assert_allclose([float(scale.kernel), float(scale.bias)], [-0.75, 1.5])


def test_what_cannot_be_negative() -> None:
    x = keras.Input(SHAPE)
    relu = layers.ReLU(name="relu")(layers.Conv2D(4, 3, name="conv")(x))
    pooled = layers.AveragePooling2D(2, name="pooled")(relu)
    tanh = layers.Activation("tanh", name="tanh")(relu)
    both = layers.Concatenate(name="both")([pooled, layers.MaxPooling2D(name="max")(relu)])
    mixed = layers.Add(name="mixed")([relu, tanh])
    leaky = layers.LeakyReLU(name="leaky")(relu)
    larger = layers.Maximum(name="larger")([relu, tanh])
    ends = [layers.GlobalAveragePooling2D()(t) for t in (both, mixed, leaky, larger)]
    graph = canonize(trace(keras.Model(x, layers.Concatenate(name="end")(ends))))
    known = non_negative(graph)
    assert {"relu", "pooled", "max", "both", "larger"} <= known
    assert not known & {"conv", "tanh", "mixed", "leaky", "end", graph.explained}


@pytest.mark.parametrize(
    ("interpolation", "sure"),
    [("nearest", True), ("bilinear", True), ("bicubic", False), ("lanczos3", False)],
)
def test_an_interpolation_that_overshoots_can_be_negative(interpolation: str, sure: bool) -> None:
    x = keras.Input(SHAPE)
    up = layers.UpSampling2D(2, interpolation=interpolation, name="up")(layers.ReLU()(x))
    graph = canonize(trace(keras.Model(x, layers.GlobalAveragePooling2D()(up))))
    assert ("up" in non_negative(graph)) == sure
    image = np.zeros((1, *SHAPE), "float32")
    image[:, 4, 4] = 1.0
    lowest = np.asarray(keras.Model(x, up)(image)).min()
    assert (lowest >= 0) == sure


def test_a_batch_norm_stays_where_the_kernel_does_not_know_its_channel() -> None:
    """einsum over rows only: its kernel has no axis for the channels that the BatchNorm scales."""
    rows = layers.EinsumDense("abcd,be->aecd", output_shape=(5, 8, 4))
    assert kinds(chain(rows, bn(), layers.ReLU()))[:2] == ["einsum", "scale"]


def test_an_unequal_forward_pass_raises_with_the_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    model = chain(layers.Conv2D(4, 3, padding="same", name="c"), bn(), layers.ReLU())

    def wrong(graph: Graph, how: Decomposition = FOLDED) -> Graph:
        graph = canonize(graph, how)
        graph["c"].kernel[...] *= 1.1
        return graph

    monkeypatch.setattr("explainers.network.canonize", wrong)
    with pytest.raises(UnequalForward, match="differ from the original's by") as caught:
        network(model)
    assert 1e-3 < caught.value.figure < 1


def test_unfolded_batch_norm_gives_the_same_logits() -> None:
    model = chain(layers.Conv2D(4, 3), bn(), layers.ReLU())
    apart: Network = network(model, APART)
    assert apart.equality < 1e-5
    assert [node.kind for node in apart.graph].count("scale") == 1


def test_a_network_that_amplifies_rounding_is_held_to_its_own_rounding() -> None:
    """Twenty saturating layers of random weights: the logits themselves are not sure to 1e-3."""
    rng = np.random.default_rng(0)
    x = t = keras.Input((8,))
    for _ in range(20):
        t = layers.Activation("tanh")(bn()(layers.Dense(32, use_bias=False)(t)))
    model = randomise(keras.Model(x, layers.Dense(3)(t)))
    model.set_weights([rng.normal(size=w.shape) if w.ndim > 1 else w for w in model.get_weights()])
    net = network(model)
    assert 1e-3 < net.equality < 1
    assert not any(node.kind == "scale" for node in net.graph)


def test_numbers_in_a_float64_model_keep_their_precision() -> None:
    x = keras.Input((4,), dtype="float64")
    model = keras.Model(x, keras.layers.Dense(3, dtype="float64")(x * 0.1))
    scales = [node for node in trace(model) if node.kind == "scale"]
    assert [float(node.kernel) for node in scales] == [0.1]


@pytest.mark.parametrize(
    ("method", "multiply_adds"),
    [
        ("lrp.epsilon", 25 * 8 + 8 * 6),
        ("lrp.z_plus", 2 * (2 * 25 * 8 + 2 * 8 * 6)),  # the sum and its transpose, twice the channels between
        ("lrp.w_square", 25 * 8 * 6),
        ("lrp.flat", 0),
    ],
)
def test_the_cost_of_a_separable_convolution_is_that_of_the_rule_s_form(
    method: str, multiply_adds: int
) -> None:
    x = keras.Input((9, 9, 8))
    t = keras.layers.SeparableConv2D(6, 5, padding="same", use_bias=False)(keras.layers.ReLU()(x))
    model = keras.Model(x, keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(t)))
    forward = 25 * 8 + 8 * 6
    assert plan(model, method).cost == pytest.approx(1 + multiply_adds / forward)
