"""The object's box filled, its surroundings kept."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.measure.interventions.kinds import FULL, Contrast, Edit, Intervention, Subject
from pipeline.measure.interventions.pictures import Scene, fill, replace, widen

FILL = "mean"


def without_object(scene: Scene, kind: str, rng: np.random.Generator) -> np.ndarray:
    """The box removed, the background kept."""
    hole = widen(scene.mask)
    return replace(scene.picture, hole, fill(kind, scene.picture, hole, rng))


def edits(subject: Subject, rng: np.random.Generator) -> Iterator[Edit]:
    """``removed:mean``."""
    yield Edit(f"removed:{FILL}", without_object(subject.scene, FILL, rng))


INTERVENTION = Intervention(
    order=1,
    edits=edits,
    count=lambda pairs: 1,
    contrasts=(
        Contrast(
            "drop_removed",
            FULL,
            "removed",
            "box removed",
            "drop of the probability when the box is filled",
        ),
    ),
)
