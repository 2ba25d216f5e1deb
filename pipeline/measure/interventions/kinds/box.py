"""The object's box filled, its surroundings kept; and as large a box beside it, as a control."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.measure.interventions.kinds import FULL, Contrast, Intervention, Subject
from pipeline.measure.interventions.pictures import FILLS, Scene, fill, replace, widen, window_sums

MOST_OVERLAP = 0.25  # share of a control box that may lie on the object
ASPECTS = (1.0, 0.5, 2.0, 0.25, 4.0)  # tried for a control box when the object's own shape finds no room


def without_object(scene: Scene, kind: str, rng: np.random.Generator) -> np.ndarray:
    """The box removed, the background kept."""
    hole = widen(scene.mask)
    return replace(scene.picture, hole, fill(kind, scene.picture, hole, rng))


def control_box(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Mask of a random rectangle as large as the object and off it; None where there is no room.

    The object's own bounding box is moved if it finds room, else rectangles of other shapes are tried; at
    most a quarter of it may overlap the object, and a place without overlap is preferred.
    """
    area = int(mask.sum())
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows) or area >= height * width / 2 * (1 + MOST_OVERLAP):
        return None
    box = (rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
    aspect = box[0] / box[1]
    for factor in ASPECTS:
        h = min(height, max(1, round((area * aspect * factor) ** 0.5)))
        w = min(width, max(1, round(area / h)))
        overlap = window_sums(mask, h, w)
        if overlap.min() <= MOST_OVERLAP * h * w:
            places = np.argwhere(overlap == overlap.min())
            top, left = places[rng.integers(len(places))]
            control = np.zeros_like(mask)
            control[top : top + h, left : left + w] = True
            return control
    return None


def edits(subject: Subject, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """``removed:<fill>`` and, where there is room beside the object, ``control:<fill>``."""
    scene = subject.scene
    control = control_box(scene.mask, rng)
    for kind in FILLS:
        yield f"removed:{kind}", without_object(scene, kind, rng)
        if control is not None:
            filled = fill(kind, scene.picture, control, rng)
            yield f"control:{kind}", replace(scene.picture, control, filled)


INTERVENTION = Intervention(
    order=1,
    always=("removed:mean", "control:mean"),
    edits=edits,
    contrasts=(
        Contrast(
            "drop_removed",
            FULL,
            "removed",
            "box removed",
            "drop of the probability when the box is filled",
        ),
        Contrast(
            "drop_control",
            FULL,
            "control",
            "as much beside",
            "drop when an equally large box beside the object is filled: the control",
        ),
        Contrast("object_over_control", "control", "removed"),
    ),
    single=("removed", "control"),
)
