"""The background exchanged: one of the own class against one of another, cut by the same hole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.measure.interventions.kinds import FULL, Contrast, Donor, Edit, Intervention, Subject
from pipeline.measure.interventions.pictures import FILLS, RIM, WIDE_RIM, Scene, fill, replace, widen
from pipeline.seeds import alike

MOST_HOLE = 0.9  # share of the picture that may be hole before nothing of a background is left


@dataclass(frozen=True)
class Exchange:
    """The same hole in two backgrounds, of the object's own class and of another, with and without it.

    Attributes:
        same, other: hole filled, no object; same_object, other_object: the object put back into its place.
    """

    same: np.ndarray
    other: np.ndarray
    same_object: np.ndarray
    other_object: np.ndarray


def exchange(scene: Scene, same: Scene, other: Scene, kind: str, rng: np.random.Generator) -> Exchange | None:
    """Put the object of ``scene`` onto two backgrounds; None where too little of them is left.

    ``same``, ``other``: who gives them, a scene of the object's own class and one of another class.

    The hole is the union of all three objects' boxes, so both backgrounds are cut in the same way: neither
    the size nor the shape of a box can tell the class, and noise is the same in both.
    """
    cut = cut_backgrounds(scene, (same, other), kind, rng, RIM)
    if cut is None:
        return None
    with_object = [replace(ground, scene.mask, scene.picture) for ground in cut]
    return Exchange(*cut, *with_object)


def cut_backgrounds(
    scene: Scene, donors: Sequence[Scene], kind: str, rng: np.random.Generator, rim: float
) -> list[np.ndarray] | None:
    """The donors' pictures with one common hole, filled: all objects' boxes and a rim around them.

    None where too little is left.
    """
    hole = widen(np.logical_or.reduce([scene.mask, *(donor.mask for donor in donors)]), rim)
    if hole.mean() > MOST_HOLE:
        return None
    return [
        replace(donor.picture, hole, fill(kind, donor.picture, hole, twin))
        for donor, twin in zip(donors, alike(rng, len(donors)), strict=True)
    ]


def edits(subject: Subject, rng: np.random.Generator) -> Iterator[Edit]:
    """``same:<pair>``, ``other:<pair>`` and both with the object put back, for every pair of backgrounds;
    the first pair also with a wider hole, ``same_wide:0``, ``other_wide:0``."""
    own = subject.own
    if own is None:
        return
    for pair, other in enumerate(subject.others):
        kind = FILLS[pair % len(FILLS)]
        exchanged = exchange(subject.scene, own.scene, other.scene, kind, rng)
        if exchanged is None:
            continue
        for name, picture in vars(exchanged).items():
            donor = own if name.startswith("same") else other
            yield Edit(f"{name}:{pair}", picture, donor.example_id)
        if pair == 0:
            yield from _wide(subject.scene, own, other, rng)


def _wide(scene: Scene, own: Donor, other: Donor, rng: np.random.Generator) -> Iterator[Edit]:
    grounds = cut_backgrounds(scene, (own.scene, other.scene), FILLS[0], rng, WIDE_RIM)
    for name, donor, picture in zip(("same_wide", "other_wide"), (own, other), grounds or (), strict=False):
        yield Edit(f"{name}:0", picture, donor.example_id)


INTERVENTION = Intervention(
    order=3,
    edits=edits,
    count=lambda pairs: 4 * pairs + 2,
    contrasts=(
        Contrast(
            "sufficiency",
            "same",
            "other",
            "background alone",
            "probability that an own background adds without the object: above 0, it alone says the class",
            decides=True,
        ),
        Contrast(
            "necessity",
            "same_object",
            "other_object",
            "object alone",
            "probability lost when the object stands on another class's background instead of its own",
            decides=True,
        ),
        Contrast("drop_background", FULL, "other_object"),
        Contrast("wide_sufficiency", "same_wide", "other_wide"),
    ),
)
