"""DeepLIFT, DeepSHAP and Gradient SHAP: hand cases, summation to delta, expectations."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from explainers import create_analyzer
from explainers.errors import InvalidInput, UnsupportedLayer
from tests.explainers.methods import small

layers = keras.layers
RANGE = {"low": -1, "high": 1}
SHAPE = (12, 10, 3)


def relu_of_two() -> keras.Model:
    """`f = relu(x1 + x2 - 1)`, the paper's example of a saturating gradient reversed; two equal outputs."""
    x = keras.Input((2,), dtype="float64")
    hidden = layers.Dense(1, activation="relu", dtype="float64")(x)
    model = keras.Model(x, layers.Dense(2, use_bias=False, dtype="float64")(hidden))
    model.set_weights([np.ones((2, 1)), np.array([-1.0]), np.ones((1, 2))])
    return model


def test_rescale_by_hand() -> None:
    """x = (2, 1), x' = (0, 0): z = 2, z' = -1, relu 2 and 0: multiplier (2 - 0) / (2 - -1) = 2/3."""
    fitted = create_analyzer("deeplift", reference=0, low=0, high=3).fit(relu_of_two())
    np.testing.assert_allclose(fitted.analyze(np.array([[2.0, 1.0]]), 0).relevance, [[4 / 3, 2 / 3]])


def test_where_nothing_changes_the_derivative_stands_in() -> None:
    """x = (2, 1) against x' = (1, 2): z = z' = 2, so the multiplier is the derivative, 1."""
    fitted = create_analyzer("deeplift", reference=(1, 2), low=0, high=3).fit(relu_of_two())
    np.testing.assert_allclose(fitted.analyze(np.array([[2.0, 1.0]]), 0).relevance, [[1, -1]])


def network(kind: str) -> keras.Model:
    """One network per node that has a rule of its own."""
    rng, d = np.random.default_rng(4), "float64"
    x = keras.Input((6, 6, 2), dtype=d)
    t = layers.Conv2D(4, 3, padding="same", dtype=d)(x)
    if kind == "max_pool":
        t = layers.MaxPooling2D(3, 2, dtype=d)(t)
    elif kind == "maximum":
        t = layers.Maximum(dtype=d)([t, layers.Conv2D(4, 1, dtype=d)(x)])
    elif kind == "minimum":
        t = layers.Minimum(dtype=d)([t, layers.Conv2D(4, 1, dtype=d)(x)])
    elif kind == "multiply":
        gate = layers.Dense(4, activation="sigmoid", dtype=d)(layers.GlobalAveragePooling2D(dtype=d)(t))
        t = layers.Multiply(dtype=d)([t, layers.Reshape((1, 1, 4), dtype=d)(gate)])
    elif kind == "batch_norm":
        t = layers.BatchNormalization(dtype=d)(layers.Add(dtype=d)([t, layers.Conv2D(4, 1, dtype=d)(x)]))
    else:
        t = layers.Activation(kind, dtype=d)(t)
    t = layers.Activation("softplus", dtype=d)(layers.Conv2D(3, 3, dtype=d)(t) if kind != "max_pool" else t)
    model = keras.Model(x, layers.Dense(3, dtype=d)(layers.Flatten(dtype=d)(t)))
    model.set_weights(
        [
            np.abs(rng.normal(size=w.shape)) if "variance" in w.name else rng.normal(size=w.shape)
            for w in model.weights
        ]
    )
    return model


KINDS = [
    "max_pool",
    "maximum",
    "minimum",
    "multiply",
    "batch_norm",
    "relu",
    "gelu",
    "silu",
    "tanh",
    "hard_sigmoid",
]


@pytest.mark.parametrize("kind", KINDS)
def test_maps_sum_to_the_difference_to_the_reference(kind: str) -> None:
    model, x = network(kind), small.images(3, (6, 6, 2))
    explained = (
        create_analyzer("deeplift", **RANGE, reference=0.3).fit(model).analyze(x, [0, 1, 2], ledger=True)
    )
    logits = np.asarray(model(np.concatenate([x, np.full((1, 6, 6, 2), 0.3)])))
    difference = (logits[:3] - logits[3])[np.arange(3), [0, 1, 2]]
    np.testing.assert_allclose(explained.relevance.sum((1, 2, 3)), difference, rtol=1e-6)
    assert explained.ledger is not None
    assert explained.ledger.gap.max() < 1e-7


