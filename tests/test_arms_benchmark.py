"""What the three arms compute: where marks lie, relative importance, edges, what is counted as said."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from benchmarks.arms import CLASSES, choose, marked_classes, said_used, told_apart, with_marks
from benchmarks.arms_maps import covered, edges, on_cells, rectangles, relative_importance
from benchmarks.real_marks import KINDS, Photos


def photos(n: int, classes: int) -> Photos:
    """Grey photographs; in each the left half is the box, the lower quarter of the right half too."""
    return Photos(
        names=tuple(f"{i}.JPEG" for i in range(n)),
        labels=np.arange(n) % classes,
        pictures=np.full((n, 64, 64, 3), 100, np.uint8),
        boxes=tuple(np.array([[0, 0, 31, 47]]) for _ in range(n)),
        class_ids=tuple(f"c{k:02d}" for k in range(classes)),
        class_names=tuple(f"name {k}" for k in range(classes)),
    )


def test_twenty_classes_are_chosen_and_renumbered_together() -> None:
    whole = photos(120, 30)
    part = choose(whole, 3)
    assert len(part.class_ids) == CLASSES
    assert sorted(set(part.labels.tolist())) == list(range(CLASSES))
    own = dict(zip(whole.names, (whole.class_ids[k] for k in whole.labels), strict=True))
    assert all(part.class_ids[k] == own[name] for name, k in zip(part.names, part.labels, strict=True))
    assert choose(whole, 4).class_ids != part.class_ids


def test_marks_are_on_all_classes_alike_or_on_six_of_their_own_kind() -> None:
    used = marked_classes("used", 5)
    assert Counter(used.values()) == dict.fromkeys(KINDS, 2)
    assert set(marked_classes("unused", 5)) == set(range(CLASSES))
    clean = photos(CLASSES * 3, CLASSES)
    marked, places = with_marks(clean, "used", 5)
    carries = places.any(axis=(1, 2))
    assert set(clean.labels[carries].tolist()) == set(used)
    changed = (marked.pictures != clean.pictures).any(axis=-1)
    assert (changed & ~places).sum() == 0
    assert not changed[:, :48, :32].any()  # beside the box
    assert with_marks(clean, "unused", 5)[1].any(axis=(1, 2)).all()


def test_the_place_is_the_smallest_rectangle_about_what_changed() -> None:
    changed = np.zeros((2, 5, 6), bool)
    changed[0, 1, 2] = changed[0, 3, 4] = True
    places = rectangles(changed)
    wanted = np.zeros((5, 6), bool)
    wanted[1:4, 2:5] = True
    assert (places[0] == wanted).all()
    assert not places[1].any()


def test_relative_importance_is_the_ratio_of_means_inside_and_outside() -> None:
    shown = np.ones((3, 4, 4))
    places = np.zeros((3, 4, 4), bool)
    places[:2, :2, :2] = True
    shown[0, :2, :2] = -3.0
    ratios = relative_importance(shown, places)
    assert ratios[:2].tolist() == [3.0, 1.0]
    assert np.isnan(ratios[2])  # no mark
    assert relative_importance(np.zeros((1, 4, 4)), places[:1])[0] != 0  # nothing is shown: undefined
    whole_cells = on_cells(places[:1].repeat(2, axis=1).repeat(2, axis=2), 4)
    assert relative_importance(shown[:1], whole_cells)[0] == pytest.approx(3.0)


def test_a_window_is_held_against_the_mark_in_the_picture_s_own_pixels() -> None:
    place = np.zeros((8, 8), bool)
    place[2:4, 4:8] = True
    assert covered(place, (8, 4, 8, 4), side=16) == 1.0
    assert covered(place, (6, 4, 4, 4), side=16) == 0.5
    assert covered(place, (0, 0, 16, 16), side=16) == 8 / 64
    assert covered(place, (8, 4, 1, 1), side=16) == 1.0  # less than a pixel


def test_edges_are_sobel_s() -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (2, 9, 7, 3)).astype(np.uint8)
    grey = pictures.astype(float).mean(axis=-1)
    for picture, shown in zip(grey, edges(pictures), strict=True):
        wanted = np.hypot(
            ndimage.sobel(picture, 0, mode="nearest"), ndimage.sobel(picture, 1, mode="nearest")
        )
        np.testing.assert_allclose(shown, wanted)


def test_who_says_used_is_counted_per_arm() -> None:
    group = ["present on this class, used"] * 2 + ["present, on all classes alike"] * 3 + ["absent"]
    rows = pd.DataFrame(
        {
            "group": group,
            "added": 0.2,
            "map": [2.0, 3.0, 4.0, 0.5, np.nan, 0.1],
            "edges": 2.0,
            "lift": [5.0, 4.0, 1.0, 4.5, 0.0, 9.0],
            "lower": 0.0,
            "effect": np.nan,
            "transfer": 0.0,
            "by maps": [True, False, False, False, False, False],
            "transfers": [True, True, False, False, False, False],
            "transfers by the mark": [True, False, False, False, False, False],
            "confirmed": False,
            "confirmed or suspected": [True, True, True, False, False, False],
        }
    )
    table = said_used(rows).splitlines()
    cells = [cell.strip() for cell in table[3].split("|")[1:-1]]
    assert cells[:3] == ["present, on all classes alike", "3", "+0.20"]
    assert cells[3].startswith("1 of 2: 50%")  # the one without a place is not asked
    assert cells[6].startswith("0 of 3: 0%")
    apart = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in told_apart(rows).splitlines()[2:]}
    assert [cell.strip() for cell in apart["lift"]] == ["0.83", "0.00"]  # 5 of 6 pairs, none of 2
    assert apart["transfer"][0].strip() == "0.50"
