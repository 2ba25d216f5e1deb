"""The interventions, one file each: drop a module in here that defines ``INTERVENTION``, and it is done.

An intervention is its edits of a picture, the contrasts between what the network says to them, and the words
for them. Tables, terminal and report show the contrasts of all.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from pipeline.measure.interventions.pictures import Scene

FULL = "full"  # the picture as it is


@dataclass(frozen=True)
class Subject:
    """A picture to edit, and who can give it another background.

    Attributes:
        own, others: the other scenes of its class, and those of other classes.
        pairs: backgrounds per picture.
    """

    scene: Scene
    own: Sequence[Scene]
    others: Sequence[Scene]
    pairs: int


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
        always: names of edits that every class has, undefined where one was not possible for any image.
        edits: (name, picture h w 3) of every edit that is possible, ``kind`` or ``kind:variant``.
        contrasts: what is told from them.
        single: kinds whose every variant is an effect of its own, ``drop_kind:variant``.
    """

    order: int
    always: tuple[str, ...]
    edits: Callable[[Subject, np.random.Generator], Iterator[tuple[str, np.ndarray]]]
    contrasts: tuple[Contrast, ...]
    single: tuple[str, ...] = ()


@cache
def all_interventions() -> tuple[Intervention, ...]:
    """Every intervention, in order."""
    modules = (importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__))
    return tuple(sorted((m.INTERVENTION for m in modules), key=lambda i: i.order))


@cache
def all_contrasts() -> dict[str, Contrast]:
    """Every contrast by its name, in the order of the interventions."""
    return {contrast.name: contrast for i in all_interventions() for contrast in i.contrasts}
