"""The relative test: against textbook formulas and brute force, its invariances, and how often it errs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.config_sections import RankingConfig
from pipeline.statistics.adjust import Adjusted, adjust
from pipeline.statistics.relative import (
    Relative,
    compare,
    effective_freedom,
    moderated_variances,
    prior_freedom,
)
from pipeline.statistics.resampling import discovery_rates
from tests.pipeline.statistics.test_resampling import table

LIMIT = -0.5


def certain(residual, n_classes):
    """Residuals (n,) of equal classes about a curve and a centre that are known exactly."""
    fitted = adjust(*table(2, 2, 0))
    zero = np.zeros(n_classes)
    return Adjusted(residual, zero, zero, fitted.basis, fitted.fit, 0.0)


def judged(n_classes, per_class, seed, effect=None):
    lift, area, distance, bounds = table(n_classes, per_class, seed, effect)
    _, relative = compare(lift, area, distance, bounds, RankingConfig())
    return relative, discovery_rates(relative.p, np.ones(n_classes, dtype=bool), "bh") <= 0.05


def differing(n_classes, sd, seed, freedom=6):
    """True effects (C,) of classes that differ: Student's t of standard deviation ``sd``."""
    t = np.random.default_rng([seed, 3]).standard_t(freedom, n_classes)
    return sd * t / np.sqrt(freedom / (freedom - 2))


# -- variances and degrees of freedom


def test_variances_borrow_as_much_as_the_prior_weighs():
    values, bounds = np.array([1.0, 3.0, 5.0, 5.0, 8.0, 2.0]), np.array([0, 2, 5, 6])
    prior = prior_freedom(np.array([2.0, 3.0]), np.array([1, 2]))
    pooled = (2.0 + 6.0) / (1 + 2)
    variance, freedom = moderated_variances(values, bounds)
    expected = [(prior * pooled + s) / (prior + d) for s, d in ((2, 1), (6, 2), (0, 0))]
    np.testing.assert_allclose(variance, expected)
    assert freedom.tolist() == [3, 3, 3]  # not more than all images have
    assert np.isnan(moderated_variances(np.ones(2), np.array([0, 1, 2]))).all()


@pytest.mark.parametrize("truth", [4.0, 12.0])
def test_prior_freedom_is_that_of_the_true_variances(truth):
    """Smyth's model: true variances are ``d0 s0^2 / chi^2_d0``, the images of a class are normal."""
    rng = np.random.default_rng(1)
    freedom = rng.integers(4, 30, 4000)
    sigma2 = truth * 0.7 / rng.chisquare(truth, 4000)
    found = prior_freedom(sigma2 * rng.chisquare(freedom) / freedom, freedom)
    assert found == pytest.approx(truth, rel=0.12)


def test_equal_variances_and_too_few_of_them_are_pooled():
    freedom = np.full(3000, 9)
    equal = np.random.default_rng(0).chisquare(freedom) / freedom
    assert prior_freedom(equal, freedom) > 150
    assert prior_freedom(np.array([2.0]), np.array([5])) == 1000
    assert prior_freedom(np.zeros(4), np.full(4, 5)) == 1000
    assert (
        prior_freedom(np.r_[equal[:50], 0.0], freedom[:51]) < 1000
    )  # one class of equal values is no trouble


def test_effective_freedom_is_welchs():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(8), 3 * rng.standard_normal(15)
    parts = [(np.array([x.var(ddof=1) / len(x)]), len(x) - 1) for x in (a, b)]
    expected = stats.ttest_ind(a, b, equal_var=False).df
    assert effective_freedom(sum(v for v, _ in parts), *parts)[0] == pytest.approx(expected)


# -- the test


@pytest.mark.parametrize("freedom", [6, 1000])
@pytest.mark.parametrize(("per_class", "most"), [(5, 1.5), (20, 1.2)])
def test_p_equals_brute_force_where_images_are_exchangeable(per_class, most, freedom):
    """A class, moved up by the limit, is as low as how many choices of as many of all images?"""
    rng = np.random.default_rng(per_class)
    values = rng.standard_t(freedom, (200, per_class))
    values -= values[1:].mean()
    own = (values[0] - values[0].mean()) / values[0].std(ddof=1)  # a class as spread as the others
    spread = np.sqrt(values[1:].var(axis=1, ddof=1).mean())
    for drop in (1.3, 1.8, 2.3):  # standard errors that it lies below the limit
        values[0] = spread * (own - drop / np.sqrt(per_class))
        lower = values + LIMIT * (np.arange(200) == 0)[:, None]
        bounds = np.arange(0, values.size + 1, per_class)
        p = Relative.of(certain(lower.ravel(), 200), bounds, LIMIT).p[0]
        drawn = rng.choice(values.ravel(), (40_000, per_class)).mean(axis=1)
        exact = np.mean(drawn <= values[0].mean())
        assert 0.8 * exact <= p <= most * exact, drop  # the variance is estimated: somewhat too large


