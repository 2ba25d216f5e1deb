"""What lift is to be expected for a box of this size and place, and how far each image is from it.

The expected lift is a smooth function of ``z = logit(A)`` (area of the box) and ``d`` (its distance from the
centre), fitted over all images of a run by Huber regression, **leaving the image's own class out**: a class
that looks beside its objects must not set the standard that it is judged by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.statistics.arrays import Flags, Floats, Ints

HUBER = 1.345  # 95 % efficient under normal errors (Huber 1981)
AREA_KNOTS = (0.02, 0.25, 0.5, 0.75, 0.98)  # quantiles of z
DISTANCE_KNOTS = (0.05, 0.5, 0.95)  # quantiles of d
# Weak ridge, in pseudo-observations per standardised column. It decides only where the other classes hold no
# information (one class owns all the small boxes): there the curve continues straight.
PENALTY_LINEAR = 1e-3
PENALTY_CURVED = 1.0
_CURVED = 2  # columns before this one are straight
_CHUNK = 1 << 17
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Basis:
    """Natural cubic splines in ``z`` and ``d`` and their product, orthonormal over the images of the run.

    ``design(z, d)`` is ``(n, p)``: a column of ones, then columns of mean 0, variance 1, uncorrelated.
    """

    area_knots: Floats
    distance_knots: Floats
    centre: Floats
    transform: Floats  # (raw columns, p - 1)
    penalty: Floats  # (p,)

    @classmethod
    def of(cls, z: Floats, d: Floats) -> Basis:
        """Place the knots at quantiles and drop the columns that the data cannot tell apart."""
        area, distance = np.unique(np.quantile(z, AREA_KNOTS)), np.unique(np.quantile(d, DISTANCE_KNOTS))
        sums = [_raw(z[part], d[part], area, distance).sum(axis=0) for part in _parts(len(z))]
        centre = np.sum(sums, axis=0) / len(z)
        gram = np.zeros((len(centre), len(centre)))
        for part in _parts(len(z)):
            raw = _raw(z[part], d[part], area, distance) - centre
            gram += raw.T @ raw
        transform, kept = _orthonormal(gram / len(z))
        penalty = np.where(kept >= _CURVED, PENALTY_CURVED, PENALTY_LINEAR)
        return cls(area, distance, centre, transform, np.concatenate([[0.0], penalty]))

    def design(self, z: Floats, d: Floats) -> Floats:
        """The design matrix (n, p) at these areas and distances."""
        x = np.empty((len(z), 1 + self.transform.shape[1]))
        x[:, 0] = 1.0
        for part in _parts(len(z)):
            raw = _raw(z[part], d[part], self.area_knots, self.distance_knots)
            np.matmul(raw - self.centre, self.transform, out=x[part, 1:])
        return x


def natural_spline(x: Floats, knots: Floats) -> Floats:
    """The curved columns (n, K - 2) of a natural cubic spline with K knots, linear beyond the outer ones.

    ``N_k = d_k - d_(K-1)``, ``d_k = ((x - t_k)+^3 - (x - t_K)+^3) / (t_K - t_k)`` (Hastie et al., The
    Elements of Statistical Learning, eq. 5.4 and 5.5).
    """
    if len(knots) < 3:
        return np.empty((len(x), 0))
    unit = knots[-1] - knots[0]
    t, last = (knots - knots[0]) / unit, 1.0
    x = (x - knots[0]) / unit
    top = np.maximum(x - last, 0) ** 3

    def d(k: int) -> Floats:
        return (np.maximum(x - t[k], 0) ** 3 - top) / (last - t[k])

    return np.stack([d(k) - d(len(t) - 2) for k in range(len(t) - 2)], axis=1)


def _raw(z: Floats, d: Floats, area: Floats, distance: Floats) -> Floats:
    """Columns z, d, then from :data:`_CURVED` on z d and the splines' curved ones."""
    curved = [natural_spline(z, area), natural_spline(d, distance)]
    return np.concatenate([np.stack([z, d, z * d], axis=1), *curved], axis=1)


def _parts(n: int) -> Iterator[slice]:
    """Rows that are worked on at a time: what is made of all of them at once takes several times ``n p``."""
    return (slice(i, i + _CHUNK) for i in range(0, n, _CHUNK))


def _orthonormal(gram: Floats) -> tuple[Floats, Ints]:
    """Gram-Schmidt on a Gram matrix: (transform T, kept columns) with ``T' gram T = 1``."""
    columns: list[Floats] = []
    kept: list[int] = []
    for j in range(len(gram)):
        v = np.zeros(len(gram))
        v[j] = 1.0
        for _ in range(2):  # twice is enough (Giraud et al. 2005)
            for u in columns:
                v -= (u @ gram @ v) * u
        norm = v @ gram @ v
        if norm > 1e-9 * max(gram[j, j], 1e-12):
            columns.append(v / np.sqrt(norm))
            kept.append(j)
    transform = np.stack(columns, axis=1) if columns else np.empty((len(gram), 0))
    return transform, np.array(kept, dtype=np.int64)


