"""Six ways to look at an explanation (Alber 2019, Figure 3), as pictures of eight bits.

========== =======================================================================================
name       what is shown
========== =======================================================================================
graymap    ``sum_c |R|``: black is none, white the largest
heatmap    ``sum_c R``: blue against, white none, red for the class; symmetric about 0
scaled     the input, every pixel times ``sum_c |R|`` over its largest value
masked     the input where its most relevant segments are, grey elsewhere
blend      ``sum_c |R|``, smoothed (sigma 3 px), in the jet colours over the grey input
projection ``R`` itself as an image: what a signal method says the network saw
========== =======================================================================================

All take ``relevance`` (b, h, w, c) and give (b, h, w, 3) uint8, for any h, w and c. The brightness of a
picture means nothing without its normalisation, so that has no default: ``scope`` is

- ``"image"``: every map by its own largest value (maps cannot be compared with each other),
- ``"batch"``: all maps by the largest value of the batch,
- a number: by that value; :func:`shared_scale` finds one for several batches (columns of one figure).

A map of zeros stays neutral (black, white or mid-grey); nothing is ever divided by 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from skimage.filters import gaussian
from skimage.segmentation import slic

Scope = Literal["image", "batch"] | float
Pictures = NDArray[np.uint8]

GREY: Final = 128  # of what a mask hides


def describe(scope: Scope) -> str:
    """The normalisation in words, to be printed on the figure."""
    _check(scope)
    if isinstance(scope, str):
        return {"image": "each map on its own scale", "batch": "one scale for all maps of the batch"}[scope]
    return f"one scale for all maps, full at {scope:.3g}"


def absolute(relevance: NDArray) -> NDArray[np.float64]:
    """``sum_c |R|``: (b, h, w, c) -> (b, h, w). What is not finite counts as 0."""
    return np.abs(_four(relevance)).sum(axis=-1)


def signed(relevance: NDArray) -> NDArray[np.float64]:
    """``sum_c R``: (b, h, w, c) -> (b, h, w). What is not finite counts as 0."""
    return _four(relevance).sum(axis=-1)


def shared_scale(
    relevances: Sequence[NDArray], pool: Callable[[NDArray], NDArray[np.float64]] = absolute
) -> float:
    """One ``scope`` for several batches: the largest ``|pool(R)|`` of all; 1 when all are zero."""
    return max((float(np.abs(pool(r)).max(initial=0.0)) for r in relevances), default=0.0) or 1.0


def graymap(relevance: NDArray, scope: Scope) -> Pictures:
    """``sum_c |R|`` in grey: 0 black, the scale's end white."""
    return _grey(_unit(absolute(relevance), scope))


def heatmap(relevance: NDArray, scope: Scope) -> Pictures:
    """``sum_c R`` in matplotlib's seismic, symmetric: 0 white, positive red, negative blue."""
    unit = _unit(signed(relevance), scope)
    # 255 steps with 0 on the middle one: the map's own 256 have no exact white at 0
    return _colours("seismic", 255)[np.rint(127 * (unit + 1)).astype(np.intp)]


def scaled(relevance: NDArray, pictures: Pictures, scope: Scope) -> Pictures:
    """The input (b, h, w, 3 or 1) uint8 times ``sum_c |R|`` over the scale."""
    unit = _unit(absolute(relevance), scope)[..., None]
    return np.rint(_colour(pictures, relevance) * unit).astype(np.uint8)


def masked(relevance: NDArray, pictures: Pictures, segments: int = 80, keep: float = 0.2) -> Pictures:
    """The input where its most relevant segments are, grey elsewhere.

    Args:
        relevance: (b, h, w, c).
        pictures: the input as a picture (b, h, w, 3 or 1) uint8, cut into super-pixels by SLIC.
        segments: how many super-pixels, about.
        keep: share of the picture's area to show; the segments with the largest mean ``sum_c |R|`` are taken,
            best first, until they cover it. A map of zeros shows nothing.

    No normalisation plays a part: only the order of the segments does.
    """
    if segments < 1 or not 0 < keep <= 1:
        raise ValueError(f"masked: segments must be >= 1 and keep in (0, 1]; received {segments}, {keep}")
    colour = _colour(pictures, relevance)
    pooled = absolute(relevance)
    out = np.full_like(colour, GREY)
    for i, (picture, heat) in enumerate(zip(colour, pooled, strict=True)):
        shown = _top_segments(picture, heat, segments, keep)
        out[i][shown] = picture[shown]
    return out


def blend(relevance: NDArray, pictures: Pictures, scope: Scope, sigma: float = 3.0) -> Pictures:
    """``sum_c |R|`` smoothed by a Gaussian of ``sigma`` pixels, in jet, half over the grey input.

    The scale is that of the smoothed maps: with a number as ``scope``, it is compared with them.
    """
    smooth = np.stack([gaussian(heat, sigma=sigma, preserve_range=True) for heat in absolute(relevance)])
    grey = _colour(pictures, relevance) @ np.array([0.299, 0.587, 0.114])
    return np.rint(0.5 * grey[..., None] + 0.5 * jet(_unit(smooth, scope))).astype(np.uint8)


