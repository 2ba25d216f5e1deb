"""What the benchmarks on real photographs compute: orders, marks, pairs. Figures are measured by hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import reference, waterbirds_images
from benchmarks.detection import by_kind
from benchmarks.precision import distance
from benchmarks.real_marks import (
    FREQUENCIES,
    KINDS,
    Mark,
    Photos,
    added_probability,
    deal_marks,
    mark_all,
    used_marks,
)
from benchmarks.real_runs import auc, figures
from benchmarks.tiny_imagenet import agreement, shuffle_donors, split_in_halves
from benchmarks.transfer import accused, found, mean_rank
from benchmarks.waterbirds_images import edited_scores, predicted_by, window_scores, windows_shown
from pipeline.statistics.answers import Answers


def photos(n: int) -> Photos:
    """Grey photographs of two classes; in each the left half is the box."""
    return Photos(
        names=tuple(f"{i}.JPEG" for i in range(n)),
        labels=np.arange(n) % 2,
        pictures=np.full((n, 64, 64, 3), 100, np.uint8),
        boxes=tuple(np.array([[0, 0, 31, 63]]) for _ in range(n)),
        class_ids=("a", "b"),
        class_names=("a", "b"),
    )


def test_average_precision_is_the_mean_of_the_precisions_at_the_hits() -> None:
    scores = pd.Series({7: -1.0, 3: -0.5, 5: 0.0, 1: np.nan})
    measured = figures(scores, [7, 1])
    assert measured["ap"] == pytest.approx(
        (1 / 1 + 2 / 4) / 2
    )  # at places 1 and 4: the undefined one is last
    assert measured["auc"] == pytest.approx(0.5)


def test_marks_of_other_kinds_are_left_out_of_the_order() -> None:
    scores = pd.Series({0: 0.0, 1: 1.0, 2: 2.0, 3: 3.0})
    measured = by_kind(scores, {0: "patch", 1: "text"})
    assert measured["text"] == 1.0  # behind a patch only
    assert by_kind(scores, {1: "text", 2: "patch"})["patch"] == pytest.approx(1 / 2)


def test_auc_counts_pairs_and_ties_a_half() -> None:
    scores, truth = np.array([3.0, 1.0, 2.0, 1.0, np.nan]), np.array([True, True, False, False, True])
    pairs = [(3, 2), (3, 1), (1, 2), (1, 1)]
    assert auc(scores, truth) == pytest.approx(np.mean([(a > b) + (a == b) / 2 for a, b in pairs]))
    assert np.isnan(auc(scores[:2], truth[:2]))


def test_every_kind_and_frequency_is_dealt_about_as_often() -> None:
    marks = deal_marks(200, 4)
    assert len(marks) == 21
    counts = Counter((mark.kind, mark.frequency) for mark in marks.values())
    assert set(counts) == {(kind, frequency) for kind in KINDS for frequency in FREQUENCIES}
    assert set(counts.values()) == {2, 3}
    assert marks == deal_marks(200, 4)
    assert set(marks) != set(deal_marks(200, 5))


@pytest.mark.parametrize("seed", range(9))
def test_marks_touch_no_box_and_no_other_class(seed: int) -> None:
    mark = list(deal_marks(200, 0).values())[seed]
    marked = photos(40)
    carries = mark_all(marked, {1: mark}, seed)
    changed = (marked.pictures != 100).any(axis=-1)
    assert not carries[::2].any()
    assert (changed.any(axis=(1, 2)) == carries).all()
    # a stripe is as wide as the picture: beside a box as high as the picture there is no room for it
    assert carries.any() == (mark.kind != "stripe")
    assert not changed[:, :, :32].any()


def test_a_photograph_is_marked_alike_in_any_company() -> None:
    marks = {1: deal_marks(200, 0)[min(deal_marks(200, 0))]}
    whole = photos(20)
    mark_all(whole, marks, 3, always=True)
    part = photos(20)
    part = Photos(
        part.names[7:8], part.labels[7:8], part.pictures[7:8], part.boxes[7:8], ("a", "b"), ("a", "b")
    )
    mark_all(part, marks, 3, always=True)
    assert (part.pictures[0] == whole.pictures[7]).all()


def test_what_a_mark_adds_is_the_mean_over_pairs_of_the_same_photograph() -> None:
    clean = np.array([[0.5, 0.5], [0.2, 0.8], [0.9, 0.1]])
    marked = np.array([[0.9, 0.1], [0.1, 0.9], [0.7, 0.3]])
    added = added_probability(marked, clean, np.array([0, 1, 1]))
    assert added[0] == (pytest.approx(0.4), 1)
    assert added[1] == (pytest.approx((0.1 + 0.2) / 2), 2)
    assert used_marks({3: (0.1, 9), 2: (0.099, 9), 1: (0.5, 1)}) == [1, 3]


def test_an_image_s_interventions_are_the_means_over_its_donors() -> None:
    said = {
        "same:0": 0.9,
        "same:1": 0.7,
        "other:0": 0.2,
        "same_object:0": 1.0,
        "other_object:0": 0.4,
        "full": 1.0,
    }
    rows = pd.DataFrame({"example_id": "x", "edit": said.keys(), "probability": said.values()})
    scores = edited_scores(rows).loc["x"]
    assert scores["sufficiency"] == pytest.approx(0.8 - 0.2)
    assert scores["necessity"] == pytest.approx(0.6)


def test_what_predicts_that_the_background_decides() -> None:
    frame = pd.DataFrame(
        {
            "label": [0, 0, 1, 1],
            "prediction": [0, 1, 1, 0],
            "place": [0, 1, 0, 0],
            "looks beside": [0.0, 2.0, 1.0, 3.0],
            "sufficiency": [0.1, 0.9, 0.2, 0.8],
            "necessity": np.nan,
            "both": np.nan,
            "transfer": [0.0, 1.0, 0.0, np.nan],
        }
    )
    decides = pd.Series([0.0, 1.0, 1.0, 1.0], frame.index)
    told = predicted_by(frame, decides)
    assert told["decides"] == 0.75
    assert told["says place on conflict"] == pytest.approx(2 / 3)  # images 1 and 3 of 1, 2, 3
    assert told["looks beside: decides"] == 1.0
    assert told["sufficiency: says place"] == 1.0
    assert np.isnan(told["necessity: decides"])
    assert told["necessity: n"] == 0
    assert told["transfer: n"] == 3
    assert told["transfer: decides"] == pytest.approx(3 / 4)  # image 1 before image 0, image 2 ties with it
    # images 1 and 3 are wrong: in both the background decides, so nothing can be told apart
    assert np.isnan(told["looks beside: decides, of wrong ones"])


def test_what_an_image_s_window_adds_is_the_mean_over_its_recipients() -> None:
    rows = pd.DataFrame(
        {
            "example_id": ["x", "x", "x", "y"],
            "window": ["relevant", "relevant", "other_place", "relevant"],
            "probability": [0.5, 0.9, 0.99, 0.5],
            "control": [0.2, 0.5, 0.01, 0.5],
            "x": 3, "y": 4, "width": 5, "height": 6,
        }
    )  # fmt: skip
    scores = window_scores(rows)
    assert scores.loc["x", "transfer"] == pytest.approx((np.log(4) + np.log(9)) / 2, rel=1e-3)
    assert scores.loc["y", "transfer"] == pytest.approx(0.0)
    assert scores.loc["x", ["x", "y", "width", "height"]].tolist() == [3, 4, 5, 6]


def test_windows_show_the_place_of_a_class_where_those_on_it_carry_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = pd.DataFrame(
        {
            "prediction": [1, 1, 1, 0],
            "place": [1, 1, 0, 0],
            "transfer": [3.0, 2.0, 1.0, np.nan],
            "x": 0, "y": 0, "width": 2, "height": 1,
        },
        index=["a", "b", "c", "d"],
    )  # fmt: skip
    bird = np.zeros((4, 4), bool)
    bird[:, 0] = True
    monkeypatch.setattr(waterbirds_images, "TOP", 2)
    shown = windows_shown(frame, dict.fromkeys(frame.index, bird))
    water = shown["waterbird"]
    assert (water["windows"], water["on water"], water["best"], water["best on water"]) == (3, 2, 2, 2)
    assert water["AUC of the gain for the place"] == 1.0
    assert water["on the bird"] == 0.5
    assert shown["landbird"]["windows"] == 0


def test_a_mark_is_on_its_share_of_the_photographs() -> None:
    carries = mark_all(photos(1600), {1: Mark("patch", 0.25)}, 0)
    assert carries[1::2].mean() == pytest.approx(0.25, abs=0.046)  # three standard errors of 800


def test_halves_share_no_image_and_halve_every_class() -> None:
    labels = np.repeat([3, 5], [8, 5])
    first, second = split_in_halves(labels)
    assert sorted([*first, *second]) == list(range(13))
    assert Counter(labels[first].tolist()) == {3: 4, 5: 2}


def test_agreement_is_the_share_of_either_that_is_confirmed_in_the_other_and_not_acquitted_there() -> None:
    first = pd.DataFrame({"verdict": ["confirmed"] * 3 + ["undecided", "unremarkable", "cleared"]})
    second = pd.DataFrame({"verdict": ["unremarkable", *["confirmed"] * 5]})
    assert agreement(first, second) == {
        "first": 3,
        "second": 5,
        "both": 2,
        "confirmed again": 4 / 8,
        "not contradicted": 1 - 3 / 8,
    }
    assert agreement(first.iloc[3:], first.iloc[3:])["confirmed again"] is None


def test_shuffled_donors_are_the_two_foreign_ones_in_either_order() -> None:
    n = 200
    foreign = {f"{edit}:{k}": np.full(n, float(k)) for edit in ("other", "other_object") for k in (0, 1)}
    own = {"same:0": np.full(n, 9.0), "full": np.full(n, 7.0)}
    answers = Answers(tuple(map(str, range(n))), own | foreign, own | foreign, {})
    shuffled = shuffle_donors(answers, np.random.default_rng(0)).probability
    assert (shuffled["full"] == 7).all()
    for one, other in (("same:0", "other:0"), ("same_object:0", "other_object:0")):
        assert (shuffled[one] + shuffled[other] == 1).all()
        assert 0.3 < shuffled[one].mean() < 0.7
    # the same background with and without the object
    assert (shuffled["same:0"] == shuffled["same_object:0"]).all()


def test_used_marks_are_looked_for_among_classes_that_the_twin_does_not_confirm() -> None:
    orders = {"lift": pd.Series({7: -1.0, 3: -0.5, 5: 0.0, 1: 0.5})}
    assert found(orders, [3, 1], set()) == {"lift": "0.50, 0.25"}  # at places 2 and 4
    assert found(orders, [3, 1, 7], {7}) == {"lift": "0.83, 0.50"}  # 7 is neither asked nor wanted


def test_confirmed_classes_are_excused_by_a_used_mark_or_by_the_twin() -> None:
    table = pd.DataFrame(
        {"verdict": ["confirmed"] * 4 + ["suspected"], "transferred": ["transfers", *["nothing"] * 4]}
    )
    told = accused(table, used={0, 4}, marks={0, 1, 4}, in_twin={2, 9})
    assert told.neither == {1, 3}  # a mark that is not used excuses nobody
    assert told.told().startswith(
        "confirmed 4 (marked 2, used 1); suspected 1 (marked 1, used 1); transfers 1"
    )


def test_ranks_are_averaged_each_in_the_direction_that_accuses() -> None:
    table = pd.DataFrame({"adjusted_lift": [-2.0, 0.0, -1.0], "transfer": [0.5, 0.9, np.nan]})
    assert mean_rank(table, ("adjusted_lift", "transfer")).tolist() == pytest.approx(
        [(1 / 3 + 1) / 2, (1 + 1 / 2) / 2, 2 / 3]
    )


def test_what_windows_find_beside_a_reference(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Alone they put class 0 first, by which a reference gains as well; beyond it 2, whose mark is used."""
    table = pd.DataFrame(
        {
            "transfer": [3.0, 0.1, 2.0, np.nan],
            "reference_transfer": [0.2, 0.1, 1.9, np.nan],
            "reference_transfer_low": [-0.1, -0.3, 1.2, np.nan],
            "reference_lift_lower": [-0.2, 0.3, -0.5, 0.1],
            "transferred": ["transfers", "nothing", "transfers", None],
        }
    )
    monkeypatch.setattr(reference, "whole_run", lambda *given: None)
    monkeypatch.setattr(reference, "ranking_table", lambda folder: table)
    monkeypatch.setattr(reference, "_dataset", lambda *given: {})
    pair = reference.Pair(1, Path("marked.keras"), Path("twin.keras"), frozenset({2}), frozenset({0, 2}))
    row = reference.measure_windows(pair, None, tmp_path)
    assert row["AP (AUC) windows"] == "0.50 (0.67)"
    assert row["AP (AUC) beyond the reference's"] == "1.00 (1.00)"
    assert (row["surely more here"], row["of used"]) == (1, 1)
    assert (row["transfer"], row["of them surely more here"]) == (2, 1)


def test_maps_are_apart_by_their_length_and_their_order() -> None:
    one, ranks = np.array([3.0, -4.0, 1.0]), np.array([300.0, -1.0, 1.0])
    assert distance(one, one) == (0, pytest.approx(1))
    assert distance(one, -one) == (2, pytest.approx(-1))
    assert distance(one, ranks)[1] == pytest.approx(1)
    assert np.isnan(distance(np.zeros(3), one)[0])