@given(st.floats(-20, 20), st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_a_shift_of_all_lifts_changes_nothing(shift, seed):
    lift, area, distance, bounds = table(8, 12, seed, {1: -1.0})
    before = Relative.of(adjust(lift, area, distance, bounds), bounds, LIMIT)
    after = Relative.of(adjust(lift + shift, area, distance, bounds), bounds, LIMIT)
    for name in ("mean", "low", "high", "shrunk", "p"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), rtol=1e-5, atol=1e-6)


@given(st.integers(0, 50), st.floats(0.05, 3))
@settings(max_examples=40, deadline=None)
def test_a_lower_class_has_a_lower_p_and_one_inside_the_limit_none(seed, drop):
    rng = np.random.default_rng(seed)
    values, bounds = rng.standard_normal(300), np.arange(0, 301, 15)
    first = Relative.of(certain(values, 20), bounds, LIMIT)
    lowest = int(np.argmin(first.mean))  # below the ordinary class: its place tells nothing of their spread
    rows = np.arange(300) // 15 == lowest
    lower = Relative.of(certain(np.where(rows, values - drop, values), 20), bounds, LIMIT)
    assert lower.p[lowest] < first.p[lowest]
    assert (first.p[first.mean > LIMIT] > 0.5).all()


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.3]), st.integers(2, 30))
@settings(max_examples=40, deadline=None)
def test_what_is_suspicious_is_never_what_excludes_the_effect(seed, sd, n_classes):
    relative, suspicious = judged(n_classes, 6, seed, dict(enumerate(differing(n_classes, sd, seed) - 0.4)))
    assert (relative.low[suspicious] < LIMIT).all()
    assert ((relative.low <= relative.shrunk) & (relative.shrunk <= relative.high)).all()


def test_nothing_is_said_where_no_class_has_two_images():
    relative, suspicious = judged(3, 1, 0)
    assert np.isnan(relative.p).all()
    assert np.isnan(relative.high).all()
    assert not suspicious.any()


# -- how often it errs


@pytest.mark.parametrize("sd", [0.0, 0.3])
@pytest.mark.parametrize(("n_classes", "per_class", "runs"), [(50, 10, 30), (200, 5, 8)])
def test_intervals_cover_and_nobody_is_accused_falsely(n_classes, per_class, runs, sd):
    inside, false = [], 0
    for seed in range(runs):
        truth = differing(n_classes, sd, seed)
        relative, suspicious = judged(n_classes, per_class, seed, dict(enumerate(truth)))
        inside += ((relative.low <= truth) & (truth <= relative.high)).tolist()
        false += int((suspicious & (truth >= LIMIT)).any())
    assert 0.94 <= np.mean(inside) <= 0.99
    assert false <= 1


@pytest.mark.parametrize("per_class", [50, 500])
def test_more_images_of_classes_that_differ_are_no_more_accusations(per_class):
    truth = 0.28 * np.random.default_rng(0).standard_normal(200)
    truth[7] = -1.5
    relative, suspicious = judged(200, per_class, 1, dict(enumerate(truth)))
    assert suspicious[7]
    assert suspicious.sum() <= 2
    assert relative.tau == pytest.approx(0.28, rel=0.2)


def test_classes_with_an_effect_do_not_hide_one_another():
    effect = {0: -2.0, 1: -2.0, 2: -2.0}
    runs = [judged(12, 30, seed, effect) for seed in range(12)]
    found = np.mean([suspicious for _, suspicious in runs], axis=0)
    assert found[:3].min() >= 0.9
    assert found[3:].max() == 0
    # nor bend the curve: ordinary means are off by 0.8 of their standard error of about 0.15
    assert np.mean([np.abs(relative.mean[3:]).mean() for relative, _ in runs]) < 0.15
