"""What a visualisation is, and the steps that several of them share (Alber 2019, Figure 3).

Arrays: relevance (h, w, c) of any h, w and c; pictures (h, w, 3) uint8; pooled values (h, w, k) float64.
The visualisations stand in :mod:`reports.gallery.views`, one file each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class View:
    """A way to look at an explanation.

    Attributes:
        name: as on the command line; also the name of its file.
        meaning: what a picture shows, for the legend.
        order: place where all stand beside each other, ascending.
        pool: relevance (h, w, c), finite -> the values that are shown, (h, w, k).
        paint: values and the input as a picture (h, w, 3) -> picture (h, w, 3). The values are divided by the
            end of the colour scale, so that they lie between ``low`` and 1; without a scale they come as
            pooled.
        low: where the scale begins, in units of its end: -1 or 0; None: the view has no scale.
        colours: values (..., 1) between ``low`` and 1 -> colours (..., 3), for the legend; None: nothing that
            a bar of colours could show.
    """

    name: str
    meaning: str
    order: int
    pool: Callable[[Values], Values]
    paint: Callable[[Values, Picture], Picture]
    low: float | None
    colours: Callable[[Values], Picture] | None = None

    def values(self, relevance: NDArray) -> Values:
        """What is shown of ``relevance`` (h, w, c), before any scale; what is not finite counts as 0."""
        array = np.asarray(relevance, dtype=np.float64)
        if array.ndim != 3:
            raise ValueError(f"relevance must have the shape (h, w, c); received {array.shape}")
        return self.pool(np.nan_to_num(array, nan=0.0, posinf=0.0, neginf=0.0))

    def draw(self, relevance: NDArray, picture: Picture, end: float) -> Picture:
        """``relevance`` (h, w, c) over ``picture`` (h, w, 3 or 1), as (h, w, 3) uint8.

        ``end``: the value with the strongest colour; what is beyond has that colour, too. At 0 everything
        stays neutral: nothing is ever divided by 0.
        """
        values, colour = self.values(relevance), _colour(picture)
        if colour.shape[:2] != values.shape[:2]:
            raise ValueError(
                f"picture {colour.shape} and relevance {np.shape(relevance)} are not of one size"
            )
        return self.paint(values if self.low is None else unit(values, end), colour)

    def bar(self) -> Picture | None:
        """The colours from one end of the scale to the other, (101, 3); None where there is no bar."""
        if self.low is None or self.colours is None:
            return None
        return self.colours(np.linspace(self.low, 1, 101)[:, None])


def absolute(relevance: Values) -> Values:
    """``sum_c |R|``: (h, w, c) -> (h, w, 1)."""
    return np.abs(relevance).sum(axis=-1, keepdims=True)


def net(relevance: Values) -> Values:
    """``sum_c R``: (h, w, c) -> (h, w, 1)."""
    return relevance.sum(axis=-1, keepdims=True)


def unit(values: Values, end: float) -> Values:
    """``values / end``, clipped to [-1, 1]; zeros where the end is 0.

    Raises:
        ValueError: an end that is negative or not finite.
    """
    if not (np.isfinite(end) and end >= 0):
        raise ValueError(f"the end of a colour scale must be finite and not negative; received {end}")
    # clipped before the division: a huge value over a tiny scale would overflow
    return np.clip(values, -end, end) / end if end > 0 else np.zeros_like(values)


def alone(colours: Callable[[Values], Picture]) -> Callable[[Values, Picture], Picture]:
    """A ``paint`` that shows the colours of the values and nothing of the input."""
    return lambda values, _: colours(values)


def table(name: str, steps: int) -> Picture:
    """A matplotlib colour map as a table (steps, 3)."""
    from matplotlib import colormaps

    return np.rint(255 * colormaps[name].resampled(steps)(np.arange(steps))[:, :3]).astype(np.uint8)


def _colour(picture: Picture) -> Picture:
    """A picture (h, w, 3); one channel is repeated."""
    array = np.asarray(picture)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] not in (1, 3):
        raise ValueError(
            f"a picture must be uint8 (h, w, 3) or (h, w, 1); received {array.dtype} {array.shape}"
        )
    return np.repeat(array, 3, axis=-1) if array.shape[-1] == 1 else array
