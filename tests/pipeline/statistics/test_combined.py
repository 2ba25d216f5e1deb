"""Ranks of maps and pasted windows together, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.config_sections import RankingConfig
from pipeline.statistics.combined import combined_evidence
from pipeline.statistics.transfer import judge_windows
from pipeline.statistics.verdict import with_verdicts
from pipeline.verdicts import Tested
from tests.pipeline.statistics.test_transfer import windows
from tests.pipeline.statistics.test_verdict import classes, judged

TABLE = pd.DataFrame(
    {
        "adjusted_lift_lower": [-2.0, 0.0, -1.0, np.nan, np.nan],
        "transfer": [0.1, np.nan, 0.7, 0.2, np.nan],
        "reference_lift_lower": np.nan,
    },
    index=[4, 2, 8, 1, 3],
)


def test_places_are_averaged_over_what_there_is() -> None:
    made = combined_evidence(TABLE, maps_hold=True)
    by_lift, by_transfer = np.array([5, 1, 3]) / 6, np.array([1, 5, 3]) / 6  # of 4, 2, 8; of 4, 8, 1
    expected = [
        (by_lift[0] + by_transfer[0]) / 2,
        by_lift[1],
        (by_lift[2] + by_transfer[1]) / 2,
        by_transfer[2],
        np.nan,
    ]
    np.testing.assert_allclose(made, expected)
    assert made.index.tolist() == TABLE.index.tolist()


def test_only_order_counts_and_one_class_is_in_the_middle() -> None:
    stretched = TABLE.assign(
        adjusted_lift_lower=np.exp(3 * TABLE["adjusted_lift_lower"]), transfer=TABLE["transfer"] ** 3 - 5
    )
    pd.testing.assert_series_equal(combined_evidence(stretched, True), combined_evidence(TABLE, True))
    assert combined_evidence(TABLE.iloc[:1], maps_hold=True).tolist() == [0.5]


def test_maps_that_fail_their_check_have_no_say() -> None:
    made = combined_evidence(TABLE, maps_hold=False)
    np.testing.assert_allclose(made, [1 / 6, np.nan, 5 / 6, 3 / 6, np.nan])


def test_a_reference_weighs_as_much_as_maps_and_windows_together() -> None:
    beside = TABLE.assign(reference_lift_lower=[0.5, np.nan, 0.0, np.nan, -1.0])
    own, by_reference = combined_evidence(TABLE, True).to_numpy(), np.array([1, np.nan, 3, np.nan, 5]) / 6
    both = (own + by_reference) / 2
    expected = [both[0], own[1], both[2], own[3], by_reference[4]]
    np.testing.assert_allclose(combined_evidence(beside, maps_hold=True), expected)
    pd.testing.assert_series_equal(combined_evidence(beside, False), combined_evidence(TABLE, False))


def test_windows_move_a_class_inside_its_verdict_but_no_confirmed_one() -> None:
    table = classes(*((label, "undecided", lift) for label, lift in enumerate((-0.3, -0.2, -0.1, 0.0))))
    edited = {label: judged(Tested.UNDECIDED, 0.1 * label) for label in range(4)}
    assert with_verdicts(table, edited, True)["label"].tolist() == [0, 1, 2, 3]
    gains = {0: 0.0, 1: 0.1, 2: 0.2, 3: 0.9}
    pasted = judge_windows({k: windows(np.full(5, gain)) for k, gain in gains.items()}, {}, RankingConfig())
    lower = table.assign(adjusted_lift_lower=[-0.3, -0.1, 0.0, -0.2])
    moved = with_verdicts(lower.assign(adjusted_lift=lower["adjusted_lift_lower"]), edited, True, (), pasted)
    assert moved["label"].tolist() == [
        3,
        0,
        1,
        2,
    ]  # places 2 + 1, 1 + 4, 3 + 3, 4 + 2; of equals the lower lift
    confirmed = {label: judged(Tested.DEPENDS, 0.1 * label) for label in range(3)}
    assert with_verdicts(table, confirmed, True, (), pasted)["label"].tolist() == [2, 1, 0, 3]
