"""Integrated Gradients, SmoothGrad and its relatives on functions whose gradients are known."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from explainers import create_analyzer
from explainers.errors import InvalidInput, InvalidParameter
from explainers.methods.integrated_gradients import midpoints
from explainers.saving import from_config, to_config
from tests.explainers.methods import small

RANGE = {"low": -1, "high": 1}
SHAPE = (3, 2, 2)


def square(seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    matrix = np.random.default_rng(seed).normal(size=(12, 5))
    return matrix, matrix @ matrix.T  # gradient of |A^T x|^2 / 2 is (A A^T) x


def test_midpoints_are_the_midpoint_rule() -> None:
    assert midpoints(4) == pytest.approx([0.125, 0.375, 0.625, 0.875])


def test_integrated_gradients_on_a_quadratic_are_exact_and_complete() -> None:
    matrix, gram = square()
    x = small.images(3, SHAPE)
    fitted = create_analyzer("integrated_gradients", **RANGE, steps=3, reference=-0.5).fit(
        small.quadratic(matrix, SHAPE)
    )
    explained = fitted.analyze(x, target=0, ledger=True)
    flat, start = x.reshape(3, -1), np.full(12, -0.5)
    # the gradient is linear along the path, so the midpoint rule is exact: (x - x') * grad at the middle
    expected = (flat - start) * (((flat + start) / 2) @ gram)
    np.testing.assert_allclose(explained.relevance.reshape(3, -1), expected, rtol=1e-10)
    difference = 0.5 * (((flat @ matrix) ** 2).sum(1) - ((start @ matrix) ** 2).sum())
    np.testing.assert_allclose(explained.relevance.sum(axis=(1, 2, 3)), difference, rtol=1e-10)
    assert explained.ledger is not None
    assert explained.ledger.gap.max() < 1e-12
    np.testing.assert_allclose(explained.ledger.received[0], difference, rtol=1e-10)


def test_the_completeness_gap_shrinks_with_the_steps() -> None:
    model, x = small.convolutional("float64"), small.images(2, (12, 10, 3))
    gaps = []
    for steps in (2, 16, 128):
        ledger = (
            create_analyzer("integrated_gradients", **RANGE, steps=steps)
            .fit(model)
            .analyze(x, ledger=True)
            .ledger
        )
        assert ledger is not None
        gaps.append(ledger.gap.max())
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 1e-3


def test_the_reference_is_the_lowest_value_of_each_channel() -> None:
    weights = np.random.default_rng(0).normal(size=(*SHAPE, 2))
    x = small.images(1, SHAPE)
    fitted = create_analyzer("integrated_gradients", steps=1, low=(-1, -3), high=2).fit(small.linear(weights))
    np.testing.assert_allclose(fitted.analyze(x, 1).relevance[0], (x[0] - [-1, -3]) * weights[..., 1])


@pytest.mark.parametrize("method", ["integrated_gradients", "deeplift"])
@pytest.mark.parametrize(
    ("reference", "start"), [("low", (-1, -3)), ("middle", (0.5, 0)), ("high", (2, 3)), (0.25, (0.25, 0.25))]
)
def test_references_by_word_and_by_number(method: str, reference, start) -> None:
    """Of a linear model both are `(x - x') w`; the range differs between the channels."""
    weights = np.random.default_rng(0).normal(size=(*SHAPE, 2))
    x = small.images(2, SHAPE)
    analyzer = create_analyzer(method, low=(-1, -3), high=(2, 3), reference=reference)
    assert from_config(to_config(analyzer)) == analyzer
    got = analyzer.fit(small.linear(weights)).analyze(x, 1).relevance
    np.testing.assert_allclose(got, (x - np.array(start)) * weights[..., 1], rtol=1e-9, atol=1e-12)


def test_smoothgrad_of_a_quadratic_is_the_gradient_at_the_mean_noise() -> None:
    matrix, gram = square()
    x = small.images(2, SHAPE)
    fitted = create_analyzer("smoothgrad", **RANGE, augment_by_n=7, noise_scale=0.2, seed=5).fit(
        small.quadratic(matrix, SHAPE)
    )
    noise = fitted.noise(SHAPE, np.arange(7))
    assert noise.std() == pytest.approx(0.2 * 2, rel=0.25)  # in units of the range [-1, 1]
    expected = (x.reshape(2, -1) + noise.mean(0).reshape(-1)) @ gram
    np.testing.assert_allclose(fitted.analyze(x, 0).relevance.reshape(2, -1), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("squaregrad", lambda g: (g**2).mean(0)),
        ("vargrad", lambda g: g.var(0, ddof=1)),
    ],
)
def test_moments_of_the_noisy_gradient(method: str, expected) -> None:
    matrix, gram = square()
    x = small.images(1, SHAPE)
    fitted = create_analyzer(method, **RANGE, augment_by_n=9, batch_size=4).fit(
        small.quadratic(matrix, SHAPE)
    )
    gradients = (x + fitted.noise(SHAPE, np.arange(9))).reshape(9, -1) @ gram
    np.testing.assert_allclose(fitted.analyze(x, 0).relevance.reshape(-1), expected(gradients), rtol=1e-9)


def test_variance_does_not_cancel_beside_a_large_mean() -> None:
    matrix, gram = square()
    x = small.images(1, SHAPE) + 1e7
    params = {"augment_by_n": 8, "low": 1e7 - 1, "high": 1e7 + 1}
    fitted = create_analyzer("vargrad", **params).fit(small.quadratic(matrix, SHAPE))
    noise = fitted.noise(SHAPE, np.arange(8)).reshape(8, -1)
    np.testing.assert_allclose(
        fitted.analyze(x, 0).relevance.reshape(-1), (noise @ gram).var(0, ddof=1), rtol=1e-4
    )


@pytest.mark.parametrize(("postprocess", "function"), [("abs", np.abs), ("square", np.square)])
def test_postprocessing_comes_before_the_mean(postprocess: str, function) -> None:
    matrix, gram = square()
    x = small.images(1, SHAPE)
    fitted = create_analyzer("smoothgrad", **RANGE, augment_by_n=6, postprocess=postprocess).fit(
        small.quadratic(matrix, SHAPE)
    )
    gradients = (x + fitted.noise(SHAPE, np.arange(6))).reshape(6, -1) @ gram
    np.testing.assert_allclose(
        fitted.analyze(x, 0).relevance.reshape(-1), function(gradients).mean(0), rtol=1e-9
    )


def test_a_function_of_the_output_is_explained() -> None:
    weights = np.random.default_rng(0).normal(size=(*SHAPE, 3))
    x = small.images(2, SHAPE)
    model = small.linear(weights)
    fitted = create_analyzer("integrated_gradients", **RANGE, steps=4).fit(model)
    explained = fitted.analyze(x, target=lambda output: ops.sum(output * np.array([1.0, 2.0, -1.0]), axis=1))
    np.testing.assert_allclose(explained.relevance, (x + 1) * (weights @ [1, 2, -1]), rtol=1e-10)
    assert list(explained.target) == [-1, -1]
    one_each = fitted.analyze(x, target=[2, 0])
    np.testing.assert_allclose(one_each.relevance[1], (x[1] + 1) * weights[..., 0], rtol=1e-10)


@pytest.mark.parametrize(
    ("method", "params", "names"),
    [
        ("integrated_gradients", {"steps": 0}, "steps: received 0"),
        ("integrated_gradients", {"reference": 3.0}, "outside the input range"),
        (
            "integrated_gradients",
            {"reference": "mean"},
            "valid: low, middle, high, a number",
        ),
        ("deeplift", {"reference": "mean"}, "valid: low, middle, high, a number"),
        ("integrated_gradients", {"low": 1, "high": 1}, "low < high"),
        ("smoothgrad", {"augment_by_n": 1.5}, "augment_by_n"),
        ("smoothgrad", {"noise_scale": -0.1}, "noise_scale"),
        ("smoothgrad", {"postprocess": "cube"}, "none, abs, square"),
        ("vargrad", {"augment_by_n": 1}, "2 or more"),
        ("smoothgrad", {"stepz": 3}, "takes no parameter 'stepz'"),
    ],
)
def test_impossible_parameters_are_refused_at_construction(method: str, params: dict, names: str) -> None:
    with pytest.raises(InvalidParameter, match=names):
        create_analyzer(method, **{**RANGE, **params})


def test_an_input_outside_the_declared_range_is_refused() -> None:
    fitted = create_analyzer("integrated_gradients", **RANGE).fit(small.linear(np.ones((*SHAPE, 2))))
    with pytest.raises(InvalidInput, match=r"the range \[-1.0, 1.0\] does not contain the input"):
        fitted.analyze(small.images(1, SHAPE) * 100)


def test_a_count_of_numbers_that_is_not_that_of_the_channels_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="one per channel"):
        create_analyzer("integrated_gradients", low=(0, 0, 0), high=1).fit(small.linear(np.ones((*SHAPE, 2))))
