"""Each rule x each linear layer type x bias or none x negative inputs or none, against the matrix form.

One network holds the four variants of a layer side by side: with and without bias, on the raw input and
behind a ReLU (whose output the graph knows to be non-negative). A dense head on all of them sends relevance
of both signs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from explainers import create_analyzer
from explainers.rules import AlphaBeta, Epsilon, Flat, Gamma, Rule, WSquare, ZBox, Zero, ZPlus
from explainers.rules.presets import compose, structure
from tests import oracles
from tests.explainers.model.linear_cases import CASES, built, draw, stages
from tests.oracles import Array

layers = keras.layers
Stages = list[tuple[Array, Array]]
SEED, N_IMAGES, N_LOGITS = 1, 2, 4
VARIANTS = [(bias, behind_relu) for bias in (True, False) for behind_relu in (True, False)]
LOW, HIGH = -2.0, 2.5


@dataclass(frozen=True)
class Pair:
    """A rule of the library and its oracle; ``split``: a separable convolution is two nodes to it."""

    rule: Rule
    oracle: Callable[..., Array]
    split: bool = False
    first_only: bool = False  # the head then gets Epsilon


PAIRS = {
    "zero": Pair(Zero(), oracles.zero, split=True),
    "epsilon": Pair(Epsilon(), oracles.epsilon, split=True),
    "epsilon_large": Pair(Epsilon(0.1), partial(oracles.epsilon, eps=0.1), split=True),
    "gamma": Pair(Gamma(), oracles.gamma),
    "gamma_large": Pair(Gamma(2.0), partial(oracles.gamma, gamma=2.0)),
    "alpha_1_beta_0": Pair(AlphaBeta(1, 0), partial(oracles.alpha_beta, alpha=1, beta=0)),
    "alpha_2_beta_1": Pair(AlphaBeta(2, 1), partial(oracles.alpha_beta, alpha=2, beta=1)),
    "z_plus": Pair(ZPlus(), oracles.z_plus),
    "w_square": Pair(WSquare(), oracles.w_square),
    "flat": Pair(Flat(), oracles.flat),
    "z_box": Pair(ZBox(LOW, HIGH), partial(oracles.z_box, low=LOW, high=HIGH), first_only=True),
}


@pytest.fixture(autouse=True)
def without_compiling() -> Iterator[None]:
    """Hundreds of tiny networks run once each: tracing them would take most of the time."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@cache
def network(name: str, dtype: str) -> keras.Model:
    case = CASES[name]
    x = keras.Input(case.shape, dtype=dtype)
    branches = []
    for seed, (bias, behind_relu) in enumerate(VARIANTS):
        t = layers.ReLU(dtype=dtype)(x) if behind_relu else x
        branches.append(layers.Flatten(dtype=dtype)(built(case, bias, dtype, SEED + seed)(t)))
    head = layers.Dense(N_LOGITS, dtype=dtype)
    model = keras.Model(x, head(layers.Concatenate(dtype=dtype)(branches)))
    rng = np.random.default_rng(SEED)
    head.set_weights([draw(rng, tuple(w.shape)) for w in head.weights])
    return model


@cache
def matrices(name: str, split: bool) -> list[Stages]:
    """Per variant: the layer's matrices in order."""
    if split and "separable" not in name:
        return matrices(name, False)
    return [stages(CASES[name], bias, SEED + seed, split) for seed, (bias, _) in enumerate(VARIANTS)]


def expected(name: str, pair: Pair, x: Array) -> tuple[Array, int]:
    """The oracle's map of one image and its target: the logit of largest size (a small one is rounding)."""
    w, b = (np.asarray(v) for v in network(name, "float64").layers[-1].get_weights())
    flat_x = x.reshape(-1)
    branches, inputs = matrices(name, pair.split), []
    for stage, (_, behind_relu) in zip(branches, VARIANTS, strict=True):
        activations = [np.maximum(flat_x, 0) if behind_relu else flat_x]
        for matrix, bias in stage:
            activations.append(activations[-1] @ matrix + bias)
        inputs.append(activations)
    top = np.concatenate([activations[-1] for activations in inputs])
    logits = top @ w + b
    target = int(np.abs(logits).argmax())
    start = np.where(np.arange(N_LOGITS) == target, logits, 0.0)
    relevance = (oracles.epsilon if pair.first_only else pair.oracle)(top, w, b, start)
    ends = np.cumsum([len(activations[-1]) for activations in inputs])[:-1]
    total = np.zeros_like(flat_x)
    for stage, activations, r in zip(branches, inputs, np.split(relevance, ends), strict=True):
        for (matrix, bias), a in zip(reversed(stage), reversed(activations[:-1]), strict=True):
            r = pair.oracle(a, matrix, bias, r)
        total += r
    return total.reshape(x.shape), target


@pytest.mark.parametrize("rule", PAIRS)
@pytest.mark.parametrize("name", CASES)
def test_rule_equals_its_matrix_form(name: str, rule: str) -> None:
    pair = PAIRS[rule]
    x = draw(np.random.default_rng(SEED + 10), (N_IMAGES, *CASES[name].shape))
    head = Epsilon() if pair.first_only else pair.rule
    preset = compose(rule, dense=head, conv=head, first=pair.rule, rest=structure())
    maps, targets = zip(*(expected(name, pair, image) for image in x), strict=True)
    reference = np.array(maps)
    for dtype, tolerance in (("float64", 1e-10), ("float32", 1e-5)):
        fitted = create_analyzer("lrp", preset=preset).fit(network(name, dtype))
        got = fitted.analyze(x.astype(dtype), target=targets).relevance
        error = np.linalg.norm(got - reference) / np.linalg.norm(reference)
        assert error <= tolerance, f"{dtype}: relative L2 {error:.2e}"
