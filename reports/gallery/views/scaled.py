"""The input, every pixel times ``sum_c |R|`` over the scale's end."""

from __future__ import annotations

import numpy as np

from reports.gallery.view import Picture, Values, View, absolute


def dimmed(values: Values, picture: Picture) -> Picture:
    """The picture times values (h, w, 1) in [0, 1]."""
    return np.rint(picture * values).astype(np.uint8)


VIEW = View(
    name="scaled",
    meaning="the input times the sum over channels of |R|",
    order=30,
    pool=absolute,
    paint=dimmed,
    low=0,
)
