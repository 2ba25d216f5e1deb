"""The background exchanged: one of the own class against one of another, cut by the same hole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.measure.interventions.kinds import FULL, Contrast, Intervention, Subject
from pipeline.measure.interventions.pictures import FILLS, Scene, fill, replace, widen
from pipeline.seeds import alike

MOST_HOLE = 0.9  # share of the picture that may be hole before nothing of a background is left
CANDIDATES = 12  # donors looked at for one whose object hides little more of the background
OWN_CANDIDATES = 4  # the same within the class: fewer, so that the pairs of an image differ


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
    hole = widen(scene.mask | same.mask | other.mask)
    if hole.mean() > MOST_HOLE:
        return None
    grounds = [
        replace(donor.picture, hole, fill(kind, donor.picture, hole, twin))
        for donor, twin in zip((same, other), alike(rng, 2), strict=True)
    ]
    with_object = [replace(g, scene.mask, scene.picture) for g in grounds]
    return Exchange(*grounds, *with_object)


def closest_mask(hole: np.ndarray, masks: Sequence[np.ndarray]) -> int:
    """Index of the mask that adds least to ``hole``."""
    return int(np.argmin([np.count_nonzero(m & ~hole) for m in masks]))


def edits(subject: Subject, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """``same:<pair>``, ``other:<pair>`` and both with the object put back, for every pair of backgrounds."""
    if not subject.own or not subject.others:
        return
    mask = subject.scene.mask
    for pair in range(subject.pairs):
        # donors are chosen among a few random ones, by their boxes alone: what hides least background
        same = _closest(subject.own, OWN_CANDIDATES, mask, rng)
        other = _closest(subject.others, CANDIDATES, mask | same.mask, rng)
        exchanged = exchange(subject.scene, same, other, FILLS[pair % len(FILLS)], rng)
        if exchanged is not None:
            for name, picture in vars(exchanged).items():
                yield f"{name}:{pair}", picture


def _closest(scenes: Sequence[Scene], several: int, hole: np.ndarray, rng: np.random.Generator) -> Scene:
    """Of ``several`` random scenes the one whose object adds least to the hole."""
    drawn = [scenes[i] for i in rng.integers(0, len(scenes), several)]
    return drawn[closest_mask(hole, [s.mask for s in drawn])]


INTERVENTION = Intervention(
    order=3,
    always=("same:0", "other:0", "same_object:0", "other_object:0"),
    edits=edits,
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
