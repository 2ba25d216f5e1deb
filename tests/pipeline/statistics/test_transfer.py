"""What pasted windows say of classes, by numbers that are made."""

from __future__ import annotations

from math import comb

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.columns import OF_TRANSFER
from pipeline.config_sections import RankingConfig
from pipeline.measure.transfer.gain import log_odds
from pipeline.schema import TRANSFER
from pipeline.statistics.pasted import Pasted, read_pasted
from pipeline.statistics.transfer import STRONG, judge_windows, p_values, strong_gains, upper_part
from pipeline.statistics.verdict import accuses, with_verdicts
from pipeline.terms import Window

METHOD = "lrp.preset_a"


def windows(gain: np.ndarray, beside: bool = True) -> Pasted:
    n, blank = len(gain), np.zeros(len(gain))
    where = np.full(n, 3)
    return Pasted(
        tuple(f"{i:03d}" for i in range(n)),
        gain, blank, blank, gain, blank, np.full(n, 2), np.full(n, beside), where, where, where, where,
    )  # fmt: skip


def row(
    example_id: str, recipient: str, before: float, with_it: float, control: float, **more: object
) -> dict:
    return {
        "example_id": example_id, "label": 4, "method": METHOD, "window": "relevant", "beside": True,
        "x": 1, "y": 2, "width": 3, "height": 4, "relevance": 0.5, "recipient": recipient,
        "before": before, "probability": with_it, "control": control, "picture": None,
    } | more  # fmt: skip


def test_rows_become_one_value_per_window() -> None:
    rows = [
        row("b", "r1", 0.2, 0.5, 0.25),
        row("a", "r1", 0.5, 0.8, 0.4),
        row("a", "r2", 0.1, 0.2, 0.1),
        row("a", "r3", 0.1, 0.9, 0.1, method="gradient"),
        row("a", "r3", 0.1, 0.9, 0.1, window="other_place", relevance=None),
        row("c", "r3", 0.1, 0.9, 0.1, label=5),
    ]
    table = pa.Table.from_pylist(rows, TRANSFER)
    read = read_pasted(table.take(np.array([3, 1, 5, 0, 4, 2])), METHOD)
    assert sorted(read) == [4, 5]
    own = read[4]
    assert own.example_id == ("a", "b")
    assert own.recipients.tolist() == [2, 1]

    def odds(p: float) -> float:
        return np.log((p + 1e-4) / (1 - p + 1e-4))

    by_hand = [(odds(0.8) - odds(0.4) + odds(0.2) - odds(0.1)) / 2, odds(0.5) - odds(0.25)]
    np.testing.assert_allclose(own.gain, by_hand, rtol=1e-5)
    np.testing.assert_allclose(own.added, [0.2, 0.3], atol=1e-6)
    np.testing.assert_allclose(own.control_added, [-0.05, 0.05], atol=1e-6)
    np.testing.assert_allclose(own.odds - own.control_odds, own.gain)
    assert read_pasted(table, METHOD, Window.OTHER_PLACE)[4].example_id == ("a",)


def test_what_is_said_of_classes() -> None:
    rng = np.random.default_rng(0)
    classes = {
        0: windows(rng.normal(3, 1, 15)),  # every window carries the class
        1: windows(np.concatenate([rng.normal(0, 0.5, 14), np.full(6, 5.0)])),  # those with a mark do
        2: windows(rng.normal(0.1, 0.5, 20)),
        3: windows(np.array([0.0, 2.2, 1.9, -1.0, 1.0, 1.5, 0.5, 1.9])),
        4: windows(np.array([4.0, 4.1, 4.2, 4.3])),  # too few
    }
    said = judge_windows(classes, {0: windows(np.array([0.25, 0.75]))}, RankingConfig())
    assert [said[k].transferred for k in range(5)] == [
        "transfers", "transfers", "nothing", "undecided", "undecided",
    ]  # fmt: skip
    assert said[1].low < 1 < said[0].low  # the mean of all hides the mark
    assert said[1].strong == pytest.approx(6 / 20)
    assert said[1].upper == pytest.approx(5.0)
    assert said[0].elsewhere == pytest.approx(0.5)
    assert np.isnan(said[4].q)
    assert judge_windows({}, {}, RankingConfig()) == {}


def test_one_window_is_no_error() -> None:
    (said,) = judge_windows({7: windows(np.array([9.0]))}, {}, RankingConfig()).values()
    assert said.transferred == "undecided"


@given(st.integers(1, 30), st.integers(0, 30))
def test_the_share_is_tested_exactly(n: int, strong: int) -> None:
    strong = min(strong, n)
    gains = np.concatenate([np.full(strong, 2.5), np.full(n - strong, -3.0)])
    p = p_values([gains], np.array([strong]), np.array([True]))
    exact = stats.binomtest(strong, n, 0.05, alternative="greater").pvalue
    assert p[0] <= min(1.0, 2 * exact) + 1e-12
    if strong < n / 2:
        assert p[0] == pytest.approx(min(1.0, 2 * exact))


@given(st.integers(0, 9), st.integers(0, 9))
def test_strong_gains_are_held_against_strong_losses_by_a_fair_coin(gained: int, lost: int) -> None:
    gains = np.concatenate([np.full(gained, 2.5), np.full(lost, -2.5), np.zeros(4)])
    strong, lopsided = strong_gains([gains])
    m = gained + lost
    coins = sum(comb(m, k) for k in range(gained, m + 1)) / 2**m
    assert strong.tolist() == [gained]
    assert lopsided.tolist() == [coins <= 0.05]


def test_windows_that_lose_as_often_as_they_gain_carry_nothing() -> None:
    few = np.full(6, STRONG + 1)
    one_sided = np.concatenate([few, np.zeros(19)])
    scattered = np.concatenate([few, -few, np.zeros(13)])
    said = judge_windows({0: windows(one_sided), 1: windows(scattered)}, {}, RankingConfig())
    assert [said[k].transferred for k in (0, 1)] == ["transfers", "undecided"]
    assert said[0].strong == said[1].strong


def test_the_upper_part_is_the_best_quarter() -> None:
    assert upper_part(np.arange(8.0)) == 6.5
    assert upper_part(np.array([3.0, 1.0])) == 3.0


def test_columns_of_the_windows_and_whom_they_accuse() -> None:
    table = pd.DataFrame({"label": [0, 1, 2], "map_verdict": "unremarkable", "adjusted_lift": 0.0})
    table = table.assign(adjusted_lift_lower=0.0, reference_lift_lower=np.nan)
    table = table.assign(adjusted_lift_raw=0.0, n_needed=pd.array([7] * 3, "Int64"))
    rng = np.random.default_rng(0)
    gains = rng.normal(3, 1, 15)
    said = judge_windows({0: windows(gains), 1: windows(gains, beside=False)}, {}, RankingConfig())
    assert [accuses(said[k]) for k in (0, 1)] == [True, False]  # without boxes it may be the object
    by = with_verdicts(table, {}, True, (), said).set_index("label")
    assert by["verdict"].to_dict() == {0: "suspected", 1: "unremarkable", 2: "unremarkable"}
    assert by.loc[0, "transfer"] == pytest.approx(gains.mean())
    assert by.loc[1, "transferred"] == "transfers"
    assert by.loc[2, list(OF_TRANSFER)].isna().all()


def test_log_odds_have_a_floor() -> None:
    assert log_odds(np.array([0.5, 0.0])).tolist() == pytest.approx([0.0, np.log(1e-4 / 1.0001)])
    assert log_odds(np.array(1.0)) == pytest.approx(-log_odds(np.array(0.0)))
