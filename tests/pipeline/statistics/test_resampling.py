"""Statistics against slow, independent oracles: scipy, statsmodels, textbook loops, brute force."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import interpolate, optimize, stats
from statsmodels.robust.robust_linear_model import RLM

from pipeline.statistics import adjust as adjust_module
from pipeline.statistics import resampling
from pipeline.statistics.adjust import HUBER, Basis, adjust, huber, natural_spline, weighted_median
from tests.tables import draw_examples


def table(n_classes: int, per_class, seed: int, effect=None):
    """(lift, area, distance, bounds) sorted by class."""
    frame = draw_examples(n_classes, per_class, seed, effect).sort_values("label", kind="stable")
    counts = np.bincount(frame["label"], minlength=n_classes)
    columns = (frame[c].to_numpy() for c in ("lift", "box_area", "box_distance"))
    return *columns, np.concatenate([[0], np.cumsum(counts)])


# -- the curve


def test_natural_spline_spans_the_natural_cubic_splines_of_scipy():
    knots = np.array([-2.0, -0.5, 0.3, 1.0, 2.5])
    x = np.linspace(-1.99, 2.49, 60)
    design = np.column_stack([np.ones_like(knots), knots, natural_spline(knots, knots)])
    for values in np.eye(5):
        expected = interpolate.CubicSpline(knots, values, bc_type="natural")(x)
        weights = np.linalg.solve(design, values)
        found = np.column_stack([np.ones_like(x), x, natural_spline(x, knots)]) @ weights
        np.testing.assert_allclose(found, expected, atol=1e-10)


def test_natural_spline_is_straight_outside_the_knots():
    x = np.array([-9.0, -8, -7, 7, 8, 9])
    columns = natural_spline(x, np.array([-2.0, 0.0, 1.0, 2.0]))
    np.testing.assert_allclose(columns[0] - 2 * columns[1] + columns[2], 0, atol=1e-9)
    np.testing.assert_allclose(columns[3] - 2 * columns[4] + columns[5], 0, atol=1e-9)


def test_basis_is_orthonormal_and_drops_what_the_data_cannot_tell_apart():
    _, area, distance, _ = table(5, 40, 0)
    z = np.log(area / (1 - area))
    x = Basis.of(z, distance).design(z, distance)
    np.testing.assert_allclose(x.T @ x / len(z), np.eye(x.shape[1]), atol=1e-8)
    same = Basis.of(np.zeros(50), np.full(50, 0.2))
    assert same.design(np.zeros(3), np.full(3, 0.2)).shape == (3, 1)


def test_the_curve_is_the_same_however_few_images_are_worked_on_at_a_time(monkeypatch):
    lift, area, distance, bounds = table(5, 40, 0)
    together, rows = adjust(lift, area, distance, bounds), []

    def counted(z, *others):
        rows.append(len(z))
        return raw(z, *others)

    raw = adjust_module._raw
    monkeypatch.setattr(adjust_module, "_raw", counted)
    monkeypatch.setattr(adjust_module, "_CHUNK", 32)
    apart = adjust(lift, area, distance, bounds)
    assert (max(rows), sum(rows)) == (32, 3 * len(lift))
    for name in ("residual", "curve_variance", "between_share"):
        np.testing.assert_allclose(getattr(apart, name), getattr(together, name), rtol=1e-9, atol=1e-12)


def test_huber_equals_statsmodels():
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(200), rng.standard_normal((200, 3))])
    y = x @ [1.0, -2.0, 0.5, 0.0] + rng.standard_t(2, 200)
    expected = RLM(y, x).fit(scale_est="mad", tol=1e-12, maxiter=500, conv="coefs")
    # statsmodels centres its MAD on the median of the residuals; here it is about 0: give it the same scale
    found = huber(x, y, np.zeros(4), scale=expected.scale)
    np.testing.assert_allclose(found.beta, expected.params, atol=1e-6)
    residual = y - x @ huber(x, y, np.zeros(4)).beta
    assert huber(x, y, np.zeros(4)).scale == pytest.approx(np.median(np.abs(residual)) / 0.6745, rel=1e-6)


def brute_curve_without(c, lift, area, distance, bounds, fitted):
    """Curve (n,) of a Huber fit to all classes but c, by a general-purpose minimiser."""
    x = fitted.basis.design(np.log(area / (1 - area)), distance)
    keep = np.ones(len(lift), dtype=bool)
    keep[bounds[c] : bounds[c + 1]] = False
    k, penalty = HUBER * fitted.fit.scale, fitted.basis.penalty

    def loss(beta):
        r = (lift - x @ beta)[keep]
        value = np.where(np.abs(r) <= k, r * r / 2, k * np.abs(r) - k * k / 2).sum()
        slope = -x[keep].T @ np.clip(r, -k, k) + penalty * beta
        return value + (penalty * beta**2).sum() / 2, slope

    start = np.zeros(x.shape[1])
    return x @ optimize.minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-9}).x


@pytest.mark.parametrize(
    ("n_classes", "per_class", "effect"),
    [
        (2, 5, None),
        (10, 5, {0: -3.0}),
        (12, [1, 40, 3, 7, 12, 2, 9, 30, 5, 5, 8, 11], {1: -2.0}),
        (30, 20, {3: -2}),
    ],
)
def test_leaving_a_class_out_equals_a_fit_without_it(n_classes, per_class, effect):
    lift, area, distance, bounds = table(n_classes, per_class, 3, effect)
    fitted = adjust(lift, area, distance, bounds)
    weights = np.diff(bounds)
    for c in range(n_classes):
        own = slice(bounds[c], bounds[c + 1])
        others = [k for k in range(n_classes) if k != c]
        curve = brute_curve_without(c, lift, area, distance, bounds, fitted)
        means = [(lift - curve)[i:j].mean() for i, j in pairwise(bounds)]
        centre = brute_median([means[k] for k in others], [weights[k] for k in others])
        np.testing.assert_allclose(fitted.residual[own], (lift - curve)[own] - centre, atol=2e-5)


def test_one_class_has_nothing_to_be_compared_with():
    lift, area, distance, bounds = table(1, 30, 0)
    assert np.isnan(adjust(lift, area, distance, bounds).residual).all()


def test_equal_boxes_and_equal_lifts_are_no_trouble():
    bounds = np.array([0, 4, 8])
    found = adjust(np.full(8, 0.7), np.full(8, 0.25), np.zeros(8), bounds)
    np.testing.assert_allclose(found.residual, 0, atol=1e-12)


def test_classes_that_set_no_standard_move_nobody():
    lift, area, distance, bounds = table(8, 20, 2)
    ordinary = np.arange(8) != 3
    rows = np.repeat(ordinary, 20)
    moved = np.where(rows, lift, lift - 5)
    before, after = (adjust(x, area, distance, bounds, ordinary).residual for x in (lift, moved))
    np.testing.assert_array_equal(after[rows], before[rows])
    np.testing.assert_allclose(after[~rows], before[~rows] - 5)
    assert not np.allclose(adjust(moved, area, distance, bounds).residual[rows], before[rows], atol=0.05)


def brute_median(values, weights):
    """The middle of all values, each repeated as often as it weighs."""
    return float(np.median(np.repeat(values, weights)))


@given(st.lists(st.tuples(st.integers(-5, 5).map(float), st.integers(1, 9)), min_size=1, max_size=12))
def test_weighted_median_is_that_of_repeated_values(pairs):
    values, weights = (np.array(x) for x in zip(*pairs, strict=True))
    assert weighted_median(values, weights.astype(float)) == brute_median(values, weights)


def test_classes_that_differ_move_the_curve_as_its_variance_says():
    """``between_share``: variance of a class's mean, per unit, when offsets of the others are drawn anew."""
    lift, area, distance, bounds = table(12, 300, 4)  # many images: offsets stand out of their noise
    plain = adjust(lift, area, distance, bounds)
    start = np.array([r.mean() for r in np.split(plain.residual, bounds[1:-1])])
    rng = np.random.default_rng(0)
    moved = []
    for _ in range(100):
        offset = 0.2 * rng.standard_normal(12)
        residual = adjust(lift + np.repeat(offset, 300), area, distance, bounds).residual
        moved.append([r.mean() for r in np.split(residual, bounds[1:-1])] - start - offset)
    found = np.mean(np.square(moved), axis=0) / 0.2**2
    assert found.mean() == pytest.approx(plain.between_share.mean(), rel=0.3)
    assert np.corrcoef(found, plain.between_share)[0, 1] > 0.5


