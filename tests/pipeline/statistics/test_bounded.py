"""The test for the mean of bounded values: closed forms, brute force, and what Student's t gets wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipeline.statistics.bounded import expected_worst, mean_exceeds, negative_probability, rates_of_asked


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
    assert expected_worst(np.full(40, 0.5)) == pytest.approx(30 * -0.3 / 32)  # 2 values of 40, seen as 0
    many = np.concatenate([np.full(950, 0.2), np.full(50, -0.1)])
    assert expected_worst(many) == pytest.approx((50 * -0.1 + 30 * -0.3) / 80)
    assert expected_worst(np.concatenate([np.full(95, 0.2), np.full(5, -0.8)])) == pytest.approx(-0.8)


def test_classes_far_below_the_limit_make_it_no_harder_for_the_others() -> None:
    p = np.array([0.001, 0.02, 0.3])
    alone = rates_of_asked(p, np.ones(3, bool), "bh")
    np.testing.assert_allclose(alone, np.array([0.003, 0.03, 0.3]) / 0.9)
    crowd = np.concatenate([p, np.full(197, 0.99), [np.nan, 1e-9]])
    many = rates_of_asked(crowd, np.arange(202) < 201, "bh")
    np.testing.assert_allclose(many[:3], alone)
    np.testing.assert_allclose(many[3:200], 1.0)
    assert np.isnan(many[200:]).all()


def test_uniform_p_are_hardly_ever_discoveries() -> None:
    rng = np.random.default_rng(5)
    wrong = [(rates_of_asked(rng.random(50), np.ones(50, bool), "bh") <= 0.05).any() for _ in range(2000)]
    assert np.mean(wrong) == pytest.approx(0.05, abs=0.015)


def test_each_class_has_a_limit_of_its_own() -> None:
    values = np.array([[0.3, 0.4, 0.5, 0.2]] * 2)
    both = mean_exceeds(values, np.array([0.1, 0.3]), -0.3)
    apart = [mean_exceeds(values[:1], limit, -0.3)[0] for limit in (0.1, 0.3)]
    np.testing.assert_allclose(both, apart)


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
