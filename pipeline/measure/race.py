"""Sequential comparison: candidates measured on the same images, block by block, until it is decided.

Images come in a seeded order, in blocks; after each block :func:`standing` says who leads and whether one may
stop. Looking again and again would find a difference by chance, so the level is shared over all looks that
are planned and over all pairs of candidates (Bonferroni: valid whatever their dependence, and for a leader
that is chosen by the same data). Pure NumPy and SciPy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

LEVEL = 0.05  # probability of a wrong decision, over all looks and pairs
LEAST = 4  # images before the first look: of fewer a spread says nothing


@dataclass(frozen=True)
class Standing:
    """Where a race stands.

    Attributes:
        leader: index of the candidate with the highest mean.
        behind: (m,) mean of the paired differences leader - candidate; 0 for the leader.
        low, high: (m,) their simultaneous interval; infinite where there are too few images.
        n: images for which every candidate has a value.
        decided: every other candidate is behind, or tied for all practical purposes.
    """

    leader: int
    behind: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: int
    decided: bool


def standing(values: np.ndarray, looks: int, tie: float, level: float = LEVEL) -> Standing:
    """Who leads after the images of ``values`` (n, m), one column per candidate, higher is better.

    Per pair, ``mean(d) -+ t(n - 1; 1 - a / 2) sd(d) / sqrt(n)`` of the differences ``d`` per image, with
    ``a = level / (looks m (m - 1) / 2)``. A candidate is decided when its interval excludes 0, or lies inside
    ``-tie..tie``. Images with a nan count for nobody.

    ``looks``: how often the race will be looked at, at most; ``tie``: a difference that does not matter.

    Raises ValueError when there is no candidate or no look.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or values.shape[1] == 0 or looks < 1:
        raise ValueError(
            f"a race takes values (n, m) with m >= 1 and looks >= 1; received {values.shape}, {looks}"
        )
    whole = values[~np.isnan(values).any(axis=1)]
    n, m = whole.shape
    if m == 1:
        return Standing(0, np.zeros(1), np.zeros(1), np.zeros(1), n, True)
    leader = int(whole.mean(axis=0).argmax()) if n else 0
    behind = whole[:, [leader]] - whole
    middle = behind.mean(axis=0) if n else np.zeros(m)
    reach = np.full(m, np.inf)
    if n >= LEAST:
        share = level / (looks * m * (m - 1) / 2)
        reach = student.ppf(1 - share / 2, n - 1) * behind.std(axis=0, ddof=1) / np.sqrt(n)
    reach[leader] = 0.0
    low, high = middle - reach, middle + reach
    settled = (low > 0) | ((low >= -tie) & (high <= tie))
    settled[leader] = True
    return Standing(leader, middle, low, high, n, bool(settled.all()))
