"""One verdict per class: the table of the issue, what more evidence can do to it, and the order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.statistics.effects import Judgement
from pipeline.statistics.samples import Effect
from pipeline.statistics.verdict import with_verdicts
from pipeline.verdicts import MapVerdict, Tested, Verdict, verdict

# rows: what the edits showed; columns: what the maps say, in the order of MapVerdict
MAPS = ("suspicious", "unfocused", "undecided", "unremarkable")
TABLE = {
    "depends": ("confirmed", "confirmed", "confirmed", "confirmed"),
    "independent": ("cleared", "cleared", "unremarkable", "unremarkable"),
    "rim": ("undecided", "undecided", "undecided", "undecided"),
    "undecided": ("suspected", "suspected", "undecided", "undecided"),
    None: ("suspected", "suspected", "undecided", "unremarkable"),
}
# maps that failed their sanity check: as if there were none
UNSOUND = {
    "depends": "confirmed",
    "independent": "unremarkable",
    "rim": "undecided",
    "undecided": "undecided",
    None: "undecided",
}


def judged(
    tested: Tested, shrunk: float, effects: dict | None = None, needed: int | None = None
) -> Judgement:
    """What the edits of a class say, as far as a verdict looks at it."""
    return Judgement(10, tested, 0.25, 0.125, 0.5, shrunk, 0.01, needed, effects or {})


@pytest.mark.parametrize("tested", TABLE)
@pytest.mark.parametrize("maps", MAPS)
def test_the_table(tested, maps):
    shown = None if tested is None else Tested(tested)
    assert verdict(MapVerdict(maps), shown) == TABLE[tested][MAPS.index(maps)]
    assert verdict(MapVerdict(maps), shown, maps_hold=False) == UNSOUND[tested]


@pytest.mark.parametrize("tested", TABLE)
@pytest.mark.parametrize("maps", MAPS)
def test_an_outlier_against_a_reference_counts_as_suspicious(tested, maps):
    shown = None if tested is None else Tested(tested)
    assert verdict(MapVerdict(maps), shown, outlier=True) == TABLE[tested][MAPS.index("suspicious")]
    assert verdict(MapVerdict(maps), shown, maps_hold=False, outlier=True) == UNSOUND[tested]


@pytest.mark.parametrize("tested", TABLE)
@pytest.mark.parametrize("maps", MAPS)
@pytest.mark.parametrize("holds", [True, False])
def test_windows_that_transfer_make_suspected_and_nothing_more(tested, maps, holds):
    shown = None if tested is None else Tested(tested)
    expected = "confirmed" if tested == "depends" else "suspected"
    assert verdict(MapVerdict(maps), shown, holds, transfers=True) == expected


ACCUSED = {Verdict.CONFIRMED, Verdict.SUSPECTED, Verdict.UNDECIDED}
TESTED = st.sampled_from([None, *Tested])


@given(st.sampled_from(MapVerdict), TESTED, st.sampled_from(Tested), st.booleans(), st.booleans())
def test_only_edits_that_decide_take_a_suspicion_back(maps, before, after, held, holds):
    """More edited images, and a sanity check made later, add evidence; the maps stay what they are."""
    first = verdict(maps, before, held)
    later = verdict(maps, after, held and holds)
    if first in ACCUSED and later not in ACCUSED:
        assert after == Tested.INDEPENDENT
    # and a failed check alone takes nothing back
    assert first not in ACCUSED or verdict(maps, before, held and holds) in ACCUSED


@given(st.sampled_from(MapVerdict), TESTED, st.booleans())
def test_wrong_reasons_are_said_of_confirmed_classes_alone(maps, tested, holds):
    found = verdict(maps, tested, holds)
    assert (found == Verdict.CONFIRMED) == (tested == Tested.DEPENDS)
    assert holds or found not in (Verdict.SUSPECTED, Verdict.CLEARED)


def classes(*rows: tuple[int, str, float]) -> pd.DataFrame:
    """A table of (label, map verdict, adjusted lift)."""
    table = pd.DataFrame(rows, columns=["label", "map_verdict", "adjusted_lift"])
    return table.assign(
        adjusted_lift_raw=table["adjusted_lift"],
        adjusted_lift_lower=table["adjusted_lift"],
        reference_lift_lower=float("nan"),
        n_needed=pd.array([7] * len(table), "Int64"),
    )


def test_the_order_is_by_verdict_then_by_edits_where_they_decide_then_by_maps():
    table = classes(
        (0, "unremarkable", 0.5),
        (1, "suspicious", -3.0),  # cleared
        (2, "suspicious", -1.0),  # confirmed, weakly
        (3, "unremarkable", 0.2),  # confirmed, strongly
        (4, "suspicious", -0.9),  # suspected, no edits
        (5, "suspicious", -2.0),  # suspected, no edits, lower
        (6, "undecided", -0.1),
        (7, "suspicious", -0.1),  # suspected, edits undecided, highest
    )
    judgements = {
        1: judged(Tested.INDEPENDENT, -0.1),
        2: judged(Tested.DEPENDS, 0.2),
        3: judged(Tested.DEPENDS, 0.7),
        7: judged(Tested.UNDECIDED, 0.05, needed=31),
    }
    ranked = with_verdicts(table, judgements, maps_hold=True)
    assert ranked["label"].tolist() == [3, 2, 5, 4, 7, 6, 1, 0]
    assert ranked["rank"].tolist() == list(range(1, 9))
    by = ranked.set_index("label")
    assert by["verdict"].tolist() == [
        *["confirmed"] * 2,
        *["suspected"] * 3,
        "undecided",
        "cleared",
        "unremarkable",
    ]
    assert by.loc[[2, 4], "tested"].tolist() == ["depends", None]
    assert by.loc[[7, 4, 2], "n_needed"].tolist() == [31, 7, pd.NA]
    # whatever order they came in
    shuffled = with_verdicts(table.iloc[::-1], judgements, maps_hold=True)
    pd.testing.assert_frame_equal(shuffled[ranked.columns], ranked)


def test_columns_of_the_edits():
    effects = {
        name: Effect(9, mean, 0.0, 1.0) for name, mean in (("sufficiency", 0.5), ("background_gap", 0.75))
    }
    judgements = {4: judged(Tested.DEPENDS, 0.2, effects)}
    row = with_verdicts(classes((4, "undecided", 0.0)), judgements, maps_hold=True).iloc[0]
    figures = {
        "n_edited": 10,
        "effect": 0.25,
        "effect_shrunk": 0.2,
        "effect_low": 0.125,
        "effect_high": 0.5,
        "q_effect": 0.01,
        "sufficiency": 0.5,
        "background_gap": 0.75,
    }
    assert {name: row[name] for name in figures} == figures
    assert np.isnan(row["necessity"])  # which could not be measured
