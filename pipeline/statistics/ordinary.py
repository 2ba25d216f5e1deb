"""What the deciding contrasts show in ordinary classes, which is no dependence on a background.

A class whose background alone says nothing of it is an ordinary one, whatever its object loses elsewhere: on
photographs any foreign scene speaks for other classes, and an object loses probability in it. What the
ordinary classes lose is therefore taken off, but no more than :data:`MOST`: a network that needs object and
scene together in every class finds no excuse in its other classes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.statistics.arrays import Flags, Floats
from pipeline.statistics.samples import DECIDING, Bounds

RELEVANT = 0.1  # probability: what a background must contribute, beyond ordinary classes, to matter
ALONE = "sufficiency"  # the contrast without the object
FEWEST = 3  # ordinary classes from which anything is known of what is ordinary
MOST = 0.2  # probability that any foreign scene may cost an object, in all classes of a network alike
# How ordinary classes differ: sd 0.05 to 0.07 of `necessity` in three runs on 200 classes of Tiny ImageNet,
# of `sufficiency` below 0.02. The median of what they show does not hold their upper half.
DIFFER = {"necessity": 0.1}


def usual_effects(bounds: Mapping[str, Bounds]) -> dict[str, Floats]:
    """Deciding contrast -> what the *other* ordinary classes show at most (C,), in [0, :data:`MOST`].

    The median of their means and what they differ (:data:`DIFFER`); 0 where fewer than three are ordinary:
    then nothing is known of what is. ``bounds``: those of the deciding contrasts.
    """
    ordinary = bounds[ALONE].ceiling < RELEVANT
    return {
        name: _of_others(bounds[name].mean, ordinary & np.isfinite(bounds[name].mean), DIFFER.get(name, 0.0))
        for name in DECIDING
    }


def _of_others(means: Floats, ordinary: Flags, differ: float) -> Floats:
    out = np.zeros(len(means))
    for i in range(len(means)):
        others = means[ordinary & (np.arange(len(means)) != i)]
        if len(others) >= FEWEST:
            out[i] = np.clip(float(np.median(others)) + differ, 0.0, MOST)
    return out
