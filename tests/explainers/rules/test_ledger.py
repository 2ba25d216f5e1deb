"""The ledger: what came in, went out, was absorbed and was lost, checked by hand."""

from __future__ import annotations

import keras
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from explainers import Ledger, create_analyzer, list_methods
from explainers.rules import AlphaBeta, Epsilon, Flat, Gamma, Rule, WSquare, ZBox, Zero, ZPlus
from explainers.rules.presets import Named, compose, structure
from tests import oracles
from tests.explainers.rules.test_identities import Network, build, networks

layers = keras.layers


def dense(kernel: list[list[float]], bias: list[float]) -> keras.Model:
    """One float64 dense layer."""
    x = keras.Input((len(kernel),), dtype="float64")
    layer = layers.Dense(len(bias), dtype="float64", name="only")
    model = keras.Model(x, layer(x))
    layer.set_weights([np.array(kernel), np.array(bias)])
    return model


def book(model: keras.Model, rule: Rule, image: list[float], target: int = 0) -> Ledger:
    preset = compose("test", rule, rule, rule, structure())
    fitted = create_analyzer("lrp", preset=preset).fit(model)
    ledger = fitted.analyze(np.array([image]), target=target, ledger=True).ledger
    assert ledger is not None
    return ledger


def line(ledger: Ledger, node: str) -> list[float]:
    """received, passed, absorbed, lost of one image."""
    i = ledger.nodes.index(node)
    columns = ledger.received, ledger.passed, ledger.absorbed, ledger.lost
    return [float(column[i, 0]) for column in columns]


def test_the_bias_absorbs_its_share() -> None:
    # z = 1*2 + 2*1 + 4 = 8 = R: the inputs pass on 4, the bias keeps 4
    model = dense([[2.0], [1.0]], [4.0])
    np.testing.assert_allclose(line(book(model, Zero(), [1.0, 2.0]), "only"), [8, 4, 4, 0], rtol=1e-12)


def test_the_stabiliser_loses_its_share() -> None:
    # z = 4 = R, eps = 1: 4/5 of it is passed on, 4/5 of 0 absorbed, 4/5 lost
    model = dense([[2.0], [1.0]], [0.0])
    expected = [4, 16 / 5, 0, 4 / 5]
    np.testing.assert_allclose(line(book(model, Epsilon(1.0), [1.0, 2.0]), "only"), expected, rtol=1e-12)


def test_alpha_above_1_leaks_where_one_sign_is_empty() -> None:
    # all contributions positive: alpha = 2 passes on 2 R and there is nothing for beta to take back
    model = dense([[2.0], [1.0]], [0.0])
    ledger = book(model, AlphaBeta(2, 1), [1.0, 2.0])
    np.testing.assert_allclose(line(ledger, "only"), [4, 8, 0, -4], rtol=1e-12)
    # with both signs there is no leak: z = 2 - 1 = 1, and 2 R - R = R
    both = book(dense([[2.0], [-0.5]], [0.0]), AlphaBeta(2, 1), [1.0, 2.0])
    np.testing.assert_allclose(line(both, "only"), [1, 1, 0, 0], rtol=1e-12)


def test_a_negative_bias_absorbs_on_the_negative_side() -> None:
    # z = 3 - 1 + b with b = -1: positive sum 3, negative sum -2; R = 1
    # passed 2 * 1 - 1 * (1/2), the bias -1 * (1/2)
    ledger = book(dense([[3.0], [-1.0]], [-1.0]), AlphaBeta(2, 1), [1.0, 1.0])
    np.testing.assert_allclose(line(ledger, "only"), [1, 1.5, -0.5, 0], rtol=1e-12)


def test_relevance_of_a_window_that_sees_only_padding_is_lost() -> None:
    """A 1x1 convolution behind padding: the border sees no input, Flat has nobody to give it to."""
    x = keras.Input((2, 2, 1), dtype="float64")
    conv = layers.Conv2D(1, 1, dtype="float64", name="conv")
    head = layers.Dense(1, use_bias=False, dtype="float64")
    t = layers.Flatten(dtype="float64")(conv(layers.ZeroPadding2D(1, dtype="float64")(x)))
    model = keras.Model(x, head(t))
    conv.set_weights([np.ones((1, 1, 1, 1)), np.array([0.5])])
    head.set_weights([np.ones((16, 1))])
    preset = compose("test", Zero(), Flat(), Flat(), structure())
    explanation = create_analyzer("lrp", preset=preset).fit(model).analyze(np.ones((1, 2, 2, 1)), ledger=True)
    assert explanation.ledger is not None
    # 12 border pixels with 0.5 each, 4 inner ones with 1.5
    np.testing.assert_allclose(line(explanation.ledger, "conv"), [12, 6, 0, 6], rtol=1e-12)
    assert explanation.ledger.gap.max() < 1e-12


