"""Less evidence never passes more easily: properties of checks over any classes."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.verdicts import MapVerdict
from reports.decisions.file import WaivedClasses
from reports.gate import intervals
from reports.gate.checks import apply
from reports.gate.control import could_fail
from reports.gate.operators import OPERATORS, Estimate
from reports.gate.policy import parse_policy
from reports.gate.state import State, worst
from reports.gate.stored import mean_interval
from tests.reports.gate.edited import gated, row

NOTHING = WaivedClasses(date(2026, 1, 1), {}, {}, ())
TESTED = ("depends", "independent", "undecided", "rim", None)
DECIDED = ("depends", "independent")
MAPS = tuple(v.value for v in MapVerdict)
CHECKS = (
    {"statistic": "n_confirmed", "max": 0},
    {"statistic": "n_confirmed", "max": 2},
    {"statistic": "n_suspected", "max": 1},
    {"statistic": "n_suspicious", "max": 1},
    {"statistic": "n_unremarkable", "min": 3},
    {"statistic": "verdict", "scope": "class", "none_of": ["confirmed"]},
    {"statistic": "verdict", "scope": "class", "one_of": ["cleared", "unremarkable"]},
    {"statistic": "tested", "scope": "class", "one_of": ["independent"]},
    {"statistic": "effect", "scope": "class", "max": 0.1},
    {"statistic": "adjusted_lift", "scope": "class", "min": -0.6},
    {"statistic": "effect", "aggregate": "max", "max": 0.2},
)
BY_EDITS = [c for c in CHECKS if c["statistic"] in ("n_confirmed", "verdict", "tested", "effect")]
classes = st.lists(st.tuples(st.sampled_from(TESTED), st.sampled_from(MAPS)), min_size=1, max_size=9)


def state(check, rows, n_classes=None) -> State:
    parsed = parse_policy({"check": [dict(check)]}).checks[0]
    return apply(parsed, gated(rows, n_classes), NOTHING).state


def rows_of(words):
    return [row(k, tested, maps) for k, (tested, maps) in enumerate(words)]


@given(st.sampled_from(BY_EDITS), classes, st.data())
def test_a_class_less_tested_never_makes_a_pass(check, words, data):
    """Whichever classes lose their edited images, or are left undecided by them."""
    before = state(check, rows_of(words))
    lost = [
        (data.draw(st.sampled_from((tested, None, "undecided"))), maps) if tested else (tested, maps)
        for tested, maps in words
    ]
    after = state(check, rows_of(lost))
    assert after is not State.PASS or before is State.PASS


@given(st.sampled_from(CHECKS), classes, st.data())
def test_a_class_without_images_never_makes_a_pass(check, words, data):
    rows = rows_of(words)
    before = state(check, rows, len(rows))
    kept = [r for r in rows if data.draw(st.booleans())]
    after = state(check, kept, len(rows))
    assert after is not State.PASS or before is State.PASS


@given(st.sampled_from(BY_EDITS), st.lists(st.sampled_from(MAPS), min_size=1, max_size=9), st.data())
def test_boxes_alone_never_make_a_pass(check, maps, data):
    """Some classes get boxes, and with them a word about their maps: with nothing edited, no pass."""
    bare = [row(k, None, "undecided", 0) | {"n_images": 20, "n_boxed": 0} for k in range(len(maps))]
    boxed = [
        row(k, None, word) | {"n_boxed": 20} if data.draw(st.booleans()) else bare[k]
        for k, word in enumerate(maps)
    ]
    assert state(check, boxed) is not State.PASS or state(check, bare) is State.PASS


@given(st.sampled_from(CHECKS), classes, st.integers(0, 4))
def test_nothing_passes_from_a_handful_of_images(check, words, n):
    rows = [row(k, tested, maps, n) for k, (tested, maps) in enumerate(words)]
    room = check.get("max", 0) if check["statistic"].startswith("n_") else 0
    assert state(check, rows) is not State.PASS or len(rows) <= room


@given(st.sampled_from(BY_EDITS), st.lists(st.sampled_from(DECIDED), min_size=1, max_size=9), st.data())
def test_what_is_learned_never_makes_a_false_pass(check, truth, data):
    """However the classes are decided one by one: a pass before the end is a pass at the end."""
    maps = [data.draw(st.sampled_from(MAPS)) for _ in truth]
    end = state(check, rows_of(zip(truth, maps, strict=True)))
    known = [data.draw(st.booleans()) for _ in truth]
    part = [tested if is_known else "undecided" for tested, is_known in zip(truth, known, strict=True)]
    assert state(check, rows_of(zip(part, maps, strict=True))) in (end, State.INCONCLUSIVE)


@given(st.sampled_from(CHECKS), classes, st.randoms(use_true_random=False))
def test_the_order_of_the_classes_changes_nothing(check, words, random):
    rows = rows_of(words)
    before = state(check, rows)
    random.shuffle(rows)
    assert state(check, rows) is before


numbers = st.floats(-5, 5)


@given(st.sampled_from(["min", "max", "above", "below"]), numbers, *[st.floats(0, 3)] * 4, numbers)
def test_a_wider_interval_decides_less(key, value, below, above, more_below, more_above, limit):
    narrow = Estimate(value, value - below, value + above)
    wide = Estimate(value, value - below - more_below, value + above + more_above)
    operator = OPERATORS[key](limit)
    assert operator.judge(wide) in (operator.judge(narrow), State.INCONCLUSIVE)
    ends = [operator.holds(narrow.low), operator.holds(narrow.high)]
    expected = State.PASS if all(ends) else State.INCONCLUSIVE if any(ends) else State.FAIL
    assert operator.judge(narrow) is expected


def test_coverage_is_what_a_policy_may_lower():
    rows = rows_of([("independent", "unremarkable")] * 9 + [(None, "unremarkable")])
    demand = {"statistic": "n_confirmed", "max": 0}
    each = {"statistic": "verdict", "scope": "class", "none_of": ["confirmed"]}
    for check in (demand, each):
        assert state(check, rows) is State.INCONCLUSIVE
        assert state(check | {"min_coverage": 0.91}, rows) is State.INCONCLUSIVE
        assert state(check | {"min_coverage": 0.9}, rows) is State.PASS
        assert state(check | {"min_coverage": 0.9}, [row(0, "depends"), *rows[1:]]) is State.FAIL
    everything_open = rows_of([(None, "undecided")] * 3)
    assert state(each | {"min_coverage": 0.0}, everything_open) is State.INCONCLUSIVE


def test_a_word_that_is_named_fails_though_it_may_change():
    rows = [row(0, "undecided", "suspicious")]
    assert state({"statistic": "verdict", "scope": "class", "none_of": ["suspected"]}, rows) is State.FAIL
    assert state({"statistic": "verdict", "scope": "class", "one_of": ["cleared"]}, rows) is (
        State.INCONCLUSIVE
    )


def test_worst():
    assert worst([]) is State.INCONCLUSIVE
    assert worst([State.PASS, State.INCONCLUSIVE]) is State.INCONCLUSIVE
    assert worst([State.INCONCLUSIVE, State.FAIL, State.PASS]) is State.FAIL


@pytest.mark.parametrize(
    ("check", "n", "said"),
    [
        ({"statistic": "n_confirmed", "max": 4}, 4, True),
        ({"statistic": "n_confirmed", "max": 3}, 4, False),
        ({"statistic": "accuracy", "min": 0}, None, True),
        ({"statistic": "accuracy", "min": 0.1}, None, False),
        ({"statistic": "q_effect", "scope": "class", "max": 1.0}, None, True),
        ({"statistic": "adjusted_lift", "scope": "class", "min": -99}, None, False),
    ],
)
def test_a_check_that_could_not_have_failed_says_so(check, n, said):
    parsed = parse_policy({"check": [check]}).checks[0]
    assert bool(could_fail(parsed, n)) is said


# -- intervals, each against another way to the same number


@given(st.integers(1, 200), st.data())
def test_wilson_holds_the_shares_that_are_not_rejected(n, data):
    """Its ends are where the score test is at its level: (p - q)^2 = z^2 q (1 - q) / n."""
    k = data.draw(st.integers(0, n))
    for end in intervals.wilson(k / n, n):
        if 0 < end < 1:
            assert (k / n - end) ** 2 == pytest.approx(
                intervals.Z**2 * end * (1 - end) / n, rel=1e-6, abs=1e-12
            )


@pytest.mark.parametrize("n", [3, 5, 6, 8, 20, 51, 400, 999, 1000, 4000])
def test_places_of_the_median(n):
    places = intervals.median_places(n)
    if n < 6:
        assert places is None  # 2 * 2^-5 > 0.05
        return
    below = stats.binom(n, 0.5)
    covered = below.cdf(places[1] - 0) - below.cdf(places[0])
    assert places[0] + places[1] == n - 1
    assert covered >= 0.945
    if n < 1000:
        assert covered >= 0.95
        assert below.cdf(places[1] - 1) - below.cdf(places[0] + 1) < 0.95  # one place less is too few


def test_interval_of_a_mean():
    values = np.array([0.2, 0.5, 0.9, 0.4, 0.7])
    expected = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert mean_interval(values) == pytest.approx(expected)
    assert mean_interval(np.array([1.0, 0.0, 1.0])) == intervals.wilson(2 / 3, 3)
    assert mean_interval(np.array([0.3])) == (None, None)


def test_interval_of_a_rank_correlation():
    low, high = intervals.correlation(0.5, 50)
    assert np.arctanh([low, high]).mean() == pytest.approx(np.arctanh(0.5))
    assert np.ptp(np.arctanh([low, high])) == pytest.approx(2 * 1.959964 * np.sqrt(1.06 / 47), rel=1e-5)
    assert intervals.correlation(0.5, 3) == (-1.0, 1.0)
