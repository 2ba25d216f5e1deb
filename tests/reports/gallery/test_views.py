"""The six visualisations, by pixels, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reports.gallery import views as visualize

# 1 x 2 pixels, 3 channels: sums +4 and -2, sums of absolute values 4 and 6
SMALL = np.array([[[[1.0, 1.0, 2.0], [-4.0, 2.0, 0.0]]]])
PHOTO = np.array([[[[100, 150, 200], [10, 20, 30]]]], dtype=np.uint8)


def maps(*scales: float) -> np.ndarray:
    """One map per scale, 4 x 5 x 3, with its largest absolute channel sum equal to the scale."""
    rng = np.random.default_rng(3)
    raw = rng.normal(size=(len(scales), 4, 5, 3))
    largest = np.abs(raw).sum(axis=-1).max(axis=(1, 2))
    return raw / largest[:, None, None, None] * np.array(scales)[:, None, None, None]


def test_graymap_is_the_sum_of_absolute_values_over_the_largest():
    assert visualize.graymap(SMALL, "image").tolist() == [[[[170] * 3, [255] * 3]]]  # 4 / 6 and 6 / 6 of 255


def test_graymap_scopes():
    small_and_large = maps(1.0, 4.0)
    assert visualize.graymap(small_and_large, "image").max(axis=(1, 2, 3)).tolist() == [255, 255]
    assert visualize.graymap(small_and_large, "batch").max(axis=(1, 2, 3)).tolist() == [64, 255]
    assert visualize.graymap(small_and_large, 5.0).max(axis=(1, 2, 3)).tolist() == [51, 204]
    assert visualize.graymap(small_and_large, 3.0).max(axis=(1, 2, 3)).tolist() == [85, 255]  # clipped


def test_heatmap_is_white_at_zero_red_above_blue_below_and_symmetric():
    values = np.array([[[[2.0], [1.0], [0.0], [-1.0], [-2.0]]]])
    full, red, white, blue, full_blue = visualize.heatmap(values, "image")[0, 0].astype(int)
    assert white.tolist() == [255, 255, 255]
    assert full.tolist() == [128, 0, 0]  # seismic ends in dark red and dark blue
    assert full_blue.tolist() == [0, 0, 76]
    assert np.abs(red - [255, 0, 0]).max() < 5
    assert np.abs(blue - [0, 0, 255]).max() < 5


def test_heatmap_cancels_channels_where_graymap_does_not():
    opposite = np.array([[[[1.0, -1.0], [1.0, 1.0]]]])
    assert visualize.heatmap(opposite, "image")[0, 0, 0].tolist() == [255, 255, 255]
    assert visualize.graymap(opposite, "image")[0, 0, 0].tolist() == [255, 255, 255]


def test_scaled_dims_the_input_by_the_relevance():
    out = visualize.scaled(SMALL, PHOTO, "image")
    assert out.tolist() == [[[[67, 100, 133], [10, 20, 30]]]]  # 2/3 of the first pixel, all of the second


def test_projection_maps_minus_scale_to_black_zero_to_grey_and_scale_to_white():
    out = visualize.projection(SMALL, "image")[0, 0].tolist()
    assert out == [[159, 159, 191], [0, 191, 128]]  # 255 (R / 4 + 1) / 2
    assert visualize.projection(np.array([[[[3.0], [-3.0]]]]), 6.0)[0, 0].tolist() == [[191] * 3, [64] * 3]


def test_projection_of_other_numbers_of_channels_is_their_mean():
    out = visualize.projection(np.array([[[[1.0, 3.0], [-2.0, -2.0]]]]), "image")
    assert out[0, 0].tolist() == [[255] * 3, [0] * 3]


def test_project_reaches_both_ends_of_the_input_range_per_channel():
    x = np.array([[[[1.0, -1.0], [0.0, 1.0]]]])
    out = visualize.project(x, low=np.array([-10.0, 0.0]), high=np.array([10.0, 4.0]), scope="image")
    assert out.tolist() == [[[[10.0, 0.0], [0.0, 4.0]]]]


def test_project_refuses_an_empty_range():
    with pytest.raises(ValueError, match="low must be below high"):
        visualize.project(SMALL, 1.0, 1.0, "image")


def quarters() -> tuple[np.ndarray, np.ndarray]:
    """A picture of four flat quarters and a map with all relevance in the second (upper right) one."""
    picture = np.zeros((1, 40, 40, 3), np.uint8)
    picture[0, :20, :20], picture[0, :20, 20:] = (200, 30, 30), (30, 200, 30)
    picture[0, 20:, :20], picture[0, 20:, 20:] = (30, 30, 200), (200, 200, 30)
    relevance = np.zeros((1, 40, 40, 3))
    relevance[0, :20, 20:] = -1.0  # the amount counts, not the sign
    return picture, relevance


def test_masked_shows_the_most_relevant_segments_and_hides_the_rest_in_grey():
    picture, relevance = quarters()
    out = visualize.masked(relevance, picture, segments=4, keep=0.25)
    assert (out[0, :20, 20:] == (30, 200, 30)).all()
    out[0, :20, 20:] = visualize.GREY
    assert (out == visualize.GREY).all()


def test_masked_never_shows_a_segment_without_relevance():
    picture, relevance = quarters()
    out = visualize.masked(relevance, picture, segments=4, keep=1.0)
    assert (out[0, 20:] == visualize.GREY).all()


@pytest.mark.parametrize(("segments", "keep"), [(0, 0.2), (10, 0.0), (10, 1.5)])
def test_masked_refuses_impossible_parameters(segments, keep):
    with pytest.raises(ValueError, match="segments must be"):
        visualize.masked(SMALL, PHOTO, segments, keep)


def test_blend_is_half_grey_input_and_half_jet():
    picture = np.full((1, 61, 61, 3), 100, np.uint8)
    relevance = np.zeros((1, 61, 61, 1))
    relevance[0, 30, 30] = 5.0
    out = visualize.blend(relevance, picture, "image").astype(int)
    assert np.abs(out[0, 30, 30] - [114, 50, 50]).max() <= 1  # jet ends in (128, 0, 0)
    assert np.abs(out[0, 0, 0] - [50, 50, 114]).max() <= 1  # and begins in (0, 0, 128)
    # a Gaussian of sigma 3 has fallen to exp(-1/2) = 0.607 at 3 px; jet runs there, in straight lines, from
    # red 0 at 0.35 to 1 at 0.66 and blue 1 at 0.34 to 0 at 0.65, green is full: (0.829, 1, 0.139)
    assert np.abs(out[0, 30, 33] - [50 + 106, 50 + 128, 50 + 18]).max() <= 3
    assert (out[0] == out[0].transpose(1, 0, 2)).all()


def test_shared_scale_is_the_largest_of_all_batches():
    low, high = maps(1.0), maps(3.0, 2.0)
    scope = visualize.shared_scale([low, high])
    assert scope == pytest.approx(3.0)
    assert visualize.graymap(low, scope).max() == 85
    assert visualize.shared_scale([np.zeros((1, 2, 2, 1))]) == 1.0
    assert visualize.shared_scale([SMALL], visualize.signed) == 4.0


def test_descriptions_name_the_scope():
    assert visualize.describe("image") == "each map on its own scale"
    assert visualize.describe("batch") == "one scale for all maps of the batch"
    assert "0.25" in visualize.describe(0.25)


@pytest.mark.parametrize("scope", ["picture", 0.0, -1.0, float("nan"), float("inf")])
def test_an_unusable_scope_is_named(scope):
    with pytest.raises(ValueError, match="scope"):
        visualize.graymap(SMALL, scope)
    with pytest.raises(ValueError, match="scope"):
        visualize.describe(scope)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"\(b, h, w, c\)"):
        visualize.graymap(SMALL[0], "image")
    with pytest.raises(ValueError, match="not of one size"):
        visualize.scaled(SMALL, PHOTO[:, :, :1], "image")
    with pytest.raises(ValueError, match="uint8"):
        visualize.blend(SMALL, PHOTO / 255.0, "image")


def every(relevance: np.ndarray, pictures: np.ndarray, scope: visualize.Scope) -> list[np.ndarray]:
    return [
        visualize.graymap(relevance, scope),
        visualize.heatmap(relevance, scope),
        visualize.scaled(relevance, pictures, scope),
        visualize.masked(relevance, pictures, segments=5),
        visualize.blend(relevance, pictures, scope),
        visualize.projection(relevance, scope),
    ]


@settings(max_examples=30, deadline=None)
@example(shape=(1, 1, 1, 1), scope=1e-12, fill=1e300, seed=0)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 17), st.integers(1, 17), st.integers(1, 4)),
    scope=st.sampled_from(["image", "batch", 1e-12, 1e12]),
    fill=st.sampled_from([0.0, 1e-310, 1e300, -3.0, float("nan"), float("inf")]),
    seed=st.integers(0, 9),
)
def test_any_geometry_and_any_values_give_pictures(shape, scope, fill, seed):
    rng = np.random.default_rng(seed)
    relevance = np.where(rng.random(shape) < 0.5, rng.normal(size=shape), fill)
    pictures = rng.integers(0, 256, (*shape[:3], rng.choice([1, 3])), dtype=np.uint8)
    for out in every(relevance, pictures, scope):
        assert out.shape == (*shape[:3], 3)
        assert out.dtype == np.uint8


@pytest.mark.parametrize("scope", ["image", "batch", 2.0])
def test_a_map_of_zeros_is_neutral(scope):
    zero = np.zeros((2, 9, 7, 3))
    picture = np.full((2, 9, 7, 3), 90, np.uint8)
    black, white, scaled, masked, blend, grey = every(zero, picture, scope)
    assert not black.any()
    assert (white == 255).all()
    assert not scaled.any()
    assert (masked == visualize.GREY).all()
    assert len(np.unique(blend.reshape(-1, 3), axis=0)) == 1
    assert (grey == 128).all()


def test_one_image_of_a_batch_is_the_image_alone():
    relevance, pictures = maps(1.0, 5.0, 2.0), np.full((3, 4, 5, 3), 77, np.uint8)
    together = every(relevance, pictures, "image")
    alone = every(relevance[1:2], pictures[1:2], "image")
    for a, b in zip(together, alone, strict=True):
        assert (a[1] == b[0]).all()


def test_nothing_is_changed_in_place():
    relevance, pictures = maps(2.0), np.full((1, 4, 5, 1), 50, np.uint8)
    before = relevance.copy(), pictures.copy()
    every(relevance, pictures, "batch")
    assert (relevance == before[0]).all()
    assert (pictures == before[1]).all()
