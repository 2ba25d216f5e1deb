"""Candidates in an order of preference, measured on the same images: who passes, and who is used.

A candidate *passes* when the interval of its mean lies above 0. It is *far behind* when it surely has less
than :data:`SHARE` of the mean of the best one that passes. The first in the order that passes and is not far
behind is used: the order decides, measurements only rule out. Pure NumPy and SciPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

LEVEL = 0.05  # probability of a wrong decision, over all looks
LEAST = 4  # images before the first look: of fewer a spread says nothing
SHARE = 0.5  # of the best one's mean: who surely has less is far behind


@dataclass(frozen=True)
class Contest:
    """Where candidates stand.

    Attributes:
        mean, low, high: (m,) of each candidate, and the interval; infinite of too few images.
        passes: (m,) low > 0; useless: (m,) high <= 0, so it never will; far_behind: (m,).
        best: index of the best that passes; None: nobody does.
        first: index of the first that passes and is not far behind; None: nobody passes.
        decided: whether more images would hardly change ``first``.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    passes: np.ndarray
    useless: np.ndarray
    far_behind: np.ndarray
    best: int | None
    first: int | None
    decided: bool


def contest(values: np.ndarray, looks: int, eligible: Sequence[bool]) -> Contest:
    """Where they stand after the images of ``values`` (n, m), a column per candidate in order of preference.

    Intervals are ``mean -+ t(n - 1; 1 - a / 2) sd / sqrt(n)`` with ``a = 0.05 / looks``: shared over the
    ``looks`` that may be taken at the growing data (Bonferroni), not over candidates. Far behind is candidate
    j when the lower limit of ``SHARE v_best - v_j``, image by image, is above 0. It is decided when the first
    candidate that can still pass does, and the upper limit of ``SHARE v_i - v_j`` is at most 0 for every
    other eligible i; or when nobody can pass any more. Who is not ``eligible`` is measured and nothing else.
    """
    able = np.asarray(eligible, bool)
    mean, low, high = _interval(values, looks)
    useless = high <= 0
    passes = (low > 0) & able
    best = int(np.where(passes, mean, -np.inf).argmax()) if passes.any() else None
    far_behind = np.zeros(len(mean), bool)
    if best is not None:
        far_behind = _interval(SHARE * values[:, [best]] - values, looks)[1] > 0
    used = np.flatnonzero(passes & ~far_behind)
    first = int(used[0]) if len(used) else None
    return Contest(
        mean=mean,
        low=low,
        high=high,
        passes=passes,
        useless=useless,
        far_behind=far_behind,
        best=best,
        first=first,
        decided=_decided(values, looks, able & ~useless & ~far_behind, first),
    )


def _decided(values: np.ndarray, looks: int, able: np.ndarray, first: int | None) -> bool:
    """Whether ``first`` is where the order begins among those who are ``able``, and safe from all of them."""
    running = np.flatnonzero(able)
    if first is None or not len(running):
        return not len(running)
    rivals = running[running != first]
    lead = _interval(SHARE * values[:, rivals] - values[:, [first]], looks)[2]
    return bool(running[0] == first and (lead <= 0).all())


def _interval(values: np.ndarray, looks: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, lower and upper limit of every column of ``values`` (n, m)."""
    n, m = values.shape
    mean = values.mean(axis=0) if n else np.zeros(m)
    if n < LEAST:
        return mean, np.full(m, -np.inf), np.full(m, np.inf)
    reach = student.ppf(1 - LEVEL / looks / 2, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)
    return mean, mean - reach, mean + reach
