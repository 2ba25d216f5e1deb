"""The test for the mean of bounded values: closed forms, brute force, and what Student's t gets wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipeline.statistics.bounded import expected_worst, mean_exceeds, negative_probability


@pytest.mark.parametrize(("n", "x", "worst"), [(5, 0.3, -0.3), (10, 0.6, -0.6), (20, 0.5, -1.0)])
def test_equal_values_have_the_closed_form(n: int, x: float, worst: float) -> None:
    # the weight of the worst value is Beta(1, n): P(weight >= (x - limit) / (x - worst))
    exact = ((0.1 - worst) / (x - worst)) ** n
    p = mean_exceeds(np.full((1, n), x), 0.1, worst)
    assert p[0] == pytest.approx(exact, rel=0.03)


def test_by_brute_force_and_padding_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    a = np.stack([rng.normal(mean, 0.3, 11) for mean in (0.0, 0.1, 0.2, 0.3)])
    drawn = (rng.exponential(size=(200_000, 11)) @ a.T <= 0).mean(axis=0)
    padded = np.concatenate([a, np.zeros((4, 5))], axis=1)
    np.testing.assert_allclose(negative_probability(a), drawn, atol=0.004)
    np.testing.assert_allclose(negative_probability(padded), negative_probability(a))
    np.testing.assert_allclose(negative_probability(-a), 1 - drawn, atol=0.004)


def test_a_mean_that_is_the_limit_and_values_on_one_side_of_it() -> None:
    a = np.array([[1.0, -1.0], [1.0, 2.0], [-1.0, -2.0]])
    np.testing.assert_allclose(negative_probability(a), [0.5, 0.0, 1.0], atol=1e-6)


def test_what_may_come_at_worst() -> None:
    assert expected_worst(np.array([])) == -0.3
    assert expected_worst(np.full(40, 0.5)) == -0.3
    assert expected_worst(np.concatenate([np.full(95, 0.2), np.full(5, -0.8)])) == pytest.approx(-0.8)


def test_rare_losses_do_not_look_like_a_gain() -> None:
    """Mean exactly at the limit, 92 % of the values a little above it: t is wrong three times in ten."""
    rng = np.random.default_rng(3)
    above = (0.1 + 0.08 * 0.6) / 0.92
    values = np.where(rng.random((2000, 15)) < 0.08, -0.6, above)
    p = mean_exceeds(values, 0.1, expected_worst(values.ravel()))
    error = np.maximum(values.std(axis=1, ddof=1), 1e-6) / 15**0.5
    t = stats.t.sf((values.mean(axis=1) - 0.1) / error, 14)
    assert (p <= 0.05).mean() <= 0.05
    assert (t <= 0.05).mean() > 0.2
