"""Localisation metrics against cases worked by hand and against slow, obvious versions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from pipeline.config import ConfigError
from pipeline.config_sections import AuditConfig
from pipeline.measure.metrics import NOT_FINITE, ZERO_MAP, get_metric, list_metrics, measure
from pipeline.schema import STATUS_BOX_COVERS_IMAGE, STATUS_FAILED, STATUS_OK

# One image of 2 x 3 pixels and 2 channels; the box is the first column.
#   channel 0:  3 -1  0     channel 1:  1  1 -2
#               0  2 -1                -4  0  1
R = np.array([[[3, 1], [-1, 1], [0, -2]], [[0, -4], [2, 0], [-1, 1]]], float)[None]
M = np.array([[True, False, False], [True, False, False]])[None]
# sum |R| per pixel: 4 2 2 / 4 2 2     sum R: 4 0 -2 / -4 2 0     sum of the positive part: 4 0 0 / 0 2 0
HAND = {
    "abs_sum": {
        "relevance_in": 8,
        "relevance_out": 8,
        "ratio": 1,
        "mass": 0.5,
        "lift": math.log(0.5 / 0.5) - math.log((1 / 3) / (2 / 3)),
        "rank_accuracy": 1,
        "pointing": None,  # 4 occurs twice
        "mu": 4 / 6,
        "mu_weighted": (4 / 6) / (1 / 3),
        "auc_mask": 1,
    },
    "sum": {
        "relevance_in": 8,
        "relevance_out": 4,
        "ratio": 2,
        "mass": 8 / 12,
        "lift": math.log(2) - math.log(0.5),
        "rank_accuracy": 1,
        "pointing": None,
        "mu": 4 / 6,
        "mu_weighted": 2,
        "auc_mask": 1,
    },
    "positive": {
        "relevance_in": 4,
        "relevance_out": 2,
        "ratio": 2,
        "mass": 4 / 6,
        "lift": math.log(2) - math.log(0.5),
        "rank_accuracy": 0.5,  # the two most relevant pixels: one inside, one outside
        "pointing": 1,
        "mu": 4 / 6,
        "mu_weighted": 2,
        "auc_mask": (4 + 1.5) / 8,  # 4 beats all 4 outside; 0 loses to 2 and ties with three zeros
    },
}
OK = [(STATUS_OK, None)]


def one(name: str, relevance: np.ndarray, mask: np.ndarray, pooling="abs_sum") -> tuple[float, str | None]:
    """Value and reason of one metric of one image (h w or h w c)."""
    relevance = relevance[..., None] if relevance.ndim == 2 else relevance
    found = measure(relevance[None], mask[None], OK, [name], pooling)
    return found.value[0, 0], found.reason[0, 0]


def test_every_metric_is_worked_by_hand():
    for pooling, values in HAND.items():
        assert {m.name for m in list_metrics()} == set(values), pooling


@pytest.mark.parametrize("pooling", HAND)
@pytest.mark.parametrize("name", HAND["abs_sum"])
def test_hand_computed(name: str, pooling: str):
    value, reason = one(name, R[0], M[0], pooling)
    if HAND[pooling][name] is None:
        assert np.isnan(value)
        assert reason == get_metric(name).undefined
    else:
        assert value == pytest.approx(HAND[pooling][name], rel=1e-12, abs=1e-12)
        assert reason is None


@pytest.mark.parametrize("metric", list_metrics(), ids=lambda m: m.name)
def test_a_zero_map_is_null_with_a_reason(metric):
    value, reason = one(metric.name, np.zeros((4, 4)), np.eye(4, dtype=bool))
    assert np.isnan(value)
    assert reason == ZERO_MAP


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_map_that_is_not_finite_is_null_with_a_reason(bad: float):
    relevance = np.ones((4, 4))
    relevance[2, 1] = bad
    for metric in list_metrics():
        value, reason = one(metric.name, relevance, np.eye(4, dtype=bool))
        assert np.isnan(value)
        assert reason == NOT_FINITE


def test_reasons_of_the_image_and_of_the_method_come_before_the_metrics():
    relevance, mask = np.ones((4, 3, 3, 1)), np.zeros((4, 3, 3), bool)
    mask[0, 0, 0] = True
    blocked = [
        (STATUS_OK, None),
        (STATUS_BOX_COVERS_IMAGE, None),
        (STATUS_FAILED, "truncated file"),
        (STATUS_OK, "negative logit"),
    ]
    found = measure(relevance, mask, blocked, ["mass", "lift"], "abs_sum")
    assert found.value[0].tolist() == pytest.approx([1 / 9, 0])
    assert np.isnan(found.value[1:]).all()
    assert found.reason.tolist() == [
        [None, None],
        [STATUS_BOX_COVERS_IMAGE] * 2,
        ["truncated file"] * 2,
        ["negative logit"] * 2,
    ]


def test_an_unknown_metric_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"'iou' is unknown; known metrics: auc_mask, lift"):
        get_metric("iou")


def test_the_default_metrics_exist():
    names = list(AuditConfig().metrics)
    assert names
    assert [get_metric(name).name for name in names] == names


@pytest.mark.parametrize(("inside", "extreme"), [(True, 1), (False, -1)])
def test_lift_of_a_mass_of_0_or_1_is_that_of_half_a_pixel(inside: bool, extreme: int):
    mask = np.zeros((10, 10), bool)
    mask[:, :5] = True
    value, reason = one("lift", np.where(mask == inside, 1.0, 0.0), mask)
    assert reason is None
    assert value == pytest.approx(extreme * math.log(0.995 / 0.005))


def test_ratio_without_relevance_outside_is_undefined_and_mass_is_1():
    mask = np.eye(4, dtype=bool)
    value, reason = one("ratio", mask.astype(float), mask)
    assert np.isnan(value)
    assert reason == "no relevance lies outside the boxes"
    assert one("mass", mask.astype(float), mask) == (1, None)


@pytest.mark.parametrize(
    ("x", "hit"), [(40, 1), (55, 1), (56, 0), (25, 1), (24, 0)], ids=["in", "15", "16", "-15", "-16"]
)
def test_pointing_tolerates_15_pixels(x: int, hit: int):
    mask, relevance = np.zeros((60, 80), bool), np.zeros((60, 80))
    mask[20:30, 40] = True
    relevance[25, x] = -2  # absolute relevance decides
    relevance[0, 0] = 1
    assert one("pointing", relevance, mask) == (hit, None)


def test_pointing_measures_the_straight_distance():
    mask, relevance = np.zeros((60, 60), bool), np.zeros((60, 60))
    mask[30, 30] = True
    relevance[30 - 11, 30 - 11] = 1  # 15.6 px away, though 11 in either direction
    assert one("pointing", relevance, mask) == (0, None)


def test_a_constant_map_tells_nothing():
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:7] = True
    area = mask.mean()
    flat = np.full((6, 8), 0.25)
    expected = {"lift": 0, "mass": area, "rank_accuracy": area, "auc_mask": 0.5, "mu_weighted": 1}
    for name, value in expected.items():
        assert one(name, flat, mask)[0] == pytest.approx(value), name
    assert np.isnan(one("pointing", flat, mask)[0])


maps = arrays(np.float32, (5, 6, 2), elements=st.integers(-3, 3).map(float))
masks = arrays(bool, (5, 6)).filter(lambda m: m.any() and not m.all())


@given(maps, masks)
def test_auc_is_scikit_learns(relevance: np.ndarray, mask: np.ndarray):
    value, reason = one("auc_mask", relevance, mask)
    if reason is None:
        assert value == pytest.approx(roc_auc_score(mask.ravel(), np.abs(relevance).sum(2).ravel()))


@given(maps, masks, st.integers(0, 2**31))
def test_rank_accuracy_is_the_expectation_over_tie_breaks(relevance, mask, seed):
    value, reason = one("rank_accuracy", relevance, mask)
    if reason is not None:
        return
    flat, inside, k = np.abs(relevance).sum(2).ravel(), mask.ravel(), int(mask.sum())
    # exact: every pixel's chance of being among the top k
    greater = np.array([(flat > v).sum() for v in flat])
    ties = np.array([(flat == v).sum() for v in flat])
    chance = np.clip((k - greater) / ties, 0, 1)
    assert value == pytest.approx(chance[inside].sum() / k)


@given(maps, masks)
def test_pointing_is_the_distance_to_the_nearest_pixel(relevance, mask):
    wide = np.kron(mask, np.ones((8, 8), bool))
    heat = np.zeros((*wide.shape, 2))
    heat[::8, ::8] = relevance
    value, reason = one("pointing", heat, wide)
    pooled = np.abs(heat).sum(2)
    peaks = np.argwhere(pooled == pooled.max())
    if len(peaks) > 1:
        assert reason is not None
    else:
        distance = np.hypot(*(np.argwhere(wide) - peaks[0]).T).min()
        assert value == float(distance <= 15)


@given(maps, masks, st.floats(1e-3, 1e3))
def test_scale_changes_sums_only(relevance, mask, factor):
    for metric in list_metrics():
        value, other = (one(metric.name, r, mask)[0] for r in (relevance, relevance * np.float32(factor)))
        if metric.unit == "relevance":
            value *= float(np.float32(factor))
        assert other == pytest.approx(value, rel=1e-5, nan_ok=True), metric.name


@given(maps, masks)
def test_mass_lift_and_ratio_say_the_same(relevance, mask):
    ratio, mass, lift = (one(name, relevance, mask)[0] for name in ("ratio", "mass", "lift"))
    if not np.isnan(ratio) and ratio > 0:
        assert ratio == pytest.approx(mass / (1 - mass))
        assert lift == pytest.approx(math.log(ratio) - math.log(mask.mean() / (1 - mask.mean())))


@given(arrays(np.float32, (3, 4, 4, 3), elements=st.floats(-4, 4, width=32)), arrays(bool, (3, 4, 4)))
def test_a_batch_is_its_images(relevance, mask):
    mask[:, 0, 0], mask[:, 0, 1] = True, False
    names = [m.name for m in list_metrics()]
    together = measure(relevance, mask, OK * 3, names, "abs_sum")
    for i in range(3):
        alone = measure(relevance[i : i + 1], mask[i : i + 1], OK, names, "abs_sum")
        np.testing.assert_allclose(together.value[i], alone.value[0], rtol=1e-12)
        assert together.reason[i].tolist() == alone.reason[0].tolist()


@given(maps, masks)
def test_values_stay_in_their_range(relevance, mask):
    for metric in list_metrics():
        value, reason = one(metric.name, relevance, mask)
        low, high = metric.range
        assert (reason is not None) == np.isnan(value)
        assert np.isnan(value) or low <= value <= high + 1e-12, metric.name