@dataclass(frozen=True)
class HuberFit:
    """Coefficients (p,) and residual scale (MAD / 0.6745) of a penalised Huber regression."""

    beta: Floats
    scale: float


def huber(x: Floats, y: Floats, penalty: Floats, scale: float | None = None) -> HuberFit:
    """Minimise ``sum rho(y - x b; k s) + b' diag(penalty) b / 2`` by reweighting.

    ``rho`` is Huber's with ``k = 1.345``; ``s`` is the median absolute residual over 0.6745, found together
    with ``b`` unless ``scale`` fixes it (Huber 1981, section 7.8).
    """
    beta = np.linalg.solve(_gram(x, None) + np.diag(penalty), x.T @ y)
    fixed, s = scale is not None, scale or 0.0
    for step in range(500):
        r = y - x @ beta
        if not fixed:
            s = float(np.median(np.abs(r))) / 0.6745
            fixed = step >= 50  # the median can alternate between two values: hold it, then converge
        if s <= 1e-12 * max(1.0, float(np.abs(y).max())):  # more than half lie on the curve
            return HuberFit(beta, 0.0)
        w = np.minimum(1.0, HUBER * s / np.maximum(np.abs(r), 1e-300))
        new = np.linalg.solve(_gram(x, w) + np.diag(penalty), x.T @ (w * y))
        moved, beta = float(np.abs(new - beta).max()), new
        if moved <= _TOLERANCE * s:
            break
    return HuberFit(beta, s)


def _gram(x: Floats, w: NDArray | None) -> Floats:
    """``x' diag(w) x`` without a weighted copy of the whole of x."""
    total = np.zeros((x.shape[1], x.shape[1]))
    for rows in _parts(len(x)):
        part = x[rows]
        total += part.T @ (part if w is None else part * w[rows, None])
    return total


@dataclass(frozen=True)
class Adjusted:
    """Residuals of one run; rows are sorted by class, as given.

    residual: lift minus the curve fitted without the image's own class (nan where no other class exists).
    curve_variance: per class, variance of the curve's mean over the images of the class, and of its centre.
    between_share: the same that comes from classes truly differing, per unit of the variance between them.
    """

    residual: Floats
    curve_variance: Floats
    between_share: Floats
    basis: Basis
    fit: HuberFit
    median_distance: float


def adjust(
    lift: Floats, area: Floats, distance: Floats, bounds: Ints, ordinary: Flags | None = None
) -> Adjusted:
    """Subtract what is expected for area and distance, leaving the own class out.

    ``bounds`` (C + 1,): rows ``bounds[c]:bounds[c+1]`` are class c, and every class has rows. ``ordinary``
    (C,): the classes that curve and centre are taken from, at least two; all of them if None. The curve is
    exact for every class (a refit without it, the scale held at that of all images), not a one-step
    approximation.

    A Huber curve passes through the bulk, not the mean: where residuals are skewed, *every* class mean would
    be off 0. Each class's residuals are therefore centred by the weighted median of the other classes' means
    about the same curve, which a minority of deviating classes cannot move.
    """
    z = np.log(area) - np.log1p(-area)
    basis = Basis.of(z, distance)
    x = basis.design(z, distance)
    n = np.diff(bounds).astype(float)
    ordinary = np.ones(len(n), dtype=bool) if ordinary is None else ordinary
    standard = np.repeat(ordinary, np.diff(bounds))
    # a copy of x only where classes are left out: of ten million images it takes 640 MB
    own_x, own_lift = (x, lift) if standard.all() else (x[standard], lift[standard])
    fit = huber(own_x, own_lift, basis.penalty)
    pooled = lift - x @ fit.beta
    residual, variance, share = pooled.copy(), np.full(len(n), np.nan), np.full(len(n), np.nan)
    if len(n) < 2:
        return Adjusted(np.full_like(pooled, np.nan), variance, share, basis, fit, float(np.median(distance)))
    means = np.add.reduceat(pooled, bounds[:-1]) / n
    place = np.stack([x[i:j].mean(axis=0) for i, j in pairwise(bounds)])
    equation = _Equation.of(own_x, own_lift, fit, basis.penalty)
    own = list(pairwise(np.concatenate([[0], np.cumsum(ordinary * np.diff(bounds))]).tolist()))
    # an offset of class k moves the curve without c by ``rest^-1 pull[k]``
    pull = np.stack([equation.x[i:j].T @ equation.active[i:j] for i, j in own])
    for c, (i, j) in enumerate(pairwise(bounds)):
        others = ordinary & (np.arange(len(n)) != c)
        rest, shift = equation.without(*own[c])
        lever = _solve(rest, place[c])
        residual[i:j] -= x[i:j] @ shift + weighted_median((means - place @ shift)[others], n[others])
        # the centre is a median of class means: pi / 2 times the variance of a mean, which the curve's holds
        variance[c] = equation.spread * (place[c] @ lever + (np.pi / 2 - 1) / n[others].sum())
        share[c] = np.sum((pull @ lever)[others] ** 2)
        share[c] += (np.pi / 2 - 1) * np.sum(n[others] ** 2) / n[others].sum() ** 2
    return Adjusted(residual, variance, share, basis, fit, float(np.median(distance)))


