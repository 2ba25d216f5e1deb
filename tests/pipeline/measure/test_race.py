"""A race of candidates on the same images: against SciPy's paired test, and simulated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipeline.measure.race import standing

OFFSETS = np.array([0.3, 0.1, 0.28])


def draw(n: int, seed: int) -> np.ndarray:
    """Three candidates whose images differ by far more than they do."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 1)) + OFFSETS + 0.05 * rng.normal(size=(n, 3))


def test_intervals_are_those_of_the_paired_t_test_at_the_shared_level():
    values = draw(12, 0)
    seen = standing(values, looks=4, tie=0.0)
    assert seen.leader == int(values.mean(axis=0).argmax())
    for other in {0, 1, 2} - {seen.leader}:
        test = stats.ttest_rel(values[:, seen.leader], values[:, other])
        # 3 pairs, 4 looks
        interval = test.confidence_interval(1 - 0.05 / 12)
        assert (seen.low[other], seen.high[other]) == pytest.approx((interval.low, interval.high))
    assert seen.low[seen.leader] == seen.high[seen.leader] == 0


def test_a_race_ends_with_a_difference_or_with_a_tie():
    values = draw(400, 1)
    assert not standing(values[:6], looks=10, tie=0.0).decided  # 0.30 and 0.28: not yet
    assert standing(values, looks=10, tie=0.0).decided  # now
    # a difference of 0.02 does not matter where 0.1 is a tie
    assert standing(values[:40], looks=10, tie=0.1).decided
    # equals never end without a tie, and do with one
    equal = np.random.default_rng(2).normal(size=(200, 1)) + 0.1 * np.random.default_rng(3).normal(
        size=(200, 2)
    )
    assert not standing(equal, looks=10, tie=0.0).decided
    assert standing(equal, looks=10, tie=0.05).decided


def test_too_few_images_decide_nothing_and_one_candidate_needs_none():
    assert not standing(np.array([[9.0, 0.0]] * 3), looks=1, tie=1.0).decided
    assert not standing(np.zeros((0, 2)), looks=1, tie=1.0).decided
    assert standing(np.zeros((0, 1)), looks=1, tie=0.0).decided
    holes = draw(12, 4)
    holes[3, 1] = np.nan
    assert standing(holes, looks=1, tie=0).n == 11
    with pytest.raises(ValueError, match="looks >= 1"):
        standing(draw(5, 0), looks=0, tie=0)


def test_equals_are_told_apart_in_at_most_five_percent_of_races():
    """400 races of three equal candidates, looked at after every 8 of 48 images: 5 % is 20, +- 2 sd is 29."""
    wrong = 0
    for race in range(400):
        rng = np.random.default_rng([7, race])
        values = rng.normal(size=(48, 1)) + rng.standard_t(5, size=(48, 3))
        looks = [standing(values[:n], looks=6, tie=0.0) for n in range(8, 49, 8)]
        wrong += any((np.delete(s.low, s.leader) > 0).any() for s in looks)
    assert wrong <= 29