RULES = [Zero(), Epsilon(0.1), Gamma(), AlphaBeta(1, 0), AlphaBeta(2, 1), ZPlus(), WSquare(), Flat()]
RULES += [ZBox(-5.0, 5.0), AlphaBeta(2, 1, "both"), AlphaBeta(1, 0, "none")]


@settings(max_examples=3, deadline=None, derandomize=True, database=None)
@given(drawn=networks, rule=st.sampled_from(RULES))
def test_it_closes_at_every_node_of_random_networks(drawn: Network, rule: Rule) -> None:
    model, x = build(drawn, bias=True)
    preset = compose("test", rule, rule, rule, structure())
    explanation = create_analyzer("lrp", preset=preset).fit(model).analyze(x, target=1, ledger=True)
    ledger = explanation.ledger
    assert ledger is not None
    assert ledger.gap.max() < 1e-9
    assert ledger.non_finite.sum() == 0
    np.testing.assert_allclose(ledger.received[0], explanation.output[:, 1], rtol=1e-12)
    kept = ledger.received[0] - ledger.absorbed.sum(0) - ledger.lost.sum(0)
    np.testing.assert_allclose(explanation.relevance.sum((1, 2, 3)), kept, rtol=1e-7, atol=1e-9)


def test_it_closes_where_a_smooth_activation_makes_inputs_tiny() -> None:
    """silu(-60) is about 1e-24: sums of such inputs are divided by as exactly as any."""
    x = keras.Input((4,))
    t = layers.Dense(300, name="wide")(x)
    model = keras.Model(x, layers.Dense(2, name="top")(layers.Activation("silu")(t)))
    rng = np.random.default_rng(0)
    kernel = np.zeros((4, 300), "float32")
    kernel[0] = np.linspace(-62, -54, 300)
    model.get_layer("wide").set_weights([kernel, np.zeros(300, "float32")])
    model.get_layer("top").set_weights([rng.normal(size=(300, 2)) * 0.01, np.zeros(2)])
    fitted = create_analyzer("lrp.alpha_2_beta_1").fit(model)
    ledger = fitted.analyze(np.ones((1, 4), "float32"), target=0, ledger=True).ledger
    assert ledger is not None
    assert ledger.gap[ledger.nodes.index("top"), 0] < 1e-5


def test_weights_that_training_drove_to_nothing_pass_on_what_they_receive() -> None:
    """Decay leaves kernels like 1e-28: their shares are as well defined as any in float32."""
    x = keras.Input((5,))
    model = keras.Model(x, layers.Dense(2, name="top")(layers.Dense(4, use_bias=False, name="faint")(x)))
    rng = np.random.default_rng(0)
    kernel, image = 1e-28 * rng.normal(size=(5, 4)), np.abs(rng.normal(size=5))
    model.get_layer("faint").set_weights([kernel])
    model.get_layer("top").set_weights([np.ones((4, 2)), np.ones(2)])
    rules = ((Named("top"), Flat()), (Named("faint"), AlphaBeta(2, 1)))
    e = create_analyzer("lrp.zero", rules=rules).fit(model).analyze(image[None].astype("float32"), target=0)
    w = kernel.astype("float32").astype("float64")
    want = oracles.alpha_beta(image, w, np.zeros(4), np.full(4, 0.25), 2, 1)
    np.testing.assert_allclose(e.relevance[0], want, rtol=1e-5)


def test_every_lrp_method_keeps_one_and_its_lines_are_in_backward_order() -> None:
    x = keras.Input((6, 6, 2))
    t = layers.Conv2D(3, 3, activation="relu", name="conv")(x)
    model = keras.Model(x, layers.Dense(2, name="top")(layers.Flatten(name="flat")(t)))
    image = np.random.default_rng(0).uniform(-1, 1, (3, 6, 6, 2)).astype("float32")
    for info in list_methods():
        if info.family != "lrp" or info.name == "lrp":
            continue
        box = {"low": -1.0, "high": 1.0} if "low" in info.needs else {}
        e = create_analyzer(info.name, **box).fit(model).analyze(image, ledger=True)
        assert e.ledger is not None
        assert e.ledger.nodes == ("top", "flat", "conv/relu", "conv"), info.name
        assert all(column.shape == (4, 3) for column in e.ledger[1:])
        assert e.ledger.gap.max() < 1e-4, info.name
