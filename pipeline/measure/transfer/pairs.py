"""Onto which pictures every window is pasted, and whose window of another class is its control."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.measure.interventions.pictures import Scene
from pipeline.measure.transfer.plan import Spot, pool_size

DRAWN = 12  # pictures of other classes among which a control is chosen


@dataclass(frozen=True)
class Paste:
    """A window, the picture of another class whose window at the same place is its control, and the pictures
    of other classes that both are pasted onto. ``free``: the control's place is clear of its object."""

    spot: Spot
    other: Spot
    free: bool
    recipients: tuple[str, ...]


def pair(
    spots: Mapping[int, Sequence[Spot]],
    scenes: Mapping[str, Scene],
    recipients: int,
    rng: np.random.Generator,
) -> list[Paste]:
    """The pastes of a block: label -> windows of its classes, with their pictures by example id.

    A class's windows get different recipients, as far as the block has them: what they show is then
    independent. Every picture is the control of about as many windows as any other.
    """
    n = max((len(of_one) for of_one in spots.values()), default=0)
    lent = pool_size(n, recipients, sum(bool(of_one) for of_one in spots.values()))
    pool = {label: [spot.example_id for spot in of_one[:lent]] for label, of_one in spots.items()}
    used: Counter[str] = Counter()
    pastes = []
    for label, of_class in spots.items():
        onto = [i for other, ids in pool.items() if other != label for i in ids]
        order = [onto[i] for i in rng.permutation(len(onto))]
        others = [spot for other, of_one in spots.items() if other != label for spot in of_one]
        for k, spot in enumerate(of_class):
            given = tuple(
                dict.fromkeys(order[(k * recipients + t) % len(order)] for t in range(recipients) if order)
            )
            drawn = [others[i] for i in rng.permutation(len(others))[:DRAWN]]
            drawn = [other for other in drawn if other.example_id not in given] or drawn
            if given and drawn:
                other = min(drawn, key=lambda o: (not _free(spot, o, scenes), used[o.example_id]))
                used[other.example_id] += 1
                pastes.append(Paste(spot, other, _free(spot, other, scenes), given))
    return pastes


def _free(spot: Spot, other: Spot, scenes: Mapping[str, Scene]) -> bool:
    """Whether the place of ``spot`` touches no box of the picture of ``other``."""
    return not scenes[other.example_id].mask[spot.place.slices].any()
