"""The relative test: is a class's lift lower than that of comparable images?

Images change classes at random within strata of box area; the lift is what is left after the curve of *all*
images (``Adjusted.pooled``), which does not know the classes, so the test is exact for exchangeable images
whatever the curve, the noise or the number of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import special

from pipeline.seeds import Purpose
from pipeline.statistics.arrays import Floats, Ints

STRATUM = 50  # images per stratum of box area, at least
MAX_STRATA = 20
TAIL = 20  # fewer exceedances than this among the draws: the tail is computed, not counted
_LOWEST, _MIDDLE, _HIGHEST = 128, 192, 64  # atoms of a stratum's distribution
_VALUES = 1 << 21  # permuted values held at once, per thread


def area_strata(area: Floats) -> Ints:
    """Stratum of every image (n,): up to 20 of similar numbers of images, by box area.

    Equal areas share a stratum: were ties cut apart in the order of the rows, strata would follow the
    classes.
    """
    count = int(np.clip(len(area) // STRATUM, 1, MAX_STRATA))
    cuts = np.sort(area)[np.arange(1, count) * len(area) // count]
    return np.unique(np.searchsorted(cuts, area, side="right"), return_inverse=True)[1]


def relative_p(residual: Floats, bounds: Ints, strata: Ints, draws: int, seed: int) -> Floats:
    """One-sided p (C,): chance of a class mean as low as observed when classes do not matter.

    Counted over ``draws`` permutations as ``(b + 1) / (draws + 1)``, b the draws at or below the observed.
    Where ``b < 20`` counting is too coarse for a false discovery rate over 1000 classes (its least p is
    1/2001, while the first of 1000 needs 5e-5), and the tail of the same permutation distribution is
    computed by :func:`tail_probability`.
    """
    n_classes = len(bounds) - 1
    label = np.repeat(np.arange(n_classes), np.diff(bounds))
    order = np.lexsort((label, strata))
    edges = np.concatenate([[0], np.cumsum(np.bincount(strata))])
    centred = residual - (np.bincount(strata, residual) / np.bincount(strata))[strata]
    observed = np.add.reduceat(centred, bounds[:-1])
    pieces = [(centred[order[i:j]], label[order[i:j]]) for i, j in pairwise(edges)]
    exceed = _count_permutations(pieces, observed, draws, seed)
    p = (exceed + 1) / (draws + 1)
    counts = np.bincount(label * len(pieces) + strata, minlength=n_classes * len(pieces))
    counts = counts.reshape(n_classes, len(pieces))
    atoms = [Atoms.of(values) for values, _ in pieces]
    for c in np.flatnonzero(exceed < TAIL):
        tail = tail_probability(float(observed[c]), counts[c], atoms)
        if np.isfinite(tail):
            p[c] = np.clip(tail, *plausible(int(exceed[c]), draws))
    return p


def plausible(count: int, draws: int) -> tuple[float, float]:
    """99 % interval (Clopper and Pearson 1934) of a probability of which ``count`` of ``draws`` were seen.

    One extreme image can put a step into the tail, which the smooth approximation cannot follow: what the
    draws rule out is not believed.
    """
    low = float(special.betaincinv(count, draws - count + 1, 0.005)) if count else 0.0
    return low, float(special.betaincinv(count + 1, draws - count, 0.995))


def _count_permutations(
    pieces: Sequence[tuple[Floats, Ints]], observed: Floats, draws: int, seed: int
) -> Ints:
    """Draws (C,) whose class total is at or below the observed one.

    Blocks of draws have their own random stream and run in two threads; their number follows from the data
    alone, so the result does not depend on the machine.
    """
    tolerance = 1e-9 * (1 + np.abs(observed))  # sums in another order: a tie is a tie
    step = max(1, min(_VALUES // sum(len(v) for v, _ in pieces), -(-draws // 8)))

    def block(k: int) -> Ints:
        rng = Purpose.PERMUTATION.rng(seed, k)
        totals = np.zeros((min(step, draws - k), len(observed)))
        for values, own in pieces:
            shuffled = rng.permuted(np.broadcast_to(values, (len(totals), len(values))), axis=1)
            first = np.flatnonzero(np.r_[True, own[1:] != own[:-1]])
            totals[:, own[first]] += np.add.reduceat(shuffled, first, axis=1)
        return (totals <= observed + tolerance).sum(axis=0)

    with ThreadPoolExecutor(2) as pool:
        return np.sum(list(pool.map(block, range(0, draws, step))), axis=0)


@dataclass(frozen=True)
class Atoms:
    """The values of a stratum as at most 384 atoms: value and number of images of each, images in all."""

    values: Floats
    times: Floats
    images: int

    @classmethod
    def of(cls, values: Floats) -> Atoms:
        """The lowest 128 and highest 64 stay (they make the tail), the middle is binned by rank."""
        v = np.sort(values)
        n = len(v)
        if n <= _LOWEST + _MIDDLE + _HIGHEST:
            return cls(v, np.ones(n), n)
        cuts = np.linspace(_LOWEST, n - _HIGHEST, _MIDDLE + 1).astype(np.int64)
        start = np.r_[np.arange(_LOWEST), cuts[:-1], np.arange(n - _HIGHEST, n)]
        size = np.diff(np.r_[start, n]).astype(float)
        return cls(np.add.reduceat(v, start) / size, size, n)


def tail_probability(total: float, counts: Ints, atoms: Sequence[Atoms]) -> float:
    """P(sum <= total) when ``counts[s]`` images are drawn without replacement from each stratum s.

    Double saddlepoint: drawing m of N is N independent Bernoulli(m / N) choices given that m were made.
    With their cumulant generating function ``K(t, a) = sum log(1 - m/N + m/N exp(a_s + t v))``, maximised
    at ``(t, a)`` in ``t total + a.m - K``: ``Phi(r) + phi(r) (1/r - 1/u)``, ``r = -sqrt(2 (t total + a.m -
    K))``, ``u = t sqrt(det K'' / det K''_aa(0))`` (Skovgaard 1987; for permutation tests Robinson 1982,
    Booth and Butler 1990). Skewness, heavy tails, few images and the finite population are all in K. nan
    where the total lies too far out to be reached, or at the middle (the count is right there). Never below
    the chance of the one most extreme choice of images.
    """
    used = [(a, m) for a, m in zip(atoms, counts.tolist(), strict=True) if 0 < m < a.images]
    if not used:
        return np.nan
    solved = _saddlepoint(total, _Tilt.of(used))
    if solved is None:
        return np.nan
    t, height, ratio = solved
    r, u = -np.sqrt(2 * max(height, 0.0)), t * np.sqrt(ratio)
    if t >= 0 or r > -0.5:
        return np.nan
    p = special.ndtr(r) + np.exp(-r * r / 2) / np.sqrt(2 * np.pi) * (1 / r - 1 / u)
    n, m = np.array([(a.images, m) for a, m in used], dtype=float).T
    choices = np.sum(special.gammaln(n + 1) - special.gammaln(m + 1) - special.gammaln(n - m + 1))
    return float(np.clip(p, np.exp(-choices), 1.0))


@dataclass(frozen=True)
class _Tilt:
    """Strata as one padded matrix: values and times (S, B), images drawn (S,), their share (S, 1)."""

    values: Floats
    times: Floats
    drawn: Floats
    share: Floats

    @classmethod
    def of(cls, used: Sequence[tuple[Atoms, int]]) -> _Tilt:
        width = max(len(a.values) for a, _ in used)
        values, times = np.zeros((len(used), width)), np.zeros((len(used), width))
        for s, (a, _) in enumerate(used):
            values[s, : len(a.values)], times[s, : len(a.values)] = a.values, a.times
        drawn = np.array([m for _, m in used], dtype=float)
        return cls(values, times, drawn, drawn[:, None] / np.array([[a.images] for a, _ in used]))

    def chosen(self, t: float, a: Floats) -> tuple[float, Floats]:
        """K(t, a) and the chance (S, B) of every image to be chosen."""
        x = special.logit(self.share) + a[:, None] + t * self.values
        k = np.logaddexp(0, x) + np.log1p(-self.share)
        return float(np.sum(self.times * k)), special.expit(x)


def _saddlepoint(total: float, tilt: _Tilt) -> tuple[float, float, float] | None:
    """(t, t total + a.m - K, det K'' / det K''_aa(0)) at the maximum, by Newton; None without one."""
    t, a = 0.0, np.zeros(len(tilt.drawn))
    k, chance = tilt.chosen(t, a)
    base = (tilt.times * chance * (1 - chance)).sum(axis=1)
    height = 0.0
    for _ in range(100):
        spread = tilt.times * chance * (1 - chance)
        aa, at = spread.sum(axis=1), (spread * tilt.values).sum(axis=1)
        if not aa.min() > 1e-12:  # the choice is forced: the total is at the end of what can be reached
            return None
        free = float((spread * tilt.values**2).sum() - (at**2 / aa).sum())
        if not free > 1e-12 * float((tilt.times * tilt.values**2).sum()):
            return None
        miss_a = tilt.drawn - (tilt.times * chance).sum(axis=1)
        miss_t = total - float((tilt.times * chance * tilt.values).sum())
        step_t = (miss_t - float((at / aa) @ miss_a)) / free
        step_a = (miss_a - at * step_t) / aa
        gain = miss_t * step_t + float(miss_a @ step_a)
        if gain < 1e-10:
            ratio = free * float(np.exp(np.sum(np.log(aa) - np.log(base))))
            return t, height, ratio
        size = 1.0
        while True:  # the height is concave: halve the step until it rises
            k, chance = tilt.chosen(t + size * step_t, a + size * step_a)
            risen = (t + size * step_t) * total + float((a + size * step_a) @ tilt.drawn) - k
            if risen >= height + 0.1 * size * gain or size < 1e-6:
                break
            size /= 2
        t, a, height = t + size * step_t, a + size * step_a, risen
    return None