def jet(unit: NDArray[np.float64]) -> Pictures:
    """Values in [0, 1] in matplotlib's jet, ``... 3`` uint8."""
    return _colours("jet", 256)[np.rint(255 * unit).astype(np.intp)]


def projection(relevance: NDArray, scope: Scope) -> Pictures:
    """``R`` as an image: ``[-s, s]`` to ``[0, 255]`` by ``(R / s + 1) / 2``; for signal methods.

    One channel becomes grey, three are red, green, blue; of other numbers the mean is taken.
    """
    image = _four(relevance)
    if image.shape[-1] not in (1, 3):
        image = image.mean(axis=-1, keepdims=True)
    levels = np.rint(255 * (_unit(image, scope) + 1) / 2).astype(np.uint8)
    return np.broadcast_to(levels, (*levels.shape[:-1], 3)).copy()


def project(relevance: NDArray, low: NDArray | float, high: NDArray | float, scope: Scope) -> NDArray:
    """``R`` in the model's input range: ``low + (R / s + 1) / 2 * (high - low)``, (b, h, w, c) float64.

    ``low``, ``high`` per channel (c,) or numbers. What :func:`projection` shows, ready for the model.
    """
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    if not np.all(low < high):
        raise ValueError(f"project: low must be below high in every channel; received {low}, {high}")
    return low + (_unit(_four(relevance), scope) + 1) / 2 * (high - low)


def _four(relevance: NDArray) -> NDArray[np.float64]:
    """Relevance as float64 (b, h, w, c) without what is not finite."""
    array = np.asarray(relevance, dtype=np.float64)
    if array.ndim != 4:
        raise ValueError(f"relevance must have the shape (b, h, w, c); received {array.shape}")
    return np.nan_to_num(array, nan=0.0, posinf=0.0, neginf=0.0)


def _check(scope: Scope) -> None:
    if isinstance(scope, str) and scope not in ("image", "batch"):
        raise ValueError(f"scope {scope!r} is unknown; valid: 'image', 'batch' or a positive number")
    if not isinstance(scope, str) and not (np.isfinite(scope) and scope > 0):
        raise ValueError(f"scope must be positive and finite as a number; received {scope}")


def _unit(maps: NDArray[np.float64], scope: Scope) -> NDArray[np.float64]:
    """Maps (b, ...) over their scale, clipped to [-1, 1]; a scale of 0 leaves zeros."""
    _check(scope)
    size = np.abs(maps)
    if scope == "image":
        scale = size.max(axis=tuple(range(1, maps.ndim)), keepdims=True, initial=0.0)
    else:
        scale = np.asarray(size.max(initial=0.0) if scope == "batch" else float(scope))
    # clipped before the division: a huge value over a tiny scale would overflow
    return np.divide(np.clip(maps, -scale, scale), scale, out=np.zeros_like(maps), where=scale > 0)


def _grey(unit: NDArray[np.float64]) -> Pictures:
    return np.repeat(np.rint(255 * unit).astype(np.uint8)[..., None], 3, axis=-1)


def _colours(name: str, steps: int) -> Pictures:
    """A matplotlib colour map as a table (steps, 3)."""
    return np.rint(255 * colormaps[name].resampled(steps)(np.arange(steps))[:, :3]).astype(np.uint8)


def _colour(pictures: Pictures, relevance: NDArray) -> Pictures:
    """Pictures (b, h, w, 3) that fit the relevance; one channel is repeated."""
    array = np.asarray(pictures)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[-1] not in (1, 3):
        raise ValueError(
            f"pictures must be uint8 (b, h, w, 3) or (b, h, w, 1); received {array.dtype} {array.shape}"
        )
    if array.shape[:3] != np.shape(relevance)[:3]:
        raise ValueError(f"pictures {array.shape} and relevance {np.shape(relevance)} are not of one size")
    return np.repeat(array, 3, axis=-1) if array.shape[-1] == 1 else array


def _top_segments(
    picture: Pictures, heat: NDArray[np.float64], segments: int, keep: float
) -> NDArray[np.bool_]:
    """Pixels of the segments with the largest mean heat that together cover ``keep`` of the picture."""
    labels = slic(picture, n_segments=segments, start_label=0, channel_axis=-1).ravel()
    area = np.bincount(labels)
    mean = np.bincount(labels, weights=heat.ravel()) / np.maximum(area, 1)
    order = np.argsort(-mean, kind="stable")
    before = np.cumsum(area[order]) - area[order]
    chosen = order[(before < keep * heat.size) & (mean[order] > 0)]
    return np.isin(labels, chosen).reshape(heat.shape)
