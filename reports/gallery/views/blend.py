"""``sum_c |R|``, smoothed, in matplotlib's jet, half over the grey input."""

from __future__ import annotations

from typing import Final

import numpy as np

from reports.gallery.view import Picture, Values, View, absolute, table

SIGMA: Final = 3.0  # of the Gaussian, pixels
LUMA: Final = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def smooth(relevance: Values) -> Values:
    """``sum_c |R|`` smoothed: (h, w, c) -> (h, w, 1). The colour scale is that of the smoothed map."""
    from skimage.filters import gaussian

    return gaussian(absolute(relevance)[..., 0], sigma=SIGMA, preserve_range=True)[..., None]


def jet(values: Values) -> Picture:
    """(..., 1) in [0, 1] -> (..., 3)."""
    return table("jet", 256)[np.rint(255 * values[..., 0]).astype(np.intp)]


def half(values: Values, picture: Picture) -> Picture:
    """Half the picture's grey, half the values' colour."""
    grey = picture @ LUMA
    return np.rint(0.5 * grey[..., None] + 0.5 * jet(values)).astype(np.uint8)


VIEW = View(
    name="blend",
    meaning="sum over channels of |R|, smoothed, in the jet colours over the grey input",
    order=50,
    pool=smooth,
    paint=half,
    low=0,
    colours=jet,
)
