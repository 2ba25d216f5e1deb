"""The best windows of a class pasted at other places, too: does what they carry hold anywhere?

Each of them onto one picture that it was not pasted onto before, at its own place and at others: the places
are compared on the same picture, and on another one than those for which the window was chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.measure.interventions.pictures import Scene
from pipeline.measure.transfer.gain import RELEVANT
from pipeline.measure.transfer.pairs import Paste

BEST = 6  # windows of a class, at most
FEWEST = 3  # windows of a class that carry it; of fewer nothing is asked
PLACES = 2  # other places
PASSES = BEST * (1 + 2 * (1 + PLACES))  # of a class, at most


@dataclass(frozen=True)
class Move:
    """Paste ``number`` of a block, onto ``recipient``; ``corners``: left and upper edges, its own place
    first."""

    number: int
    recipient: str
    corners: tuple[tuple[int, int], ...]


def moves(
    pastes: Sequence[Paste], gains: Sequence[float], scenes: Mapping[str, Scene], rng: np.random.Generator
) -> list[Move]:
    """What is asked: of each class the windows whose gain exceeds :data:`RELEVANT`, the best first.

    ``gains``: of the ``pastes``, log odds, mean over their recipients.
    """
    owner = {paste.spot.example_id: paste.spot.label for paste in pastes}
    order = [sorted(owner)[i] for i in rng.permutation(len(owner))]
    made, used = [], 0
    for label in dict.fromkeys(paste.spot.label for paste in pastes):
        carrying = [n for n, p in enumerate(pastes) if p.spot.label == label and gains[n] > RELEVANT]
        if len(carrying) < FEWEST:
            continue
        for number in sorted(carrying, key=lambda n: (-gains[n], n))[:BEST]:
            taken = {*pastes[number].recipients, pastes[number].other.example_id}
            fresh = [i for i in order if owner[i] != label and i not in taken]
            if fresh:
                recipient = fresh[used % len(fresh)]
                used += 1
                made.append(Move(number, recipient, _corners(pastes[number], scenes[recipient], rng)))
    return made


def _corners(paste: Paste, scene: Scene, rng: np.random.Generator) -> tuple[tuple[int, int], ...]:
    """Its own place, and random ones that do not touch it."""
    place, (height, width) = paste.spot.place, scene.picture.shape[:2]
    rows, columns = np.mgrid[: height - place.height + 1, : width - place.width + 1]
    apart = (np.abs(rows - place.y) >= place.height) | (np.abs(columns - place.x) >= place.width)
    free = np.argwhere(apart)
    chosen = free[rng.choice(len(free), min(PLACES, len(free)), replace=False)].tolist()
    return ((place.x, place.y), *((x, y) for y, x in chosen))


def paste_at(onto: np.ndarray, window: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
    """A copy of the picture ``onto`` with the ``window`` (h, w, 3) at ``corner``, left and upper edge."""
    made, (left, top) = onto.copy(), corner
    made[top : top + window.shape[0], left : left + window.shape[1]] = window
    return made