# -- intervals and shrinkage


@pytest.mark.parametrize("n", [8, 30, 200])
def test_bca_equals_scipy(n):
    rng = np.random.default_rng(n)
    x = np.stack([rng.gamma(1.0, size=n), -rng.gamma(0.5, size=n), rng.standard_t(3, n)])
    resampled = resampling.resampled_means(x, 20_000, rng)
    low, high = resampling.bca(x, resampled, stats.norm.isf(0.025))
    for row, found in zip(x, zip(low, high, strict=True), strict=True):
        expected = stats.bootstrap((row,), np.mean, n_resamples=20_000, method="BCa", rng=rng)
        error = row.std() / np.sqrt(n)
        np.testing.assert_allclose(found, expected.confidence_interval, atol=0.15 * error)


def test_intervals_of_small_classes_are_expanded():
    x = np.random.default_rng(0).standard_normal(5)
    low, high = resampling.bca_intervals(np.tile(x, 2), np.array([0, 5, 10]), 4000, seed=1)
    plain = resampling.bca(x[None], resampling.resampled_means(x[None], 4000, np.random.default_rng(1)), 1.96)
    assert low[0] < plain[0][0]
    assert high[0] > plain[1][0]
    assert (low[0], high[0]) == (low[1], high[1])  # the same images, the same resamplings


