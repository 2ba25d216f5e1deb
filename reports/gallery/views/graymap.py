"""``sum_c |R|`` in grey: 0 black, the scale's end white."""

from __future__ import annotations

import numpy as np

from reports.gallery.view import Picture, Values, View, absolute, alone


def grey(values: Values) -> Picture:
    """(..., 1) in [0, 1] -> (..., 3)."""
    return np.repeat(np.rint(255 * values).astype(np.uint8), 3, axis=-1)


VIEW = View(
    name="graymap",
    meaning="sum over channels of |R|: black is none, white the end of the scale",
    order=10,
    pool=absolute,
    paint=alone(grey),
    low=0,
    colours=grey,
)
