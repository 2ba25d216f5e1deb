"""The input where its most relevant segments are, grey elsewhere; only their order counts, so no scale."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from reports.gallery.view import Picture, Values, View, absolute

GREY: Final = 128  # of what is hidden
SEGMENTS: Final = 80  # about
KEEP: Final = 0.2  # share of the picture's area that is shown


def masked(values: Values, picture: Picture, segments: int = SEGMENTS, keep: float = KEEP) -> Picture:
    """The picture's super-pixels (SLIC) with the largest mean value, best first, until they cover ``keep``.

    A segment without any relevance is never shown.
    """
    shown = _top_segments(picture, values[..., 0], segments, keep)
    return np.where(shown[..., None], picture, np.uint8(GREY))


def _top_segments(picture: Picture, heat: Values, segments: int, keep: float) -> NDArray[np.bool_]:
    """Pixels of the segments with the largest mean heat that together cover ``keep`` of the picture."""
    from skimage.segmentation import slic

    labels = slic(picture, n_segments=segments, start_label=0, channel_axis=-1).ravel()
    area = np.bincount(labels)
    mean = np.bincount(labels, weights=heat.ravel()) / np.maximum(area, 1)
    order = np.argsort(-mean, kind="stable")
    before = np.cumsum(area[order]) - area[order]
    chosen = order[(before < keep * heat.size) & (mean[order] > 0)]
    return np.isin(labels, chosen).reshape(heat.shape)


VIEW = View(
    name="masked",
    meaning="the input where the most relevant segments are, a fifth of the picture; grey elsewhere",
    order=40,
    pool=absolute,
    paint=masked,
    low=None,
)
