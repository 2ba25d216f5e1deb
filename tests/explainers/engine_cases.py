"""Run by test_engines.py in a process whose Keras has another back-end: prints one JSON object.

Arguments: names of the layers that are tried, all of ``LAYERS`` without any.

`{"maps": {case: relative L2 to the oracle}, "ties": {...}, "gap": ..., "repeats": ..., "together": ...}`;
nothing here may import TensorFlow.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence

import keras
import numpy as np

from explainers import analyze_many, create_analyzer
from explainers.rules import AlphaBeta, Epsilon, Flat, Gamma, Rule, WSquare, ZBox, Zero, ZPlus
from explainers.rules.presets import compose, structure
from tests import oracles
from tests.explainers import numpy_networks
from tests.explainers.model.linear_cases import CASES, built, draw, stages

layers = keras.layers
RULES: dict[str, tuple[Rule, Callable[..., np.ndarray], bool]] = {
    "zero": (Zero(), oracles.zero, True),
    "epsilon": (Epsilon(0.1), lambda *v: oracles.epsilon(*v, 0.1), True),
    "gamma": (Gamma(), oracles.gamma, False),
    "alpha_1_beta_0": (AlphaBeta(1, 0), lambda *v: oracles.alpha_beta(*v, 1, 0), False),
    "alpha_2_beta_1": (AlphaBeta(2, 1), lambda *v: oracles.alpha_beta(*v, 2, 1), False),
    "z_plus": (ZPlus(), oracles.z_plus, False),
    "w_square": (WSquare(), oracles.w_square, False),
    "flat": (Flat(), oracles.flat, False),
    "z_box": (ZBox(-2.0, 2.5), lambda *v: oracles.z_box(*v, -2.0, 2.5), False),
}
LAYERS = (
    "dense", "conv1d", "conv2d", "conv2d_even_kernel", "strided", "dilated", "grouped", "depthwise",
    "separable", "separable_plain", "transposed", "einsum",
)  # fmt: skip


def error(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def rule_on_layer(name: str, rule: str) -> float:
    """Relative L2 of a float32 layer under a bias-free head, one image."""
    made, oracle, split = RULES[rule]
    case = CASES[name]
    layer = built(case, True, "float32", 1)
    x = keras.Input(case.shape)
    head = layers.Dense(2, use_bias=False)
    model = keras.Model(x, head(layers.Flatten()(layer(x))))
    rng = np.random.default_rng(2)
    image = draw(rng, case.shape)
    chain, values = stages(case, True, 1, split), [image.reshape(-1)]
    for matrix, bias in chain:
        values.append(values[-1] @ matrix + bias)
    w = draw(rng, (len(values[-1]), 2))
    head.set_weights([w])
    r = oracles.epsilon(values[-1], w, np.zeros(2), np.array([(values[-1] @ w)[0], 0.0]))
    for (matrix, bias), a in zip(reversed(chain), reversed(values[:-1]), strict=True):
        r = oracle(a, matrix, bias, r)
    preset = compose(rule, Epsilon(), Epsilon(), made, structure())
    if name in ("dense", "einsum"):
        preset = compose(rule, Epsilon(), made, made, structure())
    fitted = create_analyzer("lrp", preset=preset).fit(model)
    got = fitted.analyze(image[None].astype("float32"), target=0).relevance[0]
    return error(got.reshape(-1), r)


def winners(layer: keras.layers.Layer, shape: tuple[int, ...]) -> list[int]:
    """Positions that get something where all inputs are equal."""
    x = keras.Input(shape)
    head = layers.Dense(1, use_bias=False)
    model = keras.Model(x, head(layers.Flatten()(layer(x))))
    head.set_weights([np.ones((head.kernel.shape[0], 1))])
    got = create_analyzer("lrp.zero").fit(model).analyze(np.ones((1, *shape), "float32")).relevance[0]
    return [int(i) for i in np.flatnonzero(got.reshape(-1))]


def residual(preset: str, model: keras.Model, x: np.ndarray) -> float:
    """Median relative L2 of a residual network with BatchNorm to its re-implementation in numpy."""
    weights = {layer.name: [np.asarray(v) for v in layer.get_weights()] for layer in model.layers}
    got = create_analyzer(preset).fit(model).analyze(x).relevance
    rules = numpy_networks.PRESETS[preset]
    want = [numpy_networks.residual(weights, image.astype("float64"), rules)[0] for image in x]
    return float(np.median([error(a, b) for a, b in zip(got, want, strict=True)]))


def main(names: Sequence[str]) -> None:
    from tests.explainers.model.test_networks import residual_model

    model = residual_model()
    x = np.random.default_rng(3).normal(size=(3, 16, 16, 3)).astype("float32")
    presets = ("lrp.epsilon", "lrp.preset_a", "lrp.preset_b", "lrp.preset_a_flat")
    fitted = [create_analyzer(name).fit(model) for name in presets]
    alone, again = ([analyzer.analyze(x) for analyzer in fitted] for _ in range(2))
    ledgers = [analyzer.analyze(x, ledger=True).ledger for analyzer in fitted]
    together = analyze_many(fitted, x)
    pool = layers.MaxPooling2D
    print(
        json.dumps(
            {
                "backend": keras.backend.backend(),
                "maps": {f"{name} {rule}": rule_on_layer(name, rule) for name in names for rule in RULES},
                "networks": {name: residual(name, model, x) for name in presets},
                "ties": {
                    "2x2": winners(pool(2), (4, 4, 1)),
                    "3x3 stride 2 same": winners(pool(3, 2, padding="same"), (4, 4, 1)),
                    "1d": winners(layers.MaxPooling1D(2), (4, 1)),
                    "3d": winners(layers.MaxPooling3D(2), (2, 2, 2, 1)),
                    "global": winners(layers.GlobalMaxPooling2D(), (3, 3, 1)),
                },
                "gap": max(float(ledger.gap.max()) for ledger in ledgers if ledger is not None),
                "repeats": all(
                    np.array_equal(a.relevance, b.relevance) for a, b in zip(alone, again, strict=True)
                ),
                "together": max(
                    error(a.relevance, b.relevance) for a, b in zip(alone, together, strict=True)
                ),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:] or LAYERS)
