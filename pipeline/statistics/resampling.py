"""Per-class statistics: bootstrap intervals, shrinkage, false discovery rates, images needed.

All take values sorted by class and ``bounds`` (C + 1,): rows ``bounds[c]:bounds[c+1]`` are class c.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special  # not scipy.stats: loading it takes longer than a whole gate

from pipeline.seeds import Purpose
from pipeline.statistics.arrays import Floats, Ints

LOWER = 0.25  # part of a class's images whose mean is its lower part
PRIOR_DF = 4.0  # weight of the pooled variance in a class's own, in images
_PICKS = 1 << 22  # resampled values held at once


def class_means(values: Floats, bounds: Ints) -> Floats:
    """Mean per class (C,); every class has rows."""
    return np.add.reduceat(values, bounds[:-1]) / np.diff(bounds)


def lower_parts(values: Floats, bounds: Ints) -> Floats:
    """Mean of the lowest quarter of every class's values (C,), of one at least: what the mean of all hides
    where a part of the images differs; every class has rows."""
    parts = [np.sort(values[a:b])[: max(1, round(LOWER * (b - a)))] for a, b in pairwise(bounds.tolist())]
    return np.array([part.mean() for part in parts])


def class_variances(values: Floats, bounds: Ints, prior: float = PRIOR_DF) -> Floats:
    """Variance of one image, per class (C,), moderated: ``(d0 s0^2 + SS_c) / (d0 + n_c - 1)``.

    ``s0^2`` is pooled over the classes and ``d0`` the ``prior``, 4: a class with one or two images borrows
    the spread of all (Smyth 2004). nan when no class has two images.
    """
    n = np.diff(bounds)
    mean = class_means(values, bounds)
    squares = np.add.reduceat((values - np.repeat(mean, n)) ** 2, bounds[:-1])
    freedom = n - 1
    if freedom.sum() == 0:
        return np.full(len(n), np.nan)
    pooled = squares.sum() / freedom.sum()
    return (prior * pooled + squares) / (prior + freedom)


def bca_intervals(
    values: Floats, bounds: Ints, draws: int, seed: int, level: float = 0.05
) -> tuple[Floats, Floats]:
    """BCa bootstrap interval (low, high), each (C,), of every class mean, over its images.

    Efron (1987): ``alpha' = Phi(z0 + (z0 + z) / (1 - a (z0 + z)))``; the acceleration of a mean is ``a =
    sum (x - m)^3 / (6 (sum (x - m)^2)^1.5)``. With few images every bootstrap interval is too narrow; the
    quantile ``z`` is therefore expanded to ``sqrt(n / (n - 1)) t_(n-1)`` (Hesterberg 2015, section 5.3),
    which is the normal one for many images. nan for a class of one image or of equal values.

    Classes with the same number of images share their resamplings (common random numbers): every interval
    is an ordinary bootstrap interval, and 1000 classes cost little more than one.
    """
    sizes = np.diff(bounds)
    low, high = np.full(len(sizes), np.nan), np.full(len(sizes), np.nan)
    for n in np.unique(sizes[sizes > 1]).tolist():
        classes = np.flatnonzero(sizes == n)
        z = float(np.sqrt(n / (n - 1)) * special.stdtrit(n - 1, 1 - level / 2))
        rng = Purpose.BOOTSTRAP.rng(seed, n)
        for k in range(0, len(classes), max(1, _PICKS // n)):
            chosen = classes[k : k + max(1, _PICKS // n)]
            x = np.stack([values[bounds[c] : bounds[c + 1]] for c in chosen])
            low[chosen], high[chosen] = bca(x, resampled_means(x, draws, rng), z)
    return low, high


def resampled_means(x: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Means (draws, C) of bootstrap samples of every row of ``x`` (C, n); all rows share the samples."""
    n = x.shape[1]
    step = max(1, _PICKS // n)
    out = np.empty((draws, len(x)))
    for k in range(0, draws, step):
        size = min(step, draws - k)
        picks = rng.integers(0, n, (size, n), dtype=np.int64)
        picks += np.arange(size)[:, None] * n
        times = np.bincount(picks.ravel(), minlength=size * n).reshape(size, n)
        out[k : k + size] = times.astype(float) @ x.T / n
    return out


def bca(x: Floats, resampled: Floats, z: float) -> tuple[Floats, Floats]:
    """BCa intervals of the means of the rows of ``x`` (C, n) from their ``resampled`` means (draws, C)."""
    mean = x.mean(axis=1)
    deviation = x - mean[:, None]
    squares = (deviation**2).sum(axis=1)
    flat = squares <= 1e-24 * np.maximum(1.0, mean**2) * x.shape[1]
    a = (deviation**3).sum(axis=1) / (6 * np.where(flat, 1.0, squares) ** 1.5)
    below = ((resampled < mean).sum(axis=0) + (resampled <= mean).sum(axis=0)) / 2
    edge = 0.5 / len(resampled)
    z0 = special.ndtri(np.clip(below / len(resampled), edge, 1 - edge))
    ordered = np.sort(resampled, axis=0)
    ends = []
    for tail in (-z, z):
        moved = z0 + tail
        # where 1 - a (z0 + z) <= 0 the transformation has turned back: the end of the distribution is meant
        share = special.ndtr(z0 + moved / np.maximum(1 - a * moved, 1e-9))
        ends.append(np.where(flat, np.nan, _quantile(ordered, share)))
    return ends[0], ends[1]


def _quantile(ordered: Floats, share: Floats) -> Floats:
    """Linear-interpolated quantile ``share[c]`` of column c of a matrix with ascending columns."""
    place = share * (len(ordered) - 1)
    lower = np.floor(place).astype(np.int64)
    upper = np.minimum(lower + 1, len(ordered) - 1)
    column = np.arange(ordered.shape[1])
    return ordered[lower, column] + (place - lower) * (ordered[upper, column] - ordered[lower, column])


def between_variance(means: Floats, errors: Floats) -> float:
    """``tau^2``: variance of the true class means about 0 (Paule and Mandel 1982).

    The root of ``sum mean^2 / (tau^2 + error^2) = C``, 0 if there is none; ``errors`` are standard errors.
    """
    square, error = means**2, errors**2

    def excess(tau2: float) -> float:
        return float(np.sum(square / (tau2 + error))) - len(means)

    if len(means) == 0 or not excess(0.0) > 0:
        return 0.0
    low, high = 0.0, float(square.max())
    for _ in range(200):  # bisection: monotone, and no tolerance to choose
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return high


def shrink(means: Floats, errors: Floats, tau2: float) -> Floats:
    """Empirical-Bayes means: ``mean tau^2 / (tau^2 + error^2)``, moved by at most one standard error.

    Limited translation (Efron and Morris 1972): with 999 ordinary classes ``tau^2`` is near 0, and plain
    shrinkage would erase the one class that is different, however many images prove it.
    """
    move = means * (1 - tau2 / (tau2 + np.maximum(errors, 1e-150) ** 2))
    return means - np.clip(move, -errors, errors)


def discovery_rates(p: Floats, tested: NDArray[np.bool_], method: Literal["bh", "by"]) -> Floats:
    """q values (C,) over the classes that are ``tested``; nan for the others.

    Which classes are tested may depend on their number of images but not on p: the procedure is that of
    Benjamini and Hochberg (1995), or Benjamini and Yekutieli (2001), over that family.
    """
    q = np.full(len(p), np.nan)
    family = tested & np.isfinite(p)
    if family.any():
        ascending = np.sort(p[family])
        places = np.arange(1, len(ascending) + 1)
        scaled = ascending * (len(ascending) / places) * (np.sum(1 / places) if method == "by" else 1)
        smallest = np.minimum.accumulate(scaled[::-1])[::-1]
        q[family] = np.minimum(smallest, 1)[np.searchsorted(ascending, p[family])]
    return q


def images_needed(variance: Floats, n_min: int, relevant: float, level: float) -> Ints:
    """Images (C,) at which the interval of a class becomes shorter than the relevant effect.

    ``n = (2 z s / |relevant|)^2``: such an interval cannot span both 0 and the effect, so it allows a
    statement whatever the mean turns out to be; z for intervals at 1 - ``level``. At least ``n_min``.
    """
    z = special.ndtri(1 - level / 2)
    n = np.ceil((2 * z / abs(relevant)) ** 2 * variance)
    return np.maximum(n, n_min).astype(np.int64)


def rank_correlation(a: Floats, b: Floats) -> float | None:
    """Spearman's correlation over the classes where both are defined; None with fewer than 3 or no spread."""
    both = np.isfinite(a) & np.isfinite(b)
    x, y = _mean_ranks(a[both]), _mean_ranks(b[both])
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def _mean_ranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of theirs."""
    _, place, times = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(times) - (times - 1) / 2)[place]
