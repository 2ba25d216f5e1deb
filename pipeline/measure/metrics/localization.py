"""How much of a heat map lies inside the object's boxes.

``P`` is the pooled map (:func:`metrics.pool`), ``M`` the union of the boxes in the model's input
geometry and ``A = |M| / (h w)``. A map that is zero, an image without a visible box and a box that covers the
whole input are undefined for every metric here.
"""

from __future__ import annotations

import numpy as np

from pipeline.measure.metrics import MaskedMaps, masked_sum, metric

POINTING_TOLERANCE = 15  # pixel; Zhang et al. 2016

_INFINITE = (0.0, float("inf"))
_SHARE = (0.0, 1.0)


@metric("relevance", "none", _INFINITE)
def relevance_in(maps: MaskedMaps) -> np.ndarray:
    """Relevance inside the boxes: ``sum_in P``."""
    return maps.inside


@metric("relevance", "none", _INFINITE)
def relevance_out(maps: MaskedMaps) -> np.ndarray:
    """Relevance outside the boxes: ``sum_out P``."""
    return maps.outside


@metric("ratio", "higher", _INFINITE, undefined="no relevance lies outside the boxes")
def ratio(maps: MaskedMaps) -> np.ndarray:
    """Relevance inside over outside: ``sum_in P / sum_out P``; grows with the box's size.

    With the default pooling ``abs_sum`` these are the sums of |R| over all elements and channels (the
    inside-outside measure of Lapuschkin et al. 2017). Without any relevance outside: undefined.
    """
    return np.divide(maps.inside, maps.outside, out=np.full_like(maps.inside, np.nan), where=maps.outside > 0)


@metric("fraction", "higher", _SHARE, undefined="the pooled map is zero")
def mass(maps: MaskedMaps) -> np.ndarray:
    """Share of the relevance inside the boxes: ``sum_in P / sum P``.

    With pooling ``positive`` this is relevance mass accuracy (Arras et al. 2022, equation 1).
    """
    return _share(maps.inside, maps.outside)


@metric("log odds", "higher", (-float("inf"), float("inf")), undefined="the pooled map is zero")
def lift(maps: MaskedMaps) -> np.ndarray:
    """Log-odds lift: ``logit(mass) - logit(A)``; 0 = no better than a uniform map, whatever the box's size.

    A mass of exactly 0 or 1 (a whole map on one side, which maps of small networks do reach) would be
    infinite. The mass is therefore kept half a pixel's share, ``1 / (2 h w)``, away from 0 and 1: what a map
    that is off by half a pixel would have. The value stays finite and remains the extreme one.
    """
    half = 0.5 / maps.pixels
    share = np.clip(_share(maps.inside, maps.outside), half, 1 - half)
    return _logit(share) - _logit(maps.area)


@metric("fraction", "higher", _SHARE)
def rank_accuracy(maps: MaskedMaps) -> np.ndarray:
    """Share of the K = |M| most relevant pixels that lie inside the boxes (Arras et al. 2022, equation 2).

    Pixels that tie at the K-th value count with the share of them that lies inside: the expectation over
    random tie breaks, so a constant map scores A.
    """
    flat = maps.pooled.reshape(len(maps.pooled), -1)
    mask = maps.mask.reshape(flat.shape)
    result = np.empty(len(flat))
    for i, (values, inside, k) in enumerate(zip(flat, mask, maps.size, strict=True)):
        threshold = np.partition(values, len(values) - k)[len(values) - k]
        above, tied = values > threshold, values == threshold
        share = np.count_nonzero(tied & inside) / np.count_nonzero(tied)
        result[i] = np.count_nonzero(above & inside) + (k - np.count_nonzero(above)) * share
    return result / maps.size


@metric("hit", "higher", _SHARE, undefined="the maximum of the map is not unique")
def pointing(maps: MaskedMaps) -> np.ndarray:
    """Pointing game: 1 if the maximum lies within 15 px of the boxes, else 0 (Zhang et al. 2016)."""
    n, _, width = maps.mask.shape
    flat = maps.pooled.reshape(n, -1)
    peak = flat.argmax(axis=1)
    unique = (flat == flat[np.arange(n), peak, None]).sum(axis=1) == 1
    result = np.full(n, np.nan)
    for i in np.flatnonzero(unique):
        y, x = divmod(int(peak[i]), width)
        top, left = max(0, y - POINTING_TOLERANCE), max(0, x - POINTING_TOLERANCE)
        window = maps.mask[i, top : y + POINTING_TOLERANCE + 1, left : x + POINTING_TOLERANCE + 1]
        rows, columns = np.nonzero(window)
        distance = (rows + top - y) ** 2 + (columns + left - x) ** 2
        result[i] = float(distance.size > 0 and distance.min() <= POINTING_TOLERANCE**2)
    return result


@metric("fraction", "higher", _SHARE, undefined="the map has no positive relevance")
def mu(maps: MaskedMaps) -> np.ndarray:
    """Share of the positive relevance inside the boxes: ``sum_in R+ / sum R+`` (Kohlbrenner et al. 2020).

    ``R+`` is the positive part of the relevance summed over channels, whatever the pooling.
    """
    return _share(masked_sum(maps.positive, maps.mask), masked_sum(maps.positive, ~maps.mask))


@metric("ratio", "higher", _INFINITE, undefined="the map has no positive relevance")
def mu_weighted(maps: MaskedMaps) -> np.ndarray:
    """Positive share weighted by the boxes' size: ``mu / A`` (Kohlbrenner et al. 2020)."""
    return mu(maps) / maps.area


@metric("probability", "higher", _SHARE)
def auc_mask(maps: MaskedMaps) -> np.ndarray:
    """ROC-AUC of P against M: probability that a pixel inside ranks above one outside, ties count half."""
    flat = maps.pooled.reshape(len(maps.pooled), -1)
    mask = maps.mask.reshape(flat.shape)
    result = np.empty(len(flat))
    for i, (values, inside) in enumerate(zip(flat, mask, strict=True)):
        positives, negatives = np.sort(values[inside]), np.sort(values[~inside])
        below = np.searchsorted(negatives, positives, "left").sum(dtype=np.int64)
        not_above = np.searchsorted(negatives, positives, "right").sum(dtype=np.int64)
        result[i] = 0.5 * (below + not_above) / (len(positives) * len(negatives))
    return result


def _share(inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """``inside / (inside + outside)``, nan where both are 0."""
    total = inside + outside
    return np.divide(inside, total, out=np.full_like(total, np.nan), where=total > 0)


def _logit(p: np.ndarray) -> np.ndarray:
    return np.log(p) - np.log1p(-p)
