"""Paired differences between two runs: against SciPy, and calibrated by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.statistics.differences import Pairs, changes, measure_change


def pairs(rng, shifts, n, scale=0.5, worse=-1, relevant=0.25) -> Pairs:
    """Heavy-tailed differences of ``n`` images of each class."""
    shifts = np.asarray(shifts, dtype=float)
    noise = scale * rng.standard_t(5, (len(shifts), n)) / np.sqrt(5 / 3)
    label = np.repeat(np.arange(len(shifts)), n)
    return Pairs(label, (shifts[:, None] + noise).ravel(), relevant, worse)


def test_one_class_of_many_images_is_a_plain_t_test():
    rng = np.random.default_rng(0)
    x = rng.normal(0.4, 0.5, 2000)
    found = measure_change(Pairs(np.zeros(2000, int), x, 0.25, 1), 5)
    expected = stats.ttest_1samp(x, 0.25, alternative="greater")
    assert found.p_worse[0] == pytest.approx(expected.pvalue, rel=0.05)
    assert found.p_better[0] == pytest.approx(
        stats.ttest_1samp(x, -0.25, alternative="less").pvalue, abs=1e-12
    )
    low, high = stats.t.interval(0.95, 1999, x.mean(), stats.sem(x))
    assert (found.low[0], found.high[0]) == pytest.approx((low, high), rel=2e-3)


def test_the_variance_is_moderated():
    """Smyth's: (4 s0^2 + SS) / (4 + n - 1), here with both classes' sums of squares by hand."""
    x = np.array([0.0, 1.0, 2.0, 10.0, 10.0, 10.0])
    found = measure_change(Pairs(np.repeat([3, 8], 3), x, 0.25, 1), 2)
    pooled = 2.0 / 4  # squares about the means: 2 and 0, with 2 + 2 degrees of freedom
    variance = np.array([4 * pooled + 2.0, 4 * pooled]) / 6
    half = stats.t.ppf(0.975, 6) * np.sqrt(variance / 3)
    assert found.label.tolist() == [3, 8]
    np.testing.assert_allclose(found.high - found.mean, half)


@pytest.mark.parametrize("n", [5, 10, 30])
def test_at_the_edge_of_what_matters_few_are_called_changed(n):
    """All classes changed by exactly what does not yet matter: in at most 5 % of runs one is called so."""
    rng = np.random.default_rng(n)
    alarms = 0
    for _ in range(200):
        shifts = np.where(np.arange(60) % 2, 0.25, -0.25)
        said = changes([measure_change(pairs(rng, shifts, n), 5)], {}, {}).change
        alarms += any(word in ("worse", "better", "new", "gone") for word in said)
    assert alarms <= 18  # 5 % and three standard errors of 200 runs


@pytest.mark.parametrize("n", [5, 10, 30])
def test_intervals_cover(n):
    rng = np.random.default_rng(100 + n)
    found = measure_change(pairs(rng, np.zeros(4000), n), 5)
    covered = (found.low < 0) & (found.high > 0)
    assert covered.mean() >= 0.935


def test_what_became_of_classes():
    rng = np.random.default_rng(1)
    shifts = [-2.0, -2.0, 0.0, 2.0, 2.0, -0.3]
    said = changes(
        [measure_change(pairs(rng, shifts, 100), 5)],
        {0: "unremarkable", 1: "suspected", 3: "confirmed", 4: "cleared"},
        {0: "confirmed", 1: "confirmed", 3: "unremarkable", 4: "cleared"},
    )
    assert [str(word) for word in said.change] == [
        "new",
        "worse",
        "unchanged",
        "gone",
        "better",
        "undecided",
    ]
    up = changes([measure_change(pairs(rng, [2.0, -2.0], 100, worse=1), 5)], {}, {})
    assert up.change == ("worse", "better")


def test_two_measures_share_the_level_and_either_may_tell():
    rng = np.random.default_rng(2)
    lift = measure_change(pairs(rng, [0.0, 0.0, -2.0], 100), 5)
    effect = measure_change(pairs(rng, [0.0, 0.6], 100, 0.2, 1, 0.1), 5)
    said = changes([lift, effect], {}, {})
    assert said.change == ("unchanged", "worse", "worse")
    alone = changes([lift], {}, {})
    assert said.q[2] == alone.q[2]  # the third class has one measure


def test_what_is_worse_by_one_measure_is_not_better_by_another():
    rng = np.random.default_rng(4)
    lift = measure_change(pairs(rng, [2.0, 2.0], 100), 5)  # a lift that rises is better
    effect = measure_change(pairs(rng, [0.6, 0.0], 100, 0.2, 1, 0.1), 5)
    assert changes([lift, effect], {}, {}).change == ("worse", "better")


def test_too_few_images_say_nothing():
    rng = np.random.default_rng(3)
    found = measure_change(pairs(rng, [-3.0, -3.0], 4), 5)
    assert np.isnan(found.mean).all()
    assert set(changes([found], {}, {}).change) == {"undecided"}
    assert changes([], {}, {}).change == ()
    nothing = measure_change(Pairs(np.empty(0, int), np.empty(0), 0.25, 1), 5)
    assert changes([nothing, found], {}, {}).change == ("undecided", "undecided")


@given(st.integers(0, 10**6), st.integers(2, 8))
def test_forwards_is_backwards_of_backwards(seed, n_classes):
    rng = np.random.default_rng(seed)
    shifts = rng.choice([-1.0, 0.0, 1.0], n_classes)
    forward = pairs(rng, shifts, 12)
    backward = Pairs(forward.label, -forward.change, forward.relevant, forward.worse)
    verdicts = {k: rng.choice(["confirmed", "unremarkable"]) for k in range(n_classes)}
    other = {k: rng.choice(["suspected", "cleared"]) for k in range(n_classes)}
    there = changes([measure_change(forward, 5)], verdicts, other).change
    back = changes([measure_change(backward, 5)], other, verdicts).change
    turned = {"new": "gone", "gone": "new", "worse": "better", "better": "worse"}
    assert [str(w) for w in back] == [turned.get(w, str(w)) for w in there]
