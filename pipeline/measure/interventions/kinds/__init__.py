"""The interventions, one file each: drop a module in here that defines ``INTERVENTION``, and it is done.

An intervention is its edits of a picture, the contrasts between what the network says to them, and the words
for them. Tables, terminal and report show the contrasts of all.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from pipeline.measure.interventions.pictures import Scene

FULL = "full"  # the picture as it is, which the audit has already shown to the network


@dataclass(frozen=True)
class Donor:
    """A picture that gives its background: its example id and itself."""

    example_id: str
    scene: Scene


@dataclass(frozen=True)
class Subject:
    """A picture to edit, and who gives it another background.

    Attributes:
        own: of its class, another picture; None where there is none.
        others: of other classes, one for each pair of exchanged backgrounds; none where there is no own one.
    """

    scene: Scene
    own: Donor | None = None
    others: tuple[Donor, ...] = ()


@dataclass(frozen=True)
class Edit:
    """An edited picture (h w 3 uint8): ``kind`` or ``kind:variant``; ``donor``: whose background it has."""

    name: str
    picture: np.ndarray
    donor: str | None = None


@dataclass(frozen=True)
class Contrast:
    """An effect: the response to the edits ``of`` minus that to the edits ``less``, image by image.

    Attributes:
        heading, about: column of the report and what it is; not shown without.
        decides: whether a class depends on its background is told by it.
    """

    name: str
    of: str
    less: str
    heading: str = ""
    about: str = ""
    decides: bool = False


@dataclass(frozen=True)
class Intervention:
    """One way to edit a picture.

    Attributes:
        order: place among the others; they share the random numbers of an image in this order.
        edits: every edit that is possible.
        count: how many they are at most, for a number of pairs of exchanged backgrounds.
        contrasts: what is told from them.
    """

    order: int
    edits: Callable[[Subject, np.random.Generator], Iterator[Edit]]
    count: Callable[[int], int]
    contrasts: tuple[Contrast, ...]


@cache
def all_interventions() -> tuple[Intervention, ...]:
    """Every intervention, in order."""
    modules = (importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__))
    return tuple(sorted((m.INTERVENTION for m in modules), key=lambda i: i.order))


@cache
def all_contrasts() -> dict[str, Contrast]:
    """Every contrast by its name, in the order of the interventions."""
    return {contrast.name: contrast for i in all_interventions() for contrast in i.contrasts}
