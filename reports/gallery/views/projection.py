"""``R`` itself as an image, ``[-end, end]`` to ``[0, 255]``: what a signal method says the network saw."""

from __future__ import annotations

import numpy as np

from reports.gallery.view import Picture, Values, View, alone


def channels(relevance: Values) -> Values:
    """One channel becomes grey, three are red, green, blue; of other numbers the mean is taken."""
    return relevance if relevance.shape[-1] in (1, 3) else relevance.mean(axis=-1, keepdims=True)


def levels(values: Values) -> Picture:
    """``255 (v + 1) / 2``: (..., 1 or 3) in [-1, 1] -> (..., 3)."""
    shades = np.rint(255 * (values + 1) / 2).astype(np.uint8)
    return np.broadcast_to(shades, (*shades.shape[:-1], 3)).copy()


VIEW = View(
    name="projection",
    meaning="R itself as an image: mid-grey is none",
    order=60,
    pool=channels,
    paint=alone(levels),
    low=-1,
    colours=levels,
)