def test_intervals_without_spread_are_undefined():
    low, high = resampling.bca_intervals(np.array([1.0, 2.0, 2.0, 2.0]), np.array([0, 1, 4]), 200, seed=0)
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_coverage_of_the_interval():
    rng = np.random.default_rng(5)
    for n, draw in ((5, rng.standard_normal), (20, lambda s: rng.gamma(2, size=s) - 2)):
        values = draw(2000 * n)
        low, high = resampling.bca_intervals(values, np.arange(0, 2000 * n + 1, n), 1000, seed=2)
        assert 0.9 <= ((low <= 0) & (high >= 0)).mean() <= 0.98


def test_variances_borrow_the_pooled_one():
    values, bounds = np.array([1.0, 3.0, 5.0, 5.0, 8.0, 2.0]), np.array([0, 2, 5, 6])
    pooled = (2.0 + 6.0) / (1 + 2)
    expected = [(4 * pooled + 2) / 5, (4 * pooled + 6) / 6, (4 * pooled + 0) / 4]
    np.testing.assert_allclose(resampling.class_variances(values, bounds), expected)
    assert np.isnan(resampling.class_variances(np.ones(2), np.array([0, 1, 2]))).all()


def test_between_variance_recovers_the_truth():
    rng = np.random.default_rng(0)
    errors = rng.uniform(0.1, 0.6, 4000)
    means = rng.normal(0, 0.5, 4000) + errors * rng.standard_normal(4000)
    assert resampling.between_variance(means, errors) == pytest.approx(0.25, rel=0.1)
    tau2 = resampling.between_variance(means, errors)
    assert np.sum(means**2 / (tau2 + errors**2)) == pytest.approx(4000)
    assert resampling.between_variance(0.1 * errors, errors) == 0.0


@given(
    st.lists(st.tuples(st.floats(-5, 5), st.floats(0.01, 3)), min_size=1, max_size=20),
    st.floats(0, 4),
)
def test_shrinkage_moves_towards_zero_by_at_most_one_error(pairs, tau2):
    means, errors = np.array(pairs).T
    found = resampling.shrink(means, errors, tau2)
    assert (np.abs(found) <= np.abs(means) + 1e-12).all()
    assert (found * means >= -1e-12).all()
    assert (np.abs(found - means) <= errors + 1e-12).all()
    plain = means * tau2 / (tau2 + errors**2)
    close = np.abs(means - plain) <= errors
    np.testing.assert_allclose(found[close], plain[close], atol=1e-12)


# -- false discoveries and the rest


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=30), st.sampled_from(["bh", "by"]))
@settings(max_examples=50)
def test_discovery_rates_follow_the_definition(p, method):
    p = np.array(p)
    m = len(p)
    factor = sum(1 / k for k in range(1, m + 1)) if method == "by" else 1.0
    rank = stats.rankdata(p, method="max")
    raw = factor * m * p / rank
    expected = np.minimum([raw[p >= value].min() for value in p], 1)
    found = resampling.discovery_rates(p, np.ones(m, dtype=bool), method)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_untested_classes_have_no_rate_and_do_not_count():
    p = np.array([0.01, 0.5, np.nan, 0.02])
    found = resampling.discovery_rates(p, np.array([True, False, True, True]), "bh")
    np.testing.assert_allclose(found, [0.02, np.nan, np.nan, 0.02])


def test_images_needed_make_the_interval_shorter_than_the_effect():
    (n,) = resampling.images_needed(np.array([1.3]), 5, -0.5, 0.05)
    assert 2 * 1.96 * np.sqrt(1.3 / n) <= 0.5 < 2 * 1.959 * np.sqrt(1.3 / (n - 1))
    assert resampling.images_needed(np.array([0.0]), 5, -0.5, 0.05).tolist() == [5]


def test_rank_correlation_equals_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 40).astype(float), rng.standard_normal(40)
    expected = stats.spearmanr(a, b).statistic
    assert resampling.rank_correlation(np.append(a, np.nan), np.append(b, 1)) == pytest.approx(expected)
    assert resampling.rank_correlation(np.ones(5), b[:5]) is None
    assert resampling.rank_correlation(a[:2], b[:2]) is None


@given(st.lists(st.lists(st.floats(-9, 9), min_size=1, max_size=14), min_size=1, max_size=4))
def test_the_lower_part_is_the_mean_of_the_lowest_quarter(classes):
    bounds = np.concatenate([[0], np.cumsum([len(one) for one in classes])])
    expected = []
    for one in classes:
        kept = max(1, round(len(one) / 4))
        highest = sorted(one, reverse=True)[: len(one) - kept]
        expected.append((sum(one) - sum(highest)) / kept)
    found = resampling.lower_parts(np.concatenate(classes), bounds)
    np.testing.assert_allclose(found, expected, atol=1e-9)
