"""Who is used of several candidates: the rule, its limits, and that stopping early changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipeline.measure.contest import SHARE, contest

ALL = (True, True, True)


def draw(means: tuple[float, ...], n: int, seed: int, sd: float = 0.1) -> np.ndarray:
    """Images differ by more than candidates do."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 1)) * 0.05 + np.array(means) + sd * rng.normal(size=(n, len(means)))


def test_limits_are_those_of_the_t_test_shared_over_the_looks():
    values = draw((0.3, 0.2, 0.0), 16, 0)
    state = contest(values, looks=4, eligible=ALL)
    for j in range(3):
        interval = stats.ttest_1samp(values[:, j], 0).confidence_interval(1 - 0.05 / 4)
        assert (state.low[j], state.high[j]) == pytest.approx((interval.low, interval.high))
    assert state.passes.tolist() == [True, True, False]
    behind = stats.ttest_1samp(SHARE * values[:, 0] - values[:, 2], 0).confidence_interval(1 - 0.05 / 4)
    assert state.far_behind[2] == (behind.low > 0)


@pytest.mark.parametrize(
    ("means", "eligible", "used"),
    [
        ((0.3, 0.4, 0.5), ALL, 0),  # the order decides among those who are not far behind
        ((0.1, 0.5, 0.6), ALL, 1),  # the first has a fifth of the best
        ((0.0, 0.0, 0.4), ALL, 2),
        ((-0.3, 0.0, -0.1), ALL, None),
        ((0.1, 0.2, 0.9), (True, True, False), 0),  # the best is not to be used, so nobody is behind it
        ((0.5, 0.4, 0.3), (False, True, True), 1),
        ((0.5, 0.4, 0.3), (False, False, False), None),
    ],
)
def test_the_first_that_passes_and_is_not_far_behind_is_used(means, eligible, used):
    assert contest(draw(means, 400, 1), 1, eligible).first == used


def test_equal_values_are_no_gap_and_few_images_are_no_proof():
    flat = contest(np.zeros((20, 2)), 1, (True, True))
    assert flat.useless.all()
    assert (flat.first, flat.decided) == (None, True)
    few = contest(np.full((3, 2), 0.5) + np.arange(3)[:, None] / 100, 1, (True, True))
    assert (few.first, few.decided) == (None, False)
    assert np.isinf(few.low).all()


def test_it_is_not_decided_while_an_earlier_one_may_still_pass():
    rng = np.random.default_rng(3)
    values = np.stack([0.2 + rng.normal(size=12), 0.3 + 0.01 * rng.normal(size=12)], axis=1)
    state = contest(values, 1, (True, True))
    assert (state.first, state.decided) == (1, False)
    assert contest(values, 1, (False, True)).decided


def raced(values: np.ndarray, ends: tuple[int, ...]) -> tuple[int | None, int]:
    """Who is used when those that are out are dropped and one stops once it is decided; images needed."""
    running = np.arange(values.shape[1])
    first = None
    for end in ends:
        state = contest(values[:end, running], len(ends), [True] * len(running))
        first = None if state.first is None else int(running[state.first])
        if state.decided:
            return first, end
        running = running[~(state.useless | state.far_behind)]
    return first, ends[-1]


def test_stopping_early_finds_whom_the_full_race_finds():
    """100 races of known order: nearly all stop early, and none finds another than all 200 images do."""
    stopped = 0
    for seed in range(100):
        values = draw((0.05, 0.3, 0.35, 0.0), 200, seed)
        first, images = raced(values, (8, 16, 32, 200))
        assert first == contest(values, 1, [True] * 4).first == 1
        stopped += images < 200
    assert stopped >= 95


def test_a_faithless_candidate_is_used_in_at_most_five_percent_of_races():
    """400 races of one candidate without any gap, heavy tails: 5 % is 20, + 2 sd is 29."""
    wrong = 0
    for seed in range(400):
        values = np.random.default_rng([5, seed]).standard_t(4, size=(32, 1))
        wrong += raced(values, (8, 16, 32))[0] is not None
    assert wrong <= 29
