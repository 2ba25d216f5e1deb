"""Who gives the background to whom: every picture gives its own to one other, if it can be.

A mean over images has the error that its interval says only if no background decides for several of them.
Within that, donors are chosen by their boxes alone: such that the common hole stays small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from pipeline.measure.interventions.kinds import Donor, Subject
from pipeline.measure.interventions.pictures import Scene

CANDIDATES = 8  # pictures of other classes that are looked at, for every subject
_NEVER = 1e9  # cost of a picture as its own donor


@dataclass
class Donors:
    """The donors of one class.

    Attributes:
        own, foreign: the pictures of the class and of the others, by example id; more may come.
        pairs: exchanged backgrounds per picture.
        taken: foreign pictures that gave their background before.
    """

    own: Mapping[str, Scene]
    foreign: Mapping[str, Scene]
    pairs: int
    taken: set[str] = field(default_factory=set)

    def subjects(self, ids: Sequence[str], rng: np.random.Generator) -> list[Subject]:
        """The pictures ``ids`` of the class with their donors; with none where there are none to be had.

        A picture of the class gives its background to one of them. Several pairs have different foreign
        donors where there are enough for every picture to have its own, else the same one.
        """
        if not ids or len(self.own) < 2 or not self.foreign:
            return [Subject(self.own[k]) for k in ids]
        own = self._own_donors(ids)
        holes = np.maximum(_cells(self.own, ids), _cells(self.own, own))
        others: list[list[str]] = []
        for _ in range(self.pairs):
            untaken = len(self.foreign) - len(self.taken & self.foreign.keys())
            others.append(others[-1] if others and untaken < len(ids) else self._foreign_donors(holes, rng))
        return [
            Subject(
                self.own[k], Donor(donor, self.own[donor]), tuple(Donor(o, self.foreign[o]) for o in given)
            )
            for k, donor, given in zip(ids, own, zip(*others, strict=True), strict=True)
        ]

    def _own_donors(self, ids: Sequence[str]) -> list[str]:
        """A permutation of the pictures without a fixed point; for one alone, another of its class."""
        donors = list(ids) if len(ids) > 1 else [k for k in self.own if k != ids[0]]
        cost = _added(_cells(self.own, ids), _cells(self.own, donors))
        cost[np.array([[a == b for b in donors] for a in ids])] = _NEVER
        return [donors[i] for i in linear_sum_assignment(cost)[1]]

    def _foreign_donors(self, holes: np.ndarray, rng: np.random.Generator) -> list[str]:
        """One for each of the holes (n, c), of a few random ones that have not given theirs yet."""
        names = sorted(self.foreign)
        drawn = [names[i] for i in rng.permutation(len(names))]
        fresh = [name for name in drawn if name not in self.taken]
        candidates = (fresh if len(fresh) >= len(holes) else drawn)[: CANDIDATES * len(holes)]
        times = -(-len(holes) // len(candidates))
        cost = np.tile(_added(holes, _cells(self.foreign, candidates)), (1, times))
        # where there are too few, each is used as often as the others, up to one
        cost += _NEVER * np.repeat(np.arange(times), len(candidates))
        chosen = [candidates[i % len(candidates)] for i in linear_sum_assignment(cost)[1]]
        self.taken.update(chosen)
        return chosen


def _added(holes: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(n, m): by how much every box (m, c) makes every hole (n, c) larger."""
    return (1 - holes).astype(float) @ boxes.T


def _cells(scenes: Mapping[str, Scene], ids: Sequence[str]) -> np.ndarray:
    """(n, c) masks of the pictures ``ids``, coarse."""
    return np.stack([scenes[k].cells for k in ids])
