"""A closer look at pasted windows: groups, what repeats, other places; independent right answers."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.feature import match_template

from pipeline.inputs.datasets.drawing import patch_mark, text_mark
from pipeline.measure.interventions.pictures import Scene
from pipeline.measure.transfer.closer import Heard
from pipeline.measure.transfer.groups import distances, group_windows
from pipeline.measure.transfer.moved import BEST, PASSES, PLACES, moves, paste_at
from pipeline.measure.transfer.pairs import Paste
from pipeline.measure.transfer.places import Place
from pipeline.measure.transfer.plan import Spot
from pipeline.measure.transfer.repeats import colours_of, correlation, repeated_part
from tests.measure_windows import noise, windows_with

# -- groups


def test_a_quarter_of_alike_windows_is_a_group_of_its_own() -> None:
    """Class 0: a quarter of the windows add the same to the features, the others something at random."""
    shares = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        seen, labels = rng.standard_normal((80, 24)), np.repeat(np.arange(4), 20)
        alike = rng.permutation(20)[:5]
        seen[alike] = 1.5 * rng.standard_normal(24) + 0.2 * rng.standard_normal((5, 24))
        groups = group_windows(seen, labels)
        (number,) = set(groups[alike])  # all of them are in one group
        shares.append((groups[labels == 0] == number).mean())
        assert (np.diff(np.bincount(groups[labels == 0])) <= 0).all()  # the largest comes first
    assert 0.25 <= np.mean(shares) <= 0.31


def test_groups_do_not_depend_on_the_order_nor_on_what_all_windows_share() -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat([4, 9], 12)
    seen = rng.standard_normal((24, 5)) + 2 * (np.arange(24) % 3 == 0)[:, None]
    groups = group_windows(seen, labels)
    order = rng.permutation(24)
    again = group_windows(3 * (seen + 17.0)[order], labels[order])
    for label in (4, 9):
        own, other = groups[labels == label], again[np.argsort(order)][labels == label]
        assert ((own[:, None] == own) == (other[:, None] == other)).all()


def test_single_windows_are_groups() -> None:
    assert group_windows(np.zeros((1, 3)), np.array([2])).tolist() == [0]
    # windows that add nothing to any feature are of no kind
    assert group_windows(np.ones((6, 3)), np.array([0, 0, 0, 1, 1, 1])).tolist() == [0, 1, 2] * 2
    apart = distances(np.array([[1.0, 0], [-1, 0], [0, 0]]))
    np.testing.assert_allclose(apart, [[0, 2, 1], [2, 0, 1], [1, 1, 0]])


# -- what repeats


@pytest.mark.parametrize(
    ("mark", "colours"),
    [
        (patch_mark(14), {(255, 220, 0), (30, 20, 60)}),
        (np.full((10, 20, 3), (20, 40, 230), np.uint8), {(20, 40, 230)}),
    ],
)
def test_a_mark_on_most_windows_is_found_to_the_pixel(
    mark: np.ndarray, colours: set[tuple[int, ...]]
) -> None:
    pictures, places, at = windows_with(mark[..., :3], 12, without=3, seed=1)
    repeat = repeated_part(pictures, places, 0)
    assert repeat is not None
    assert abs(repeat.width - mark.shape[1]) <= 2
    assert abs(repeat.height - mark.shape[0]) <= 2
    for found, (x, y) in zip(repeat.at[:9], at[:9], strict=True):
        assert found is not None
        assert abs(found[0] - x) <= 2
        assert abs(found[1] - y) <= 2
    assert repeat.at[9:] == (None,) * 3
    named = {(c.red, c.green, c.blue) for c in repeat.colours if c.share > 0.2}
    assert all(
        min(max(abs(a - b) for a, b in zip(c, true, strict=True)) for true in colours) < 30 for c in named
    )


def test_a_text_is_found_and_noise_is_not() -> None:
    pictures, places, _ = windows_with(text_mark(12)[..., :3], 8, without=0, seed=5)
    repeat = repeated_part(pictures, places, 2)
    assert repeat is not None
    assert (abs(repeat.width - 29) <= 4, abs(repeat.height - 12) <= 3) == (True, True)
    rng = np.random.default_rng(0)
    plain = [noise(rng, 64) for _ in range(8)]
    assert repeated_part(plain, places, 0) is None
    assert repeated_part(pictures[:2], places[:2], 0) is None  # two of a kind prove nothing


def test_colours_are_two_at_most() -> None:
    pixels = np.array([[200, 10, 10]] * 3 + [[10, 10, 200]], float)
    assert [(c.red, c.blue, c.share) for c in colours_of(pixels)] == [(200, 10, 0.75), (10, 200, 0.25)]
    assert [c.share for c in colours_of(pixels[:3])] == [1.0]


# -- other places


def block(n: int) -> tuple[list[Paste], dict[str, Scene]]:
    place = Place(3, 20, 8, 6, 0.5)
    spots = {f"{k}-{i}": Spot(f"{k}-{i}", i, k, place, True) for k in range(3) for i in range(n)}
    scenes = {i: Scene(np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32), bool)) for i in spots}
    return [
        Paste(spots[f"{k}-{i}"], spots[f"{(k + 1) % 3}-{i}"], True, (f"{(k + 2) % 3}-{i}",))
        for k in range(3)
        for i in range(n)
    ], scenes


def test_the_best_windows_are_asked_elsewhere_on_fresh_pictures() -> None:
    pastes, scenes = block(9)
    gains = [3.0 - 0.1 * i for i in range(9)] + [1.5, 1.5] + [0.0] * 7 + [2.0, 2.0, 2.0] + [0.0] * 6
    asked = moves(pastes, gains, scenes, np.random.default_rng(0))
    assert [m.number for m in asked] == [0, 1, 2, 3, 4, 5, 18, 19, 20]  # of class 1 too few carry it
    for move in asked:
        paste = pastes[move.number]
        assert move.recipient not in {*paste.recipients, paste.other.example_id, paste.spot.example_id}
        assert not move.recipient.startswith(f"{paste.spot.label}-")
        assert move.corners[0] == (3, 20)
        assert len(set(move.corners)) == 1 + PLACES
        for x, y in move.corners[1:]:
            assert abs(x - 3) >= 8 or abs(y - 20) >= 6
            assert 0 <= x <= 24
            assert 0 <= y <= 26
    assert BEST * (1 + 2 * (1 + PLACES)) == PASSES
    assert moves(pastes, gains, scenes, np.random.default_rng(0)) == asked


def test_a_window_is_pasted_at_its_corner_and_nowhere_else() -> None:
    onto, window = np.zeros((9, 8, 3), np.uint8), np.full((2, 3, 3), 7, np.uint8)
    made = paste_at(onto, window, (4, 6))
    assert (made[6:8, 4:7] == 7).all()
    assert made.sum() == 7 * 18
    assert not onto.any()


def test_what_else_a_window_raises() -> None:
    before, own = np.array([[0.5, 0.3, 0.2]] * 2), np.array([[0.8, 0.1, 0.1], [0.3, 0.1, 0.6]])
    heard = Heard(before, own, before, np.zeros(2))
    label, added = heard.also(0)
    assert (label, round(added, 6)) == (2, 0.15)
    assert heard.also(2)[0] == 0


def test_a_template_is_laid_over_a_picture_as_scikit_image_lays_it() -> None:
    rng = np.random.default_rng(0)
    area = rng.integers(0, 256, (40, 33, 3)).astype(float)
    template = area[11:21, 5:17] + rng.normal(scale=5, size=(10, 12, 3))
    fit = correlation(area, template)
    assert np.unravel_index(fit.argmax(), fit.shape) == (11, 5)
    np.testing.assert_allclose(fit, match_template(area, template)[:, :, 0], atol=1e-12)
    even = np.full((8, 9, 3), 7.0)
    assert not correlation(even, template[:4, :4]).any()
    assert not correlation(area, even).any()