@dataclass(frozen=True)
class _Equation:
    """Huber's estimating equation at a curve; ``x`` (n, p), ``y`` and residuals ``r`` (n,).

    limit: where it bends, ``k s``; psi: residuals clipped there; active: which are not; order, kink: rows by
    distance from the bend, and these distances; reach (p,): largest ``|x|`` of a column; hessian (p, p);
    spread: ``E psi^2 / E psi'``.
    """

    x: Floats
    y: Floats
    r: Floats
    fit: HuberFit
    penalty: Floats
    limit: float
    psi: Floats
    active: Flags
    order: Ints
    kink: Floats
    reach: Floats
    hessian: Floats
    spread: float

    @classmethod
    def of(cls, x: Floats, y: Floats, fit: HuberFit, penalty: Floats) -> _Equation:
        r = y - x @ fit.beta
        limit = HUBER * fit.scale if fit.scale else np.inf
        psi, active = np.clip(r, -limit, limit), np.abs(r) <= limit
        kink = np.abs(np.abs(r) - limit)
        order = np.argsort(kink, kind="stable")
        reach = np.abs(x).max(axis=0)
        hessian = _gram(x, active) + np.diag(penalty)
        spread = float(psi @ psi) / max(int(active.sum()), 1)
        return cls(x, y, r, fit, penalty, limit, psi, active, order, kink[order], reach, hessian, spread)

    def without(self, i: int, j: int) -> tuple[Floats, Floats]:
        """Hessian (p, p) without rows ``i:j``, and by how much the coefficients (p,) change.

        The equation is piecewise linear: leaving out a class moves the curve by a little ``x D``, and the
        downdated Newton step is exact but for the few rows whose residual crosses the kink. Only those,
        within ``max |x D|`` of it, are looked at again, until the step no longer changes.
        """
        x, r, psi, limit = self.x, self.r, self.psi, self.limit
        own = x[i:j]
        rest = self.hessian - own.T @ (own * self.active[i:j, None])
        gradient = -(own.T @ psi[i:j])
        delta = _solve(rest, gradient)
        for _ in range(50):
            near = self.order[: np.searchsorted(self.kink, self.reach @ np.abs(delta), side="right")]
            near = near[(near < i) | (near >= j)]
            move = x[near] @ delta
            error = np.clip(r[near] - move, -limit, limit) - (psi[near] - self.active[near] * move)
            new = _solve(rest, gradient + x[near].T @ error)
            moved, delta = float(np.abs(new - delta).max()), new
            if moved <= _TOLERANCE * max(self.fit.scale, 1e-300):
                return rest, delta
        others = np.r_[0:i, j : len(x)]  # few rows, many of them at the kink: fit again without the class
        return rest, huber(x[others], self.y[others], self.penalty, self.fit.scale).beta - self.fit.beta


def _solve(matrix: Floats, right: Floats) -> Floats:
    """Symmetric solve; the smallest solution where nothing determines it."""
    try:
        return np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        return np.linalg.lstsq(matrix, right, rcond=None)[0]


def weighted_median(values: Floats, weights: Floats) -> float:
    """Where the cumulated weight of the sorted values reaches half, the midpoint if two share it."""
    order = np.argsort(values, kind="stable")
    cumulated = np.cumsum(weights[order]) / np.sum(weights)
    return float(values[order][np.searchsorted(cumulated, [0.5 - 1e-12, 0.5 + 1e-12])].mean())


def leave_one_out_median(values: Floats, weights: Floats) -> Floats:
    """Weighted median of all values but the k-th, for every k; at least two."""
    others = ~np.eye(len(values), dtype=bool)
    return np.array([weighted_median(values[rest], weights[rest]) for rest in others])
