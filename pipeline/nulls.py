"""The relative test: is a class's lift lower than that of comparable images?

Images change classes at random within strata of box area; the lift is what is left after the curve of *all*
images (``Adjusted.pooled``), which does not know the classes, so the test is exact for exchangeable images
whatever the curve, the noise or the number of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.signedinteger[Any]]

STRATUM = 50  # images per stratum of box area, at least
MAX_STRATA = 20
TAIL = 20  # fewer exceedances than this among the draws: the tail is computed, not counted
_LOWEST, _MIDDLE, _HIGHEST = 128, 192, 64  # atoms of a stratum's distribution
_VALUES = 1 << 21  # permuted values held at once, per thread
_PURPOSE = 0x9E2


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
    atoms = [_atoms(values) for values, _ in pieces]
    for c in np.flatnonzero(exceed < TAIL):
        tail = tail_probability(float(observed[c]), counts[c], atoms)
        if np.isfinite(tail):
            p[c] = tail
    return p


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
        rng = np.random.default_rng([seed, _PURPOSE, k])
        totals = np.zeros((min(step, draws - k), len(observed)))
        for values, own in pieces:
            shuffled = rng.permuted(np.broadcast_to(values, (len(totals), len(values))), axis=1)
            first = np.flatnonzero(np.r_[True, own[1:] != own[:-1]])
            totals[:, own[first]] += np.add.reduceat(shuffled, first, axis=1)
        return (totals <= observed + tolerance).sum(axis=0)

    with ThreadPoolExecutor(2) as pool:
        return np.sum(list(pool.map(block, range(0, draws, step))), axis=0)


def _atoms(values: Floats) -> tuple[Floats, Floats, int]:
    """A stratum's distribution as at most 384 atoms: (values, probabilities, number of images).

    The lowest 128 and highest 64 values stay as they are (they make the tail), the middle is binned by rank.
    """
    v = np.sort(values)
    n = len(v)
    if n <= _LOWEST + _MIDDLE + _HIGHEST:
        return v, np.full(n, 1 / n), n
    cuts = np.linspace(_LOWEST, n - _HIGHEST, _MIDDLE + 1).astype(np.int64)
    start = np.r_[np.arange(_LOWEST), cuts[:-1], np.arange(n - _HIGHEST, n)]
    size = np.diff(np.r_[start, n])
    return np.add.reduceat(v, start) / size, size / n, n


def tail_probability(total: float, counts: Ints, atoms: list[tuple[Floats, Floats, int]]) -> float:
    """P(sum <= total) when ``counts[s]`` values are drawn from each stratum s, by the saddlepoint.

    Lugannani and Rice (1980): ``Phi(r) + phi(r) (1/r - 1/u)`` with ``K'(t) = total``, ``r = -sqrt(2 (t
    total - K))``, ``u = t sqrt(K'')``. K is the cumulant generating function of the strata's own values, so
    skewness, heavy tails and a class of 5 images are all in it. Drawing is without replacement: deviations
    are scaled by ``sqrt((N - m) / (N - 1))``, which makes mean and variance exact. nan where the total lies
    beyond what the scaled values can reach (then the count stands). Never below the chance of the one most
    extreme choice of images.
    """
    used = [(v, w, n, m) for (v, w, n), m in zip(atoms, counts, strict=True) if m and n > m]
    scaled = [(np.sqrt((n - m) / (n - 1)) * v, w, m) for v, w, n, m in used]
    if not scaled or total <= sum(m * v[0] for v, _, m in scaled):
        return np.nan
    t, cumulants = _saddlepoint(total, scaled)
    k0, _, k2 = cumulants
    if not (t < 0 < k2):
        return np.nan
    r = -np.sqrt(max(2 * (t * total - k0), 0.0))
    u = t * np.sqrt(k2)
    if r > -1e-3:
        return np.nan
    p = special.ndtr(r) + np.exp(-r * r / 2) / np.sqrt(2 * np.pi) * (1 / r - 1 / u)
    choices = sum(
        special.gammaln(n + 1) - special.gammaln(m + 1) - special.gammaln(n - m + 1) for *_, n, m in used
    )
    return float(np.clip(p, np.exp(-choices), 1.0))


def _saddlepoint(total: float, scaled: list[tuple[Floats, Floats, int]]) -> tuple[float, Floats]:
    """The t with ``K'(t) = total`` by Newton's method inside a bracket, and (K, K', K'') there."""
    low, high = -np.inf, np.inf
    t = 0.0
    cumulants = _cumulants(t, scaled)
    for _ in range(200):
        _, k1, k2 = cumulants
        low, high = (t, high) if k1 < total else (low, t)
        new = t - (k1 - total) / k2 if k2 > 0 else np.nan
        if not low < new < high:
            new = (low + high) / 2 if np.isfinite(low) and np.isfinite(high) else (2 * t - 1)
        if abs(new - t) <= 1e-10 * (1e-6 + abs(t)):
            break
        t, cumulants = new, _cumulants(new, scaled)
    return t, cumulants


def _cumulants(t: float, scaled: list[tuple[Floats, Floats, int]]) -> Floats:
    """(K, K', K'') at t of the sum of m draws from each stratum."""
    out = np.zeros(3)
    for v, w, m in scaled:
        exponent = t * v
        top = exponent.max()
        tilted = w * np.exp(exponent - top)
        mass = tilted.sum()
        mean = float(tilted @ v) / mass
        out += m * np.array([np.log(mass) + top, mean, float(tilted @ (v - mean) ** 2) / mass])
    return out
