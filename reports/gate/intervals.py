"""Intervals (95 %) that need no more than Python: for shares, means, medians and rank correlations."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

LEVEL: Final = 0.05
Z: Final = NormalDist().inv_cdf(1 - LEVEL / 2)


def wilson(share: float, n: int) -> tuple[float, float]:
    """Interval of a share of ``n`` (Wilson 1927, JASA 22): never outside [0, 1], honest at 0 and 1."""
    square = Z * Z / n
    centre = (share + square / 2) / (1 + square)
    half = Z / (1 + square) * math.sqrt(share * (1 - share) / n + square / (4 * n))
    return min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share)


def correlation(rank_correlation: float, n: int) -> tuple[float, float]:
    """Interval of Spearman's correlation of ``n`` pairs, by Fisher's transformation.

    Its standard error is ``sqrt(1.06 / (n - 3))`` (Fieller, Hartley and Pearson 1957, Biometrika 44); nothing
    is known from three pairs or fewer.
    """
    if n < 4:
        return -1.0, 1.0
    if abs(rank_correlation) >= 1:
        return rank_correlation, rank_correlation
    half = Z * math.sqrt(1.06 / (n - 3))
    centre = math.atanh(rank_correlation)
    return math.tanh(centre - half), math.tanh(centre + half)


def median_places(n: int) -> tuple[int, int] | None:
    """Places (from 0) of the sorted values between which the median lies; None with too few for 95 %.

    Distribution-free: the number of values below the median is binomial (n, 1/2).
    """
    below, total, k = 0.0, 2.0**-n if n < 1000 else 0.0, 0
    if n >= 1000:  # the normal approximation is exact enough, and 2^-n no number
        k = math.floor(n / 2 - Z * math.sqrt(n) / 2)
        return k, n - 1 - k
    while below + total <= LEVEL / 2:
        below += total
        total *= (n - k) / (k + 1)
        k += 1
    return None if k == 0 else (k - 1, n - k)
