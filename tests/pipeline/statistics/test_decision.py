"""A criterion says what it decides; the verdicts follow from all that is demanded of them."""

import math
import operator

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config_sections import RankingConfig
from pipeline.statistics.decision import Criterion, criteria, map_verdicts


@pytest.mark.parametrize(
    ("comparison", "function", "words"),
    [
        ("<", operator.lt, "below"),
        ("<=", operator.le, "at most"),
        (">", operator.gt, "above"),
        (">=", operator.ge, "at least"),
    ],
)
def test_a_criterion_words_what_it_decides(comparison, function, words):
    criterion = Criterion("high", comparison, 0.25)
    for value in (0.1, 0.25, 0.3):
        assert bool(criterion.holds(value)) == function(value, 0.25)
    assert not criterion.holds(math.nan)
    assert criterion.holds(np.array([0.1, math.nan, 0.25])).tolist()[1] is False
    assert (str(criterion), criterion.demand) == (f"high {comparison} 0.25", f"{words} 0.25")


unit = st.one_of(st.just(math.nan), st.floats(0, 1))


@given(
    n=st.integers(0, 12),
    q=unit,
    low=st.one_of(st.just(math.nan), st.floats(-3, 3)),
    absolute=st.one_of(st.just((math.nan, math.nan)), st.tuples(unit, unit)),
    limits=st.tuples(st.integers(1, 9), st.floats(0.01, 0.2), st.floats(-1, -0.1)),
)
def test_verdicts_by_the_book(n, q, low, absolute, limits):
    """The rule in the words that it was designed in: undecided before unremarkable."""
    n_min, level, relevant = limits
    enough = n >= n_min and not math.isnan(low)
    if n >= n_min and q <= level:
        expected = "suspicious"
    elif absolute[0] > level and absolute[1] >= 0.95:
        expected = "unfocused"
    elif not enough or low <= relevant:
        expected = "undecided"
    else:
        expected = "unremarkable"
    figures = {"n": n, "q_relative": q, "low": low}
    figures |= dict(zip(("q_absolute", "power_absolute"), absolute, strict=True))
    config = RankingConfig(n_min=n_min, level=level, relevant_effect=relevant)
    assert map_verdicts(pd.DataFrame([figures]), config).tolist() == [expected]


def test_criteria_follow_the_settings():
    rules = criteria(RankingConfig(n_min=7, level=0.01, relevant_effect=-0.25))
    assert [str(rule) for rule in rules["suspicious"]] == ["q_relative <= 0.01", "n >= 7"]
    assert [str(rule) for rule in rules["unremarkable"]] == ["low > -0.25", "n >= 7"]
