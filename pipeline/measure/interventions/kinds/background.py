"""The object's box kept, all else blurred or replaced by noise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.ndimage import gaussian_filter

from pipeline.measure.interventions.kinds import Intervention, Subject
from pipeline.measure.interventions.pictures import Scene, replace


def without_background(scene: Scene, kind: str, rng: np.random.Generator) -> np.ndarray:
    """The box kept, all else replaced by ``noise`` or by itself blurred with sigma = side / 10 (``blur``)."""
    if kind == "noise":
        ground = rng.integers(0, 256, scene.picture.shape, np.uint8)
    else:
        sigma = 0.1 * float(np.mean(scene.mask.shape))
        ground = gaussian_filter(scene.picture.astype(np.float32), (sigma, sigma, 0)).astype(np.uint8)
    return replace(ground, scene.mask, scene.picture)


def edits(subject: Subject, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """``replaced:blur`` and ``replaced:noise``."""
    for kind in ("blur", "noise"):
        yield f"replaced:{kind}", without_background(subject.scene, kind, rng)


INTERVENTION = Intervention(order=2, always=(), edits=edits, contrasts=(), single=("replaced",))
