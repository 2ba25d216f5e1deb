"""Every intervention: edits that its contrasts speak of, of the shape of the picture, drawn by seed."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.measure.interventions.kinds import FULL, Intervention, Subject, all_contrasts, all_interventions
from pipeline.measure.interventions.pictures import Scene


def scene(seed: int) -> Scene:
    rng = np.random.default_rng(seed)
    mask = np.zeros((24, 32), bool)
    top, left = rng.integers(0, 12, 2)
    mask[top : top + 8, left : left + 9] = True
    return Scene(rng.integers(0, 256, (24, 32, 3), np.uint8), mask)


SUBJECT = Subject(scene(0), [scene(i) for i in (1, 2)], [scene(i) for i in (3, 4, 5)], pairs=2)
ORDERS = [intervention.order for intervention in all_interventions()]


def made(intervention: Intervention, seed: int = 0) -> dict[str, np.ndarray]:
    return dict(intervention.edits(SUBJECT, np.random.default_rng(seed)))


@pytest.mark.parametrize("intervention", all_interventions(), ids=lambda i: str(i.order))
def test_edits_are_pictures_that_the_seed_decides(intervention: Intervention) -> None:
    first, again = made(intervention), made(intervention)
    assert first
    for name, picture in first.items():
        assert picture.shape == SUBJECT.scene.picture.shape
        assert picture.dtype == np.uint8
        assert (picture != SUBJECT.scene.picture).any()
        np.testing.assert_array_equal(picture, again[name])


@pytest.mark.parametrize("intervention", all_interventions(), ids=lambda i: str(i.order))
def test_contrasts_and_promises_speak_of_edits_that_are_made(intervention: Intervention) -> None:
    names = set(made(intervention))
    kinds = {name.partition(":")[0] for name in names} | {FULL}
    assert set(intervention.always) <= names
    assert set(intervention.single) <= kinds
    assert {kind for c in intervention.contrasts for kind in (c.of, c.less)} <= kinds


def test_every_contrast_has_its_own_name_and_what_decides_is_shown() -> None:
    every = [c for i in all_interventions() for c in i.contrasts]
    assert len(all_contrasts()) == len(every)
    assert all(c.heading and c.about for c in every if c.decides)
    assert sum(c.decides for c in every) >= 1
    assert len(set(ORDERS)) == len(ORDERS)


def test_the_two_exchanged_backgrounds_differ_outside_one_common_hole_only() -> None:
    exchange = next(i for i in all_interventions() if "same:0" in i.always)
    pictures = made(exchange)
    put_back = pictures["same_object:0"] != pictures["same:0"]
    assert not put_back[~SUBJECT.scene.mask].any()
    np.testing.assert_array_equal(
        pictures["same_object:0"][SUBJECT.scene.mask], SUBJECT.scene.picture[SUBJECT.scene.mask]
    )
