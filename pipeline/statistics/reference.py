"""Is a class an outlier against a reference network? The lift of every image, minus the reference's.

What belongs to the picture and its box is in both lifts and cancels: a boring background, a box that cuts off
the legs. What is left of a difference that all classes share (another architecture, another resolution) is
taken away with the curve and the centre of :mod:`.adjust`, as for the lift itself. What remains is noise of
the images, ordinary differences between two networks, and what this network alone learned of a class.

*A class is an outlier* iff it lies below the others, false discoveries controlled, and its own interval lies
below 0. For the first, ``t = m / sqrt(tau^2 + s^2 / n + c)`` refers to Student's t: ``m`` mean difference,
``s^2`` variance of one image in an *ordinary* class (median over the classes), ``c`` variance of curve and
centre, ``tau`` spread between ordinary classes (:func:`ordinary_spread`). Under the hypothesis a
class is like the others, its images included: that a mark on half of them makes them vary must not hide it.
The interval holds the class's own variance. Outliers set no standard: curve, centre and spreads are taken
again without them, as long as they are the minority (as in :mod:`.relative`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import special, stats

from pipeline.config_sections import RankingConfig
from pipeline.statistics.adjust import Adjusted, adjust
from pipeline.statistics.arrays import Flags, Floats, Ints
from pipeline.statistics.differences import RELEVANT_LIFT
from pipeline.statistics.relative import effective_freedom, moderated_variances, ordinary_variance
from pipeline.statistics.resampling import class_means, discovery_rates, lower_parts

FAR: Final = 4.0  # robust standard deviations above the ordinary class
_CHI2: Final = 0.4549364231195724  # median of chi-square with one degree of freedom


@dataclass(frozen=True)
class Outliers:
    """Every class beside the others (C,); nan where there is nothing to compare with.

    mean, low, high: mean difference and its 95 % interval; p, q: does it lie below the other classes?
    lower: mean of the lowest quarter of its images' differences.
    tau: standard deviation between ordinary classes.
    """

    mean: Floats
    low: Floats
    high: Floats
    lower: Floats
    p: Floats
    q: Floats
    tau: float


def is_outlier(q: Floats, high: Floats, level: float) -> Flags:
    """Which classes (C,) lie below the others, and below 0 by their own images."""
    return (q <= level) & (high < 0)


def outliers(
    difference: Floats, area: Floats, distance: Floats, bounds: Ints, config: RankingConfig
) -> Outliers:
    """Test the classes whose images are rows ``bounds[c]:bounds[c+1]``; each has some, and there are two.

    ``difference`` (n,): lift minus that of the reference; ``area``, ``distance``: of the boxes.
    """
    if float(np.ptp(difference)) == 0.0 or len(difference) < 3:  # nothing varies: there is no curve to fit
        nothing = np.full(len(bounds) - 1, np.nan)
        return Outliers(nothing, nothing, nothing, nothing, nothing, nothing, 0.0)
    tested = np.diff(bounds) >= config.n_min
    first = _test(adjust(difference, area, distance, bounds), bounds, tested, config)
    ordinary = ~is_outlier(first.q, first.high, config.level)
    if ordinary.all() or 2 * ordinary.sum() <= len(ordinary):
        return first
    return _test(adjust(difference, area, distance, bounds, ordinary), bounds, tested, config, ordinary)


def _test(
    adjusted: Adjusted, bounds: Ints, tested: Flags, config: RankingConfig, ordinary: Flags | None = None
) -> Outliers:
    n, values = np.diff(bounds), adjusted.residual
    standard = np.ones(len(n), dtype=bool) if ordinary is None else ordinary
    mean = class_means(values, bounds)
    image = typical_variance(values, bounds, standard) / n
    variance = image + adjusted.curve_variance
    tau2, classes = ordinary_spread(mean[standard], variance[standard])
    with np.errstate(divide="ignore", invalid="ignore"):
        doubt = np.full(len(n), tau2 + np.mean(variance[standard]))
        # a mean of few images is no normal one, however well their spread is known
        df = effective_freedom(tau2 + variance, (doubt, classes), (image, np.maximum(n - 1, 1)))
        p = stats.t.cdf(mean / np.sqrt(tau2 + variance), df)
        own, freedom = moderated_variances(values, bounds)
        error = own / n + adjusted.curve_variance
        half = stats.t.ppf(0.975, effective_freedom(error, (own / n, freedom))) * np.sqrt(error)
    q = discovery_rates(p, tested, config.fdr)
    lower = lower_parts(values, bounds)
    return Outliers(mean, mean - half, mean + half, lower, p, q, float(np.sqrt(tau2)))


def ordinary_spread(mean: Floats, variance: Floats) -> tuple[float, int]:
    """``tau^2`` between the true means of ordinary classes, and its degrees of freedom.

    As :func:`.relative.ordinary_variance`, but without the classes far above the others (beyond 4 robust
    standard deviations): there the *reference* is at fault, and that is no ordinary difference. The robust
    spread is that at which the median of ``mean^2 / (tau^2 + variance)`` is a chi-square's, 0.455.
    """
    above = mean > 0
    squares, error = mean[above] ** 2, variance[above]
    kept = np.ones(len(mean), dtype=bool)
    kept[above] = squares <= FAR**2 * (_robust(squares, error) + error)
    return ordinary_variance(mean[kept], variance[kept], RELEVANT_LIFT)


def _robust(squares: Floats, error: Floats) -> float:
    if len(squares) == 0:
        return 0.0
    # the median of squares / (tau2 + error) falls with tau2: its root lies between 0 and the largest square
    low, high = 0.0, float(squares.max()) / _CHI2
    if np.median(squares / np.maximum(error, 1e-300)) <= _CHI2:
        return 0.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if np.median(squares / (middle + error)) > _CHI2 else (low, middle)
    return high


def typical_variance(values: Floats, bounds: Ints, among: Flags) -> float:
    """Variance of one image in the median class of ``among``; nan where no class has two images.

    The median of ``s_c^2`` over that of its distribution under equal variances, chi-square with ``n_c - 1``
    degrees over these: a minority of classes that vary more does not enlarge it.
    """
    n = np.diff(bounds)
    mean = np.repeat(class_means(values, bounds), n)
    squares = np.add.reduceat((values - mean) ** 2, bounds[:-1])
    freedom = n - 1
    chosen = among & (freedom > 0)
    if not chosen.any():
        return float("nan")
    middle = 2 * special.gammaincinv(freedom[chosen] / 2, 0.5)  # median of chi-square
    return float(np.median(squares[chosen] / middle))
