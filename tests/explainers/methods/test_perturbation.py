"""Occlusion, RISE, LIME, Kernel SHAP and prediction differences against closed forms and others' code."""

from __future__ import annotations

from itertools import combinations
from math import comb, factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.metrics import pairwise_distances

from explainers import create_analyzer
from explainers.errors import ExplainError, InvalidInput, InvalidParameter
from explainers.methods.lime import neighbours, proximity, segment_means, weighted_ridge
from explainers.methods.prediction_difference import log_odds, probabilities
from explainers.methods.rise import draw_masks
from explainers.methods.shap import coalitions, shapley
from explainers.progress import listen
from explainers.sampling.conditional import Conditional
from explainers.sampling.segments import grid, quickshift
from explainers.sampling.windows import corners, paint
from tests.explainers.methods import small

SHAPE = (6, 8, 2)


def drawn(k: int = 3, shape: tuple[int, ...] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).normal(size=(*shape, k)), small.images(2, shape)


# windows


@given(st.integers(4, 9), st.integers(4, 9), st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_paint_is_the_mean_over_the_windows_of_a_pixel(
    h: int, w: int, size: int, stride: int, partial: bool
) -> None:
    where = corners((h, w), (size, size), stride, partial)
    values = np.random.default_rng(0).normal(size=(2, len(where)))
    total, count = np.zeros((2, h, w)), np.zeros((h, w))
    for i, (top, left) in enumerate(where):
        total[:, top : top + size, left : left + size] += values[:, i, None, None]
        count[top : top + size, left : left + size] += 1
    np.testing.assert_allclose(
        paint(values, where, (size, size), (h, w)), total / np.maximum(count, 1), atol=1e-9
    )
    if not partial:
        assert (where[:, 0] + size).max() == h


# occlusion


@pytest.mark.parametrize("value", [0.0, (0.5, -1.0)])
def test_occlusion_of_a_linear_model_is_the_weighted_difference_of_the_patch(value) -> None:
    weights, x = drawn()
    explained = (
        create_analyzer("occlusion", size=3, value=value, batch_size=4)
        .fit(small.linear(weights))
        .analyze(x, 2)
    )
    per_pixel = ((x - np.asarray(value)) * weights[..., 2]).sum(-1)
    for top in (0, 3):
        for left in (0, 3, 6):  # the last column of patches is 2 pixels wide
            patch = np.s_[:, top : top + 3, left : left + 3]
            expected = per_pixel[patch].sum((1, 2))
            np.testing.assert_allclose(
                explained.relevance.sum(-1)[patch],
                expected[:, None, None] * np.ones((1, 3, min(3, 8 - left))),
            )


def test_occlusion_patch_larger_than_the_image_is_refused() -> None:
    with pytest.raises(InvalidInput, match="shorter side, 6"):
        create_analyzer("occlusion", size=7).fit(small.linear(drawn()[0]))
    with pytest.raises(InvalidParameter, match="size: received 0"):
        create_analyzer("occlusion", size=0)


def test_progress_counts_every_evaluation_once() -> None:
    weights, x = drawn()
    seen: list[tuple[str, int, int]] = []
    fitted = create_analyzer("occlusion", size=2, batch_size=5).fit(small.linear(weights))
    with listen(lambda *report: seen.append(report)):
        fitted.analyze(x)
    assert [one[0] for one in seen] == ["occlusion"] * len(seen)
    assert [one[1] for one in seen] == [5, 10, 15, 20, 24]
    assert {one[2] for one in seen} == {2 * 12}


# RISE


def test_rise_of_a_linear_model_is_its_weights_seen_through_the_masks() -> None:
    weights, x = drawn()
    fitted = create_analyzer("rise", samples=40, grid=3, probability=0.4, seed=2).fit(small.linear(weights))
    relevance = fitted.analyze(x, 0).relevance.sum(-1)
    masks = draw_masks(40, 3, 0.4, SHAPE[:2], 2)
    rows, cells, columns = masks.factors(SHAPE[:2], np.arange(40))
    pictures = np.einsum("nhg,ngk,nwk->nhw", rows, cells, columns)
    contribution = (x * weights[..., 0]).sum(-1)
    gram = np.einsum("nhw,nyx->hwyx", pictures, pictures) / (40 * 0.4)
    np.testing.assert_allclose(relevance, np.einsum("hwyx,byx->bhw", gram, contribution), rtol=1e-5)


def test_rise_masks_are_the_papers() -> None:
    """Bilinear enlargement (order 1) to grid + 1 cells and a crop, as in the authors' code."""
    from skimage.transform import resize

    masks = draw_masks(5, 4, 0.5, (16, 24), 0)
    rows, cells, columns = masks.factors((16, 24), np.arange(5))
    for i in range(5):
        large = resize(cells[i], (5 * 4, 5 * 6), order=1, mode="edge", anti_aliasing=False)
        top, left = masks.shifts[i]
        np.testing.assert_allclose(
            rows[i] @ cells[i] @ columns[i].T, large[top : top + 16, left : left + 24], atol=1e-6
        )
    assert (masks.shifts[:, 0] < 4).all()
    assert (masks.shifts[:, 1] < 6).all()


def test_rise_weighs_by_the_papers_normalisation() -> None:
    """A model that is constant: the map is the constant times the mean mask over p."""
    model = small.linear(np.zeros((*SHAPE, 2)), bias=[3.0, 1.0])
    relevance = (
        create_analyzer("rise", samples=3000, grid=3).fit(model).analyze(small.images(1, SHAPE)).relevance
    )
    np.testing.assert_allclose(relevance.sum(-1), 3.0, atol=0.25)


# LIME


def test_proximity_is_limes() -> None:
    z = neighbours(7, 20, 0)
    distance = pairwise_distances(z, z[:1], metric="cosine").ravel()
    np.testing.assert_allclose(proximity(z, 0.25), np.sqrt(np.exp(-(distance**2) / 0.25**2)), rtol=1e-9)
    assert (z[0] == 1).all()
    assert 0.3 < z[1:].mean() < 0.7


@pytest.mark.parametrize("alpha", [0.0, 1.0, 30.0])
def test_weighted_ridge_is_scikit_learns(alpha: float) -> None:
    rng = np.random.default_rng(0)
    z, y, weights = rng.integers(0, 2, (30, 6)).astype(float), rng.normal(size=30), rng.random(30)
    coefficients, intercept = weighted_ridge(z, y, weights, alpha)
    theirs = Ridge(alpha=alpha or 1e-12).fit(z, y, sample_weight=weights)
    np.testing.assert_allclose(coefficients, theirs.coef_, rtol=1e-6, atol=1e-9)
    assert intercept == pytest.approx(theirs.intercept_, rel=1e-6)


def test_lime_without_shrinkage_is_exact_on_a_linear_model() -> None:
    weights, x = drawn()
    params = {"segmentation": "grid", "size": 2, "samples": 60, "alpha": 0, "value": (0.2, 0.1)}
    explained = create_analyzer("lime", **params).fit(small.linear(weights)).analyze(x, 1)
    gain = ((x - [0.2, 0.1]) * weights[..., 1]).sum(-1)
    labels = grid(SHAPE, 2)
    for segment in range(labels.max() + 1):
        expected = gain[:, labels == segment].sum(1)
        np.testing.assert_allclose(
            explained.relevance.sum(-1)[:, labels == segment].T, [expected] * 4, rtol=1e-7
        )


def test_segments_switched_off_show_their_mean_colour() -> None:
    image = small.images(1, (4, 4, 3))[0]
    labels = grid(image.shape, 2)
    means = segment_means(image, labels)
    np.testing.assert_allclose(means[:2, 2:], np.broadcast_to(image[:2, 2:].mean((0, 1)), (2, 2, 3)))


def test_quickshift_finds_the_two_halves_and_survives_a_blank_image() -> None:
    image = np.zeros((16, 16, 3))
    image[:, 8:] = 1
    labels = quickshift(image, 2, 10, 1.0)
    assert labels.max() >= 1
    assert not set(labels[:, :8].ravel()) & set(labels[:, 8:].ravel())
    assert quickshift(np.full((8, 8, 3), 2.0), 4, 200, 0.2).max() == 0


# Kernel SHAP


def brute_force(value, players: int) -> np.ndarray:
    """Shapley's own formula."""
    result = np.zeros(players)
    for i in range(players):
        others = [p for p in range(players) if p != i]
        for size in range(players):
            weight = factorial(size) * factorial(players - size - 1) / factorial(players)
            for team in combinations(others, size):
                result[i] += weight * (value({*team, i}) - value(set(team)))
    return result


def test_all_coalitions_give_shapley_values_of_any_game() -> None:
    rng = np.random.default_rng(1)
    table = {frozenset(team): rng.normal() for size in range(6) for team in combinations(range(5), size)}
    z, weights = coalitions(5, 30, 0)
    assert len(z) == 2**5 - 2
    y = np.array([table[frozenset(np.flatnonzero(row))] for row in z])
    values = shapley(z, weights, y, table[frozenset()], table[frozenset(range(5))])
    np.testing.assert_allclose(values, brute_force(lambda team: table[frozenset(team)], 5), rtol=1e-9)


@given(st.integers(2, 12), st.integers(2, 80))
def test_sampled_coalitions_keep_to_the_budget_and_to_the_kernels_total_weight(
    players: int, samples: int
) -> None:
    z, weights = coalitions(players, samples, 0)
    assert len(z) <= samples
    if len(z) == 0:
        return
    assert ((z.sum(1) > 0) & (z.sum(1) < players)).all()
    kernel = sum((players - 1) / (k * (players - k)) for k in range(1, players))
    if samples >= 2 * players + 2 or len(z) == 2**players - 2:
        assert weights.sum() == pytest.approx(kernel)
    assert sorted(map(tuple, z)) == sorted(map(tuple, 1 - z))  # every coalition beside its complement


def test_weights_are_the_shapley_kernel() -> None:
    z, weights = coalitions(6, 100, 0)
    size = z.sum(1).astype(int)
    expected = [5 / (comb(6, k) * k * (6 - k)) for k in size]
    np.testing.assert_allclose(weights, expected)


@pytest.mark.parametrize("samples", [20, 5000])
def test_kernel_shap_on_a_model_sums_to_the_difference(samples: int) -> None:
    model, x = small.convolutional("float64"), small.images(2, (12, 10, 3))
    data = small.images(3, (12, 10, 3), seed=9)
    fitted = create_analyzer("kernel_shap", size=4, samples=samples, references=3).fit(model, data)
    explained = fitted.analyze(x, 1)
    labels = grid(x.shape[1:], 4)
    each = [explained.relevance.sum(-1)[:, labels == s][:, 0] for s in range(labels.max() + 1)]
    logits = fitted.network.logits((np.concatenate([x, data]),))[:, 1]
    np.testing.assert_allclose(np.sum(each, axis=0), logits[:2] - logits[2:].mean(), rtol=1e-6)


def test_kernel_shap_is_exact_on_a_linear_model_even_when_sampled() -> None:
    weights, x = drawn()
    explained = create_analyzer("kernel_shap", size=2, samples=80).fit(small.linear(weights)).analyze(x, 0)
    labels = grid(SHAPE, 2)
    gain = (x * weights[..., 0]).sum(-1)
    for segment in range(labels.max() + 1):
        where = labels == segment
        np.testing.assert_allclose(
            explained.relevance.sum(-1)[:, where].T, [gain[:, where].sum(1)] * 4, rtol=1e-6
        )


# prediction difference


def test_conditional_of_a_normal_distribution() -> None:
    """Against the textbook formula with an explicit inverse: a 3 x 3 patch, a window of 1 x 1."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(9, 9))
    covariance, mean = root @ root.T, rng.normal(size=9)
    conditional = Conditional(mean, covariance, (3, 3, 1), 1)
    image = rng.normal(size=(3, 3, 1))
    ring = [0, 1, 2, 3, 5, 6, 7, 8]
    inverse = np.linalg.inv(covariance[np.ix_(ring, ring)])
    cross = covariance[4, ring]
    expected = mean[4] + cross @ inverse @ (image.reshape(-1)[ring] - mean[ring])
    assert conditional.draw(image, (1, 1), np.zeros(1)).item() == pytest.approx(expected, rel=1e-3)
    spread = conditional.draw(image, (1, 1), np.ones(1)).item() - expected
    assert spread**2 == pytest.approx(covariance[4, 4] - cross @ inverse @ cross, rel=2e-2)


def test_a_window_at_the_edge_has_its_ring_inside() -> None:
    conditional = Conditional(np.zeros(36), np.eye(36), (6, 6, 1), 2)
    for corner in ((0, 0), (6, 6), (0, 3), (3, 3)):
        assert conditional.draw(np.zeros((8, 8, 1)), corner, np.zeros(4)).shape == (2, 2, 1)
    assert set(conditional._given) == {(0, 0), (4, 4), (0, 2), (2, 2)}


def test_a_determined_patch_carries_no_information_and_an_independent_one_does() -> None:
    """Channel-wise constant images: a window follows from its ring, so removing it changes nothing."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(8, 8, 1, 2))
    model = small.linear(weights)
    x = np.full((1, 8, 8, 1), 0.7)
    params = {"size": 2, "padding": 1, "samples": 6, "patches": 3000}
    constant = np.broadcast_to(rng.normal(size=(200, 1, 1, 1)), (200, 8, 8, 1))
    known = create_analyzer("prediction_difference", **params).fit(model, constant).analyze(x, 0)
    independent = rng.normal(size=(200, 8, 8, 1))
    unknown = create_analyzer("prediction_difference", **params).fit(model, independent).analyze(x, 0)
    assert np.abs(known.relevance).max() < 0.05 * np.abs(unknown.relevance).max()


def test_independent_pixels_give_the_expected_difference_of_a_linear_score() -> None:
    weights = np.random.default_rng(3).normal(size=(6, 6, 1, 2))
    data = np.random.default_rng(1).normal(size=(2000, 6, 6, 1))
    x = small.images(1, (6, 6, 1))
    fitted = create_analyzer("prediction_difference", size=2, padding=0, samples=400, patches=20000).fit(
        small.linear(weights), data
    )
    explained = fitted.analyze(x, target=lambda output: output[:, 0])
    gain = (x * weights[..., 0])[0, ..., 0]  # minus the mean of the data, which is 0
    labels = grid((6, 6), 2)
    expected = np.array([gain[labels == s].sum() for s in range(9)])
    got = np.array([explained.relevance[0, ..., 0][labels == s].mean() for s in range(9)])
    np.testing.assert_allclose(got, expected, atol=5 * np.abs(weights).max() * 2 / 20)


def test_probabilities_and_odds() -> None:
    np.testing.assert_allclose(probabilities(np.array([[0.0, np.log(3)]]), "softmax"), [[0.25, 0.75]])
    np.testing.assert_allclose(probabilities(np.array([[0.0, np.log(3)]]), "sigmoid"), [[0.5, 0.75]])
    assert log_odds(np.array(0.8), 10**9, 2) == pytest.approx(2, rel=1e-6)
    assert np.isfinite(log_odds(np.array([0.0, 1.0]), 100, 1000)).all()


def test_windows_with_their_ring_must_fit() -> None:
    with pytest.raises(InvalidInput, match="shorter side"):
        create_analyzer("prediction_difference", size=6, padding=2).fit(
            small.linear(np.ones((8, 8, 1, 2))), small.images(3, (8, 8, 1))
        )


@pytest.mark.parametrize(
    ("method", "params", "names"),
    [
        ("rise", {"probability": 0}, "probability"),
        ("rise", {"grid": 0}, "grid"),
        ("lime", {"samples": 1}, "2 or more"),
        ("lime", {"segmentation": "slic"}, "quickshift, grid"),
        ("lime", {"value": "black"}, "'mean'"),
        ("lime", {"width": 0}, "width"),
        ("kernel_shap", {"references": 0}, "references"),
        ("prediction_difference", {"stride": 9, "size": 8}, "stride"),
    ],
)
def test_impossible_parameters_are_refused(method: str, params: dict, names: str) -> None:
    with pytest.raises(InvalidParameter, match=names):
        create_analyzer(method, **params)


@pytest.mark.parametrize("method", ["prediction_difference", "deep_shap", "gradient_shap", "pattern_net"])
def test_methods_that_estimate_ask_for_data(method: str) -> None:
    with pytest.raises(ExplainError, match=r"fit\(model, data\)"):
        create_analyzer(method).fit(small.convolutional())
