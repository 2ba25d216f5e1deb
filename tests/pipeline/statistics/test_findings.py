"""What was measured of a class in a sentence: only what is known, grammar, hostile names; groups by hand."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.run.documents import ToldClass
from pipeline.statistics.appearance import agreed, colour_word, common_place, place_word
from pipeline.statistics.findings import Facts, finding
from pipeline.statistics.pasted import Pasted
from pipeline.statistics.reference_windows import SameWindows
from pipeline.statistics.transfer import Carried
from pipeline.statistics.window_groups import (
    Look,
    Moved,
    WindowGroup,
    best_groups,
    moved_windows,
    share_limits,
)
from pipeline.terms import FileProperty
from pipeline.verdicts import Holds, Transferred

YELLOW = (((255, 220, 0), 0.64), ((30, 20, 60), 0.36))
LOOK = Look(4, 90, 20, 20, True, YELLOW)
GROUP = WindowGroup(
    12,
    20,
    0.6,
    0.36,
    0.81,
    tuple("abcdefghijkl"),
    24,
    4.0,
    3.0,
    5.0,
    0.31,
    (LOOK,) * 12,
    None,
    float("nan"),
    0,
)
MOVED = Moved(6, 4.0, 3.5, 2.0, 5.0, Holds.ANYWHERE)
CARRIED = Carried(
    20, 40, True, Transferred.TRANSFERS, 2.5, 1.5, 3.5, 4.0, 0.6, 0.2, 0.0, 0.1, 0.001, GROUP, MOVED
)
FILES = ToldClass(3, "c", FileProperty.JPEG_QUALITY, 20, 200, 0.07, 0.02, 0.1, 0.002, True, (), ())


def test_the_sentence_of_a_patch() -> None:
    facts = Facts(carried=CARRIED, size=(112, 112), files=FILES, also="sea anemone")
    also = replace(GROUP, also=5, also_added=0.12, also_n=11)
    said = finding(replace(facts, carried=replace(CARRIED, group=also)))
    assert said == (
        "A yellow and black patch of about 20 x 20 pixels, mostly lower left: +0.31 for this class wherever "
        "it is pasted, found on 12 of 20 images (60%, 36% to 81%); where it is pasted the network sees more "
        "of sea anemone, too (+0.12); its files alone tell the class, too: JPEG quality (AUC 0.93)."
    )


def test_what_the_same_windows_add_for_a_reference_stands_beside_it() -> None:
    same = SameWindows(20, 2.3, 1.5, 3.1, added=0.05, of_group=-0.004)
    said = finding(Facts(carried=replace(CARRIED, same=same), size=(0, 0)))
    assert "+0.31 for this class wherever it is pasted (-0.00 for the reference network), found on 12" in said
    bare = finding(Facts(carried=replace(CARRIED, group=None, moved=None, same=same)))
    assert bare.endswith("on 40 images of other classes (+0.05 for the reference network).")
    unasked = replace(same, of_group=None)  # it was shown windows of the class, none of this group
    assert "reference" not in finding(Facts(carried=replace(CARRIED, same=unasked)))


def test_what_is_not_known_is_left_out() -> None:
    said = finding(Facts(carried=replace(CARRIED, moved=None), size=(0, 0)))
    assert said == (
        "A yellow and black patch of about 20 x 20 pixels: +0.31 for this class where it is pasted, found "
        "on 12 of 20 images (60%, 36% to 81%)."
    )
    bare = finding(Facts(carried=replace(CARRIED, group=None, moved=None)))
    beside = "What lies beside its objects: +0.20 for this class where it is pasted"
    assert bare == f"{beside} on 40 images of other classes."
    assert finding(Facts()) == ""
    assert finding(Facts(carried=replace(CARRIED, transferred=Transferred.UNDECIDED))) == ""
    nothing = replace(CARRIED, transferred=Transferred.NOTHING)
    assert finding(Facts(carried=nothing)) == ""
    confirmed = Facts(carried=nothing, effect=0.25, low=0.18, high=0.33, confirmed=True)
    assert finding(confirmed) == (
        "Its background as a whole: +0.25 (+0.18 to +0.33) for this class on edited images, while no single "
        "window of it carries the class."
    )


def test_places_that_differ_are_not_said_and_windows_without_a_mark_are_areas() -> None:
    looks = tuple(Look(x, 40, 20, 24, False, (((20, 160, 40), 1.0),)) for x in (0, 40, 90, 3, 45, 88))
    said = finding(Facts(carried=replace(CARRIED, group=replace(GROUP, n=6, looks=looks)), size=(112, 112)))
    assert said.startswith("Areas of about 20 x 24 pixels, green in the mean: +0.31 for this class")
    bound = replace(CARRIED, moved=replace(MOVED, holds=Holds.ITS_PLACE))
    assert "+0.31 for this class at its own place only" in finding(Facts(carried=bound))
    stripe = tuple(replace(LOOK, x=0, y=8 + k, width=108, height=14) for k in range(12))
    said = finding(Facts(carried=replace(CARRIED, group=replace(GROUP, looks=stripe)), size=(112, 112)))
    assert "patch of about 108 x 14 pixels across the picture, mostly in the upper third: " in said


COLOUR = st.tuples(*[st.integers(0, 255)] * 3)
LOOKS = st.builds(
    Look, st.integers(-20, 110), st.integers(-20, 110), st.integers(1, 112), st.integers(1, 112),
    st.booleans(), st.lists(st.tuples(COLOUR, st.floats(0.01, 1)), min_size=1, max_size=2).map(tuple),
)  # fmt: skip


@settings(max_examples=60)
@given(
    st.lists(LOOKS, min_size=3, max_size=6),
    st.text(max_size=12),
    st.sampled_from(list(Holds)),
    st.booleans(),
    st.sampled_from([None, FILES]),
)
def test_every_sentence_is_one(
    looks: list[Look], also: str, holds: Holds, beside: bool, files: ToldClass | None
) -> None:
    group = replace(GROUP, n=len(looks), of=len(looks) + 1, looks=tuple(looks), also_added=0.1)
    carried = replace(CARRIED, group=group, beside=beside, moved=replace(MOVED, holds=holds))
    facts = Facts(carried=carried, also="QQ" if also else "", files=files, size=(112, 112))
    said = finding(facts)
    assert said[0].isupper()
    assert said.endswith(".")
    assert not re.search(r"  |nan|None|\(\)|, ,| ,|,:|;\.|\.\.|: :", said)
    assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", said.casefold().split("pixels")[0])
    assert f"found on {len(looks)} of {len(looks) + 1} images" in said
    assert finding(replace(facts, also=also)) == said.replace("QQ", also)  # a name changes nothing else


# -- colours and places


@pytest.mark.parametrize(
    ("colour", "name"),
    [((250, 220, 10), "yellow"), ((128, 128, 128), "grey"), ((20, 30, 200), "blue"), ((5, 5, 5), "black"),
     ((190, 30, 40), "red"), ((245, 245, 235), "white"), ((60, 120, 170), "blue"), ((110, 75, 30), "brown")],
)  # fmt: skip
def test_colours_have_names(colour: tuple[int, int, int], name: str) -> None:
    assert colour_word(*colour) == name


def test_places_have_names() -> None:
    assert place_word(99, 1, (100, 100)) == "upper right"
    assert place_word(10, 190, (100, 200)) == "lower left"
    assert common_place([(5, 5), (50, 50), (95, 95)], (100, 100), 0.6) == ""
    assert common_place([(95, 5), (95, 50), (99, 95)], (100, 100), 0.6) == "in the right third"
    assert common_place([], (100, 100), 0.6) == ""
    assert agreed(["a", "a", "b"], 0.6) == "a"
    assert agreed(["a", "a", "b"], 0.7) == ""


# -- groups and places by hand


def pasted(gain: list[float]) -> Pasted:
    n = len(gain)
    zeros, ints = np.zeros(n), np.full(n, 5)
    return Pasted(
        tuple(f"i{k}" for k in range(n)), np.array(gain), 0.1 * np.array(gain), zeros, np.array(gain), zeros,
        np.full(n, 2), np.ones(n, bool), ints, ints, ints, ints,
    )  # fmt: skip


def rows(groups: list[int], places: list[list[float]] | None = None) -> pd.DataFrame:
    """``places``: per window the probability at its own place and at others, where the control has 0.5."""
    asked = [None] * len(groups) if places is None else [
        [{"probability": p, "control": 0.5} for p in of_one] for of_one in places
    ]  # fmt: skip
    return pd.DataFrame(
        {
            "example_id": [f"i{k}" for k in range(len(groups))], "label": 0, "group": groups, "also": 7,
            "also_added": 0.2, "mark_x": [3.0] * len(groups), "mark_y": 4.0, "mark_width": 6.0,
            "mark_height": 5.0, "colours": [[{"red": 1, "green": 2, "blue": 3, "share": 1.0}]] * len(groups),
            "places": asked,
        }
    )  # fmt: skip


def test_the_group_of_a_quarter_that_carries_the_class_is_named_and_its_share() -> None:
    gain = [0.1, -0.1, 0.2] * 5 + [4.0, 4.1, 3.9, 4.2, 3.8]
    (best,) = best_groups(rows([0] * 15 + [1] * 5), {0: pasted(gain)}).values()
    assert (best.n, best.of, best.share, best.gain, best.added, best.pictures) == (5, 20, 0.25, 4.0, 0.4, 10)
    assert best.ids == ("i15", "i16", "i17", "i18", "i19")
    assert best.share_low < 0.25 < best.share_high
    assert (best.also, best.also_added, best.also_n) == (7, pytest.approx(0.2), 5)
    assert best.looks[0] == Look(3, 4, 6, 5, True, (((1, 2, 3), 1.0),))
    # two looks: each at half the level
    exact = stats.binomtest(5, 20).proportion_ci(0.975, "exact")
    assert (best.share_low, best.share_high) == pytest.approx((exact.low, exact.high))
    assert best.low < 4 < best.high


def test_groups_of_two_are_not_named_and_windows_that_are_not_there_do_not_count() -> None:
    assert best_groups(rows([0, 0, 1, 1]), {0: pasted([5.0] * 4)}) == {}
    assert best_groups(rows([0] * 4), {1: pasted([5.0] * 4)})[1].n == 4
    assert best_groups(rows([0] * 3), {}) == {}


@given(st.integers(1, 30), st.integers(0, 30))
def test_the_limits_of_a_share_are_exact(n: int, count: int) -> None:
    count = min(count, n)
    exact = stats.binomtest(count, n).proportion_ci(0.95, "exact")
    assert share_limits(count, n) == pytest.approx((exact.low, exact.high))


def test_whether_the_place_matters() -> None:
    anywhere = moved_windows(
        rows([0] * 5, [[0.99, 0.98, 0.98], [0.98, 0.99, 0.98]] * 2 + [[0.98, 0.98, 0.98]])
    )[0]
    assert (anywhere.n, anywhere.holds) == (5, "anywhere")
    logit = float(np.log((0.98 + 1e-4) / (0.02 + 1e-4)))
    assert anywhere.low < anywhere.elsewhere < anywhere.high
    assert anywhere.elsewhere == pytest.approx(logit, abs=0.4)
    bound = moved_windows(rows([0] * 4, [[0.99, 0.5, 0.51], [0.98, 0.5, 0.5]] * 2))[0]
    assert (bound.holds, round(bound.elsewhere, 2)) == ("its_place", 0.01)
    spread = moved_windows(rows([0] * 3, [[0.99, 0.5, 0.5], [0.99, 0.99, 0.99], [0.99, 0.5, 0.99]]))[0]
    assert spread.holds == "undecided"
    assert moved_windows(rows([0] * 2, [[0.9, 0.9]] * 2)) == {}
    assert moved_windows(rows([0] * 4)) == {}
