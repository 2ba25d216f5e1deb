"""``sum_c R`` in matplotlib's seismic, symmetric: 0 white, positive red, negative blue."""

from __future__ import annotations

import numpy as np

from reports.gallery.view import Picture, Values, View, alone, net, table


def seismic(values: Values) -> Picture:
    """(..., 1) in [-1, 1] -> (..., 3)."""
    # 255 steps with 0 on the middle one: the map's own 256 have no exact white at 0
    return table("seismic", 255)[np.rint(127 * (values[..., 0] + 1)).astype(np.intp)]


VIEW = View(
    name="heatmap",
    meaning="sum over channels of R: blue against the target, white none, red for it",
    order=20,
    pool=net,
    paint=alone(seismic),
    low=-1,
    colours=seismic,
)
