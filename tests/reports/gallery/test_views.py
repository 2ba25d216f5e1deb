"""Every visualisation, by pixels, against values worked out by hand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reports.gallery.view import View
from reports.gallery.views import all_views, blend, masked, names

VIEWS = all_views()
# 1 x 2 pixels, 3 channels: sums +4 and -2, sums of absolute values 4 and 6
SMALL = np.array([[[1.0, 1.0, 2.0], [-4.0, 2.0, 0.0]]])
PHOTO = np.array([[[100, 150, 200], [10, 20, 30]]], dtype=np.uint8)
every_view = pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)


def drawn(name: str, relevance: np.ndarray, end: float, picture: np.ndarray | None = None) -> np.ndarray:
    if picture is None:
        picture = np.zeros((*relevance.shape[:2], 3), np.uint8)
    return VIEWS[name].draw(relevance, picture, end)


# -- the registry


def test_a_view_is_called_as_its_file_is_and_tested_here_by_name() -> None:
    assert set(VIEWS) == set(names())
    source = Path(__file__).read_text(encoding="utf-8")
    untested = [name for name in VIEWS if not re.search(rf"^def test_{name}_", source, re.MULTILINE)]
    assert untested == []


def test_the_guide_names_every_view_in_order() -> None:
    text = (Path(__file__).parents[3] / "docs" / "galleries.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"`--view` names the visualisation: (.*?)\. ", text, re.DOTALL)
    assert re.findall(r"`(\w+)`", listed) == list(VIEWS)


# -- what each shows


def test_graymap_is_the_sum_of_absolute_values_over_the_end() -> None:
    assert drawn("graymap", SMALL, 6.0).tolist() == [[[170] * 3, [255] * 3]]  # 4 / 6 and 6 / 6 of 255
    assert drawn("graymap", SMALL, 10.0).tolist() == [[[102] * 3, [153] * 3]]
    assert drawn("graymap", SMALL, 5.0).tolist() == [[[204] * 3, [255] * 3]]  # what is beyond is clipped


def test_heatmap_is_white_at_zero_red_above_blue_below_and_symmetric() -> None:
    values = np.array([[[2.0], [1.0], [0.0], [-1.0], [-2.0]]])
    full, red, white, blue, full_blue = drawn("heatmap", values, 2.0)[0].astype(int)
    assert white.tolist() == [255, 255, 255]
    assert full.tolist() == [128, 0, 0]  # seismic ends in dark red and dark blue
    assert full_blue.tolist() == [0, 0, 76]
    assert np.abs(red - [255, 0, 0]).max() < 5
    assert np.abs(blue - [0, 0, 255]).max() < 5


def test_heatmap_cancels_channels_where_graymap_does_not() -> None:
    opposite = np.array([[[1.0, -1.0], [1.0, 1.0]]])
    assert drawn("heatmap", opposite, 2.0)[0, 0].tolist() == [255, 255, 255]
    assert drawn("graymap", opposite, 2.0)[0, 0].tolist() == [255, 255, 255]


def test_scaled_dims_the_input_by_the_relevance() -> None:
    # 2/3 of the first pixel, all of the second
    assert drawn("scaled", SMALL, 6.0, PHOTO).tolist() == [[[67, 100, 133], [10, 20, 30]]]


def test_projection_maps_minus_end_to_black_zero_to_grey_and_end_to_white() -> None:
    assert drawn("projection", SMALL, 4.0)[0].tolist() == [[159, 159, 191], [0, 191, 128]]  # 255 (R/4 + 1)/2
    assert drawn("projection", np.array([[[3.0], [-3.0]]]), 6.0)[0].tolist() == [[191] * 3, [64] * 3]


def test_projection_of_other_numbers_of_channels_is_their_mean() -> None:
    out = drawn("projection", np.array([[[1.0, 3.0], [-3.0, -1.0]]]), 4.0)
    assert out[0].tolist() == [[191] * 3, [64] * 3]


def quarters() -> tuple[np.ndarray, np.ndarray]:
    """A picture of four flat quarters and a map with all relevance in the second (upper right) one."""
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[:20, :20], picture[:20, 20:] = (200, 30, 30), (30, 200, 30)
    picture[20:, :20], picture[20:, 20:] = (30, 30, 200), (200, 200, 30)
    relevance = np.zeros((40, 40, 3))
    relevance[:20, 20:] = -1.0  # the amount counts, not the sign
    return picture, relevance


def test_masked_shows_the_most_relevant_segments_and_hides_the_rest_in_grey() -> None:
    picture, relevance = quarters()
    out = masked.masked(masked.VIEW.values(relevance), picture, segments=4, keep=0.25)
    assert (out[:20, 20:] == (30, 200, 30)).all()
    out[:20, 20:] = masked.GREY
    assert (out == masked.GREY).all()


def test_masked_never_shows_a_segment_without_relevance() -> None:
    picture, relevance = quarters()
    out = masked.masked(masked.VIEW.values(relevance), picture, segments=4, keep=1.0)
    assert (out[20:] == masked.GREY).all()


def test_blend_is_half_grey_input_and_half_jet() -> None:
    picture = np.full((61, 61, 3), 100, np.uint8)
    relevance = np.zeros((61, 61, 1))
    relevance[30, 30] = 5.0
    peak = blend.VIEW.values(relevance).max()
    assert peak == pytest.approx(5 / (2 * np.pi * blend.SIGMA**2), rel=1e-3)  # a Gaussian's, cut at 4 sigma
    out = drawn("blend", relevance, peak, picture).astype(int)
    assert np.abs(out[30, 30] - [114, 50, 50]).max() <= 1  # jet ends in (128, 0, 0)
    assert np.abs(out[0, 0] - [50, 50, 114]).max() <= 1  # and begins in (0, 0, 128)
    # a Gaussian of sigma 3 has fallen to exp(-1/2) = 0.607 at 3 px; jet runs there, in straight lines, from
    # red 0 at 0.35 to 1 at 0.66 and blue 1 at 0.34 to 0 at 0.65, green is full: (0.829, 1, 0.139)
    assert np.abs(out[30, 33] - [50 + 106, 50 + 128, 50 + 18]).max() <= 3
    assert (out == out.transpose(1, 0, 2)).all()


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("heatmap", ([0, 0, 76], [128, 0, 0])),
        ("projection", ([0] * 3, [255] * 3)),
        ("graymap", ([0] * 3, [255] * 3)),
        ("blend", ([0, 0, 128], [128, 0, 0])),
        ("masked", None),
        ("scaled", None),
    ],
)
def test_the_bar_runs_from_one_end_of_the_scale_to_the_other(name: str, ends) -> None:
    bar = VIEWS[name].bar()
    assert ends == (None if bar is None else (bar[0].tolist(), bar[-1].tolist()))


# -- what holds for all of them


@every_view
def test_shapes_that_do_not_fit_are_named(view: View) -> None:
    with pytest.raises(ValueError, match=r"\(h, w, c\)"):
        view.draw(SMALL[0], PHOTO, 1.0)
    with pytest.raises(ValueError, match="not of one size"):
        view.draw(SMALL, PHOTO[:, :1], 1.0)
    with pytest.raises(ValueError, match="uint8"):
        view.draw(SMALL, PHOTO / 255.0, 1.0)


@pytest.mark.parametrize("end", [-1.0, float("nan"), float("inf")])
def test_an_unusable_end_is_named(end: float) -> None:
    with pytest.raises(ValueError, match="finite and not negative"):
        drawn("graymap", SMALL, end)


@every_view
@settings(max_examples=15, deadline=None)
@example(shape=(1, 1, 1), end=1e-12, fill=1e300, seed=0)
@given(
    shape=st.tuples(st.integers(1, 17), st.integers(1, 17), st.integers(1, 4)),
    end=st.sampled_from([0.0, 1e-12, 1.0, 1e12]),
    fill=st.sampled_from([0.0, 1e-310, 1e300, -3.0, float("nan"), float("inf")]),
    seed=st.integers(0, 9),
)
def test_any_geometry_and_any_values_give_pictures(view: View, shape, end, fill, seed) -> None:
    rng = np.random.default_rng(seed)
    relevance = np.where(rng.random(shape) < 0.5, rng.normal(size=shape), fill)
    picture = rng.integers(0, 256, (*shape[:2], rng.choice([1, 3])), dtype=np.uint8)
    before = relevance.copy(), picture.copy()
    out = view.draw(relevance, picture, end)
    assert out.shape == (*shape[:2], 3)
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(relevance, before[0])  # nothing is changed in place
    np.testing.assert_array_equal(picture, before[1])


@pytest.mark.parametrize("end", [0.0, 2.0])
@pytest.mark.parametrize(
    ("name", "neutral"),
    [
        ("graymap", [0, 0, 0]),
        ("heatmap", [255, 255, 255]),
        ("scaled", [0, 0, 0]),
        ("masked", [128, 128, 128]),
        ("blend", [45, 45, 109]),  # half of grey 90, half of jet's beginning (0, 0, 128)
        ("projection", [128, 128, 128]),
    ],
)
def test_a_map_of_zeros_is_neutral(name: str, neutral: list[int], end: float) -> None:
    out = drawn(name, np.zeros((9, 7, 3)), end, np.full((9, 7, 3), 90, np.uint8))
    assert (out == neutral).all()