def test_a_shared_layer_keeps_the_sum() -> None:
    x = keras.Input((5,), dtype="float64")
    shared = layers.Dense(5, activation="relu", dtype="float64")
    model = keras.Model(x, layers.Dense(2, dtype="float64")(shared(shared(x))))
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.weights])
    x = small.images(4, (5,))
    explained = create_analyzer("deeplift", **RANGE, reference=0).fit(model).analyze(x, 1)
    logits = np.asarray(model(np.concatenate([x, np.zeros((1, 5))])))[:, 1]
    np.testing.assert_allclose(explained.relevance.sum(1), logits[:4] - logits[4], rtol=1e-9)


def test_deep_shap_is_the_mean_of_deeplift_over_the_references() -> None:
    model, x = small.convolutional("float64"), small.images(2, SHAPE)
    others = np.stack([np.full(SHAPE, v) for v in (-0.5, 0.0, 0.7)])
    together = (
        create_analyzer("deep_shap", references=3, batch_size=4).fit(model, others).analyze(x, 2, ledger=True)
    )
    apart = [
        create_analyzer("deeplift", **RANGE, reference=v).fit(model).analyze(x, 2).relevance
        for v in (-0.5, 0.0, 0.7)
    ]
    np.testing.assert_allclose(together.relevance, np.mean(apart, axis=0), rtol=1e-9, atol=1e-12)
    assert together.ledger is not None
    assert together.ledger.gap.max() < 1e-9


def test_gradient_shap_of_a_linear_model_is_exact() -> None:
    weights = np.random.default_rng(0).normal(size=(4, 3, 2, 2))
    x, others = small.images(2, (4, 3, 2)), small.images(3, (4, 3, 2), seed=5)
    fitted = create_analyzer("gradient_shap", samples=6, references=3).fit(small.linear(weights), others)
    explained = fitted.analyze(x, 1, ledger=True)
    np.testing.assert_allclose(explained.relevance, (x - others.mean(0)) * weights[..., 1], rtol=1e-9)
    assert explained.ledger is not None
    assert explained.ledger.gap.max() < 1e-12


def test_gradient_shap_approaches_integrated_gradients_for_one_reference() -> None:
    model, x = small.convolutional("float64"), small.images(1, SHAPE)
    many = create_analyzer("gradient_shap", samples=1000, references=1).fit(model, np.full((1, *SHAPE), -1.0))
    path = create_analyzer("integrated_gradients", **RANGE, steps=200).fit(model)
    a, b = many.analyze(x, 0).relevance, path.analyze(x, 0).relevance
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.99


def test_gradient_shap_with_noise_ends_at_the_noisy_image() -> None:
    """Of a linear model every sample is `(x + n_s - x'_s) w`, with draws that are made here anew."""
    weights = np.random.default_rng(0).normal(size=(4, 3, 2, 2))
    x, others = small.images(2, (4, 3, 2)), small.images(3, (4, 3, 2), seed=5)
    params = {"samples": 6, "references": 3, "noise_scale": 0.4, "seed": 8}
    explained = create_analyzer("gradient_shap", **params).fit(small.linear(weights), others).analyze(x, 1)
    noise = [0.4 * np.random.default_rng((8, j)).standard_normal((4, 3, 2)) for j in range(6)]
    expected = (x + np.mean(noise, axis=0) - others.mean(0)) * weights[..., 1]
    np.testing.assert_allclose(explained.relevance, expected, rtol=1e-9)


def test_references_come_from_the_first_images_of_a_stream() -> None:
    model, data = small.convolutional("float64"), small.images(7, SHAPE)
    whole = create_analyzer("deep_shap", references=5).fit(model, data)
    batches = create_analyzer("deep_shap", references=5).fit(model, (data[i : i + 2] for i in range(0, 7, 2)))
    np.testing.assert_array_equal(whole.state["references"], data[:5])
    np.testing.assert_array_equal(batches.state["references"], data[:5])
    with pytest.raises(InvalidInput, match="no batch"):
        create_analyzer("deep_shap").fit(model, [])


def test_deeplift_explains_a_function_of_the_output() -> None:
    weights = np.random.default_rng(0).normal(size=(4, 3, 2, 3))
    x = small.images(2, (4, 3, 2))
    explained = (
        create_analyzer("deeplift", **RANGE, reference=0)
        .fit(small.linear(weights))
        .analyze(x, target=lambda output: ops.sum(output, axis=1) / 2, ledger=True)
    )
    np.testing.assert_allclose(explained.relevance, x * weights.sum(-1) / 2, rtol=1e-9)


def test_what_no_rule_covers_is_named() -> None:
    x = keras.Input((4, 6))
    normed = layers.LayerNormalization()(x)
    model = keras.Model(x, layers.Dense(2)(layers.Flatten()(normed)))
    with pytest.raises(UnsupportedLayer, match=r"deeplift.*LayerNormalization"):
        create_analyzer("deeplift", **RANGE).fit(model)
