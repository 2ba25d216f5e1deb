"""The relative test against enumeration and brute-force permutation, and its error rate without effect."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from pipeline.config import RankingConfig
from pipeline.statistics.adjust import adjust
from pipeline.statistics.class_evidence import estimate, relative
from pipeline.statistics.permutation import Atoms, area_strata, plausible, relative_p, tail_probability
from pipeline.statistics.resampling import discovery_rates
from tests.pipeline.statistics.test_resampling import table


def test_strata_are_balanced_ordered_and_keep_ties_together():
    rng = np.random.default_rng(0)
    area = rng.random(2000)
    strata = area_strata(area)
    assert np.bincount(strata).tolist() == [100] * 20
    assert (np.diff(strata[np.argsort(area)]) >= 0).all()
    assert area_strata(np.full(500, 0.25)).max() == 0
    tied = np.repeat([0.1, 0.2, 0.3], 100)
    assert all(len(set(area_strata(tied)[tied == a])) == 1 for a in (0.1, 0.2, 0.3))


def exact_tail(values, counts, total):
    """P(sum <= total) by enumeration of every choice of images in every stratum."""
    sums = np.zeros(1)
    for v, m in zip(values, counts, strict=True):
        own = np.array([v[list(c)].sum() for c in combinations(range(len(v)), m)])
        sums = (sums[:, None] + own).ravel()
    return (sums <= total + 1e-9).mean(), sums


@pytest.mark.parametrize("kind", ["normal", "heavy", "left", "right"])
@pytest.mark.parametrize("counts", [[5], [3, 2], [1, 2, 1, 1]])
def test_tail_equals_enumeration(kind, counts):
    rng = np.random.default_rng(len(counts))
    size = {1: 24, 2: 16, 4: 10}[len(counts)]
    draw = {
        "normal": rng.standard_normal,
        "heavy": lambda n: rng.standard_t(3, n),
        "left": lambda n: -rng.gamma(1, size=n),
        "right": lambda n: rng.gamma(1, size=n),
    }[kind]
    values = [draw(size) for _ in counts]
    values = [v - v.mean() for v in values]
    _, sums = exact_tail(values, counts, 0.0)
    atoms = [Atoms.of(v) for v in values]
    for share in (0.01, 0.002):
        total = float(np.quantile(sums, share))
        exact, _ = exact_tail(values, counts, total)
        found = tail_probability(total, np.array(counts), atoms)
        # one extreme image makes a step, which a smooth tail passes on the safe side
        assert 0.8 * exact <= found <= (2.5 if kind == "heavy" else 1.2) * exact


def test_tail_of_many_images_uses_binned_atoms():
    rng = np.random.default_rng(1)
    v = rng.standard_normal(5000)
    v -= v.mean()
    binned, single = Atoms.of(v), Atoms(np.sort(v), np.ones(5000), 5000)
    assert len(binned.values) == 384
    assert binned.times.sum() == 5000
    sums = np.array([v[rng.integers(0, 5000, (5000, 8))].sum(axis=1) for _ in range(40)]).ravel()
    total = float(np.quantile(sums, 0.002))
    found = tail_probability(total, np.array([8]), [binned])
    assert found == pytest.approx(0.002, rel=0.15)
    assert found == pytest.approx(tail_probability(total, np.array([8]), [single]), rel=0.01)


def test_tail_is_nan_where_counting_is_right_and_never_impossible():
    v = np.arange(10.0) - 4.5
    atoms = [Atoms.of(v)]
    assert np.isnan(tail_probability(0.0, np.array([3]), atoms))
    assert np.isnan(tail_probability(-99.0, np.array([3]), atoms))
    assert np.isnan(tail_probability(-1.0, np.array([10]), atoms))
    lowest = tail_probability(float(v[:3].sum()) + 0.2, np.array([3]), atoms)
    assert np.isnan(lowest) or lowest >= 1 / 120 - 1e-12  # 10 choose 3


def test_p_of_two_small_classes_equals_enumeration():
    rng = np.random.default_rng(4)
    v = rng.standard_normal(10)
    total = v[:4].sum()
    exact = np.mean([v[list(c)].sum() <= total + 1e-9 for c in combinations(range(10), 4)])
    found = relative_p(v, np.array([0, 4, 10]), np.zeros(10, dtype=np.int64), 20_000, seed=0)
    assert found[0] == pytest.approx(exact, abs=0.015)
    assert found[0] + found[1] == pytest.approx(1.0, abs=0.015)  # low for one is high for the other


def test_p_equals_brute_force_permutation_within_strata():
    lift, area, distance, bounds = table(6, [4, 9, 30, 12, 7, 60], 2, {1: -0.6})
    residual = adjust(lift, area, distance, bounds).pooled
    strata = area_strata(area)
    assert strata.max() > 0
    label = np.repeat(np.arange(6), np.diff(bounds))
    centred = residual - np.array([residual[strata == s].mean() for s in strata])
    observed = np.array([centred[label == c].sum() for c in range(6)])
    rng = np.random.default_rng(9)
    below = np.zeros(6)
    for _ in range(3000):
        shuffled = centred.copy()
        for s in range(strata.max() + 1):
            rows = np.flatnonzero(strata == s)
            shuffled[rows] = centred[rng.permutation(rows)]
        below += np.array([shuffled[label == c].sum() for c in range(6)]) <= observed + 1e-9
    found = relative_p(residual, bounds, strata, 3000, seed=0)
    np.testing.assert_allclose(found, below / 3000, atol=0.035)


def test_p_is_reproducible_and_does_not_care_for_a_shift():
    lift, area, distance, bounds = table(8, 25, 0)
    residual = adjust(lift, area, distance, bounds).pooled
    strata = area_strata(area)
    first = relative_p(residual, bounds, strata, 500, seed=3)
    np.testing.assert_array_equal(first, relative_p(residual, bounds, strata, 500, seed=3))
    np.testing.assert_allclose(first, relative_p(residual + 7, bounds, strata, 500, seed=3), rtol=1e-6)
    assert (first != relative_p(residual, bounds, strata, 500, seed=4)).any()


def test_a_class_alone_in_its_stratum_cannot_be_compared():
    values, bounds = np.array([-5.0, -6, -4, 1, 2, 3]), np.array([0, 3, 6])
    assert relative_p(values, bounds, np.array([0, 0, 0, 1, 1, 1]), 200, seed=0).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("count", [0, 1, 7, 19])
def test_what_the_draws_rule_out_is_not_believed(count):
    exact = stats.binomtest(count, 2000).proportion_ci(0.99, "exact")
    np.testing.assert_allclose(plausible(count, 2000), (exact.low, exact.high), atol=1e-12)


def suspicious(seed, n_classes, per_class, effect=None):
    lift, area, distance, bounds = table(n_classes, per_class, seed, effect)
    config = RankingConfig(draws=400, seed=seed)
    adjusted = adjust(lift, area, distance, bounds)
    high = estimate(adjusted, bounds, config)["high"]
    p = relative(adjusted, area, bounds, high, config)
    q = discovery_rates(p, np.ones(n_classes, dtype=bool), "bh")
    return p, (q <= 0.05) & (high < 0), q <= 0.05


@pytest.mark.parametrize(("n_classes", "per_class", "runs"), [(10, 5, 100), (50, 10, 40), (200, 5, 15)])
def test_without_an_effect_false_alarms_keep_their_rate(n_classes, per_class, runs):
    found = [suspicious(seed, n_classes, per_class) for seed in range(runs)]
    p = np.concatenate([f[0] for f in found])
    alarms = np.mean([f[2].any() for f in found])
    assert alarms <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    for level in (0.5, 0.1, 0.01):
        # the p of one run sum to a constant: less than binomial spread
        assert (p <= level).mean() == pytest.approx(level, abs=4 * np.sqrt(level / len(p)))


def test_classes_with_an_effect_do_not_hide_one_another():
    effect = {0: -1.5, 1: -1.5, 2: -1.5}
    found = np.mean([suspicious(seed, 12, 25, effect)[1] for seed in range(15)], axis=0)
    assert found[:3].min() >= 0.9
    assert found[3:].max() <= 0.2
    assert found[3:].mean() <= 0.03
