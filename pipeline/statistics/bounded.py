"""Is the mean of bounded, skewed values above a limit? A test for few values of whatever shape.

The probability that a randomly weighted mean of the values, and of one more that is as bad as the worst to be
expected, does not exceed the limit; weights are uniform on the simplex (the Bayesian bootstrap of Rubin 1981,
with one pessimistic value). With the lower bound of the support as that value this is Gaffke's bound (Gaffke
2005; Phan, Thomas and Learned-Miller 2021, "Towards practical mean bounds for small samples"), which no
bounded distribution is known to violate, however skewed. Student's t is violated: where values are mostly a
little above the limit and now and then far below it, most samples that miss the latter look significant.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import special, stats

from pipeline.statistics.arrays import Flags, Floats
from pipeline.statistics.resampling import discovery_rates

WORST_SHARE = 0.05  # the value to be expected at worst: mean of this share of all values, the lowest
WORST_UNSEEN = -0.3  # ... but few values say little of how low values can be: what they count as at best,
UNSEEN = 30  # ... by the weight of so many of the lowest 5 %
ASKED = 0.9  # p: of classes above it, which lie far below the limit, nobody needs to ask
_STEPS = 80  # of a bisection


def expected_worst(values: Floats) -> float:
    """What one more value may be at worst: the mean of the lowest 5 % of ``values`` (of all classes).

    Where that is above -0.3 it is drawn towards it, by the weight of 30 values: it takes hundreds of images
    to trust that effects are never far below 0.
    """
    if len(values) == 0:
        return WORST_UNSEEN
    count = max(1, round(WORST_SHARE * len(values)))
    seen = min(0.0, float(np.sort(values)[:count].mean()))
    return seen if seen < WORST_UNSEEN else (count * seen + UNSEEN * WORST_UNSEEN) / (count + UNSEEN)


def mean_exceeds(values: Floats, limit: float | Floats, worst: float) -> Floats:
    """p (C,) for 'the mean of row c exceeds ``limit``' (one, or (C,)), one-sided; ``values`` (C, n) with nan
    as padding."""
    more = np.full((len(values), 1), worst)
    beyond = np.concatenate([values, more], axis=1) - np.reshape(limit, (-1, 1))
    return negative_probability(np.nan_to_num(beyond, nan=0.0))


def rates_of_asked(p: Floats, enough: Flags, method: Literal["bh", "by"]) -> Floats:
    """q values (C,) of the classes with ``enough`` images; nan for the others.

    Most of many classes lie far below the limit, their p near 1, and each would make it harder for the
    others. Only classes with p <= 0.9 are therefore asked, and p / 0.9 is held against them: given that it is
    below 0.9, p / 0.9 is no more than uniform, where p is uniformly conservative (Zhao, Small and Su 2019).
    """
    asked = enough & (p <= ASKED)
    q = discovery_rates(p / ASKED, asked, method)
    return np.where(enough & np.isfinite(p) & ~asked, 1.0, q)


def negative_probability(a: Floats) -> Floats:
    """``P(sum_i a_i E_i <= 0)`` per row of ``a`` (C, m), for independent standard exponentials ``E_i``.

    Divided by the sum of all ``E_i`` they are uniform weights on the simplex; the sign does not change. By
    the saddlepoint (Lugannani and Rice 1980) of ``K(t) = -sum log(1 - a_i t)``; zeros are padding.
    """
    low, high = 1 / np.minimum(a.min(axis=1), -1e-12), 1 / np.maximum(a.max(axis=1), 1e-12)
    for _ in range(_STEPS):
        t = (low + high) / 2
        below = (a / (1 - a * t[:, None])).sum(axis=1) < 0
        low, high = np.where(below, t, low), np.where(below, high, t)
    t = (low + high) / 2
    ratio = a / (1 - a * t[:, None])
    second, third = (ratio**2).sum(axis=1), 2 * (ratio**3).sum(axis=1)
    w = np.sign(t) * np.sqrt(np.maximum(2 * np.log(np.maximum(1 - a * t[:, None], 1e-300)).sum(axis=1), 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = special.ndtr(w) + stats.norm.pdf(w) * (1 / w - 1 / (t * np.sqrt(second)))
        at_the_mean = 0.5 + third / (6 * np.sqrt(2 * np.pi) * second**1.5)
    p = np.where(np.abs(w) < 1e-3, at_the_mean, p)
    p = np.where(a.min(axis=1) >= 0, 0.0, np.clip(p, 0, 1))
    return np.where(a.max(axis=1) <= 0, 1.0, p)
