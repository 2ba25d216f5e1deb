"""The relative test: is a class's lift lower than that of comparable images, by more than matters?

Classes of photographs truly differ, and with enough images every difference is beyond chance. Two questions
are therefore asked of the mean adjusted lift ``m`` of a class, and its p is the larger of theirs:

- *By more than matters?* H0: the true mean is not below the relevant effect. ``t = (m - limit) / error``.
- *By more than classes of this run differ?* H0: it is a class like the others, whose true means have the
  variance ``tau^2``. ``t = m / sqrt(tau^2 + error^2)``.

Both refer to Student's t; the interval is that of the first. Nothing is drawn.

Classes of which the first is answered with yes set no standard for the others: curve and centre are taken
again without them, as long as they are the minority. Three faulty classes among twelve would otherwise bend
the curve and seem to be ordinary differences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import optimize, special, stats

from pipeline.config_sections import RankingConfig
from pipeline.statistics.adjust import Adjusted, adjust
from pipeline.statistics.arrays import Floats, Ints
from pipeline.statistics.resampling import (
    between_variance,
    class_means,
    class_variances,
    discovery_rates,
    shrink,
)

PRIOR: Final = 4  # classes' worth of what is known beforehand of the spread between classes
_EQUAL: Final = 1000.0  # degrees of freedom beyond which the variances of classes count as equal
_LEAST: Final = 1e-5  # of the typical variance: a class of equal values says nothing of the spread of others


@dataclass(frozen=True)
class Relative:
    """What is known of every class beside the others, arrays (C,); nan where no class has two images.

    mean, and shrunk: mean adjusted lift, and shrunk towards 0 by at most one standard error; low, high: 95 %
    interval of the mean, nan of one image; variance: of one image; p_lower, p: of the first question, and of
    both; tau: standard deviation between ordinary classes.
    """

    mean: Floats
    shrunk: Floats
    low: Floats
    high: Floats
    variance: Floats
    p_lower: Floats
    p: Floats
    tau: float

    @classmethod
    def undefined(cls, n_classes: int) -> Relative:
        """Nothing is known: there is nothing to compare with."""
        nothing = np.full(n_classes, np.nan)
        return cls(nothing, nothing, nothing, nothing, nothing, nothing, nothing, 0.0)

    @classmethod
    def of(cls, adjusted: Adjusted, bounds: Ints, limit: float) -> Relative:
        """The classes whose rows of ``adjusted`` are ``bounds[c]:bounds[c+1]``; ``limit`` < 0 matters.

        What is uncertain of a mean: its images, the curve and the centre that it is compared with. These are
        known the worse the more the other classes differ.
        """
        mean, n = class_means(adjusted.residual, bounds), np.diff(bounds)
        variance, freedom = moderated_variances(adjusted.residual, bounds)
        known = variance / n + adjusted.curve_variance
        tau2, classes = ordinary_variance(mean, known, limit)
        moved = tau2 * adjusted.between_share
        error = np.sqrt(known + moved)
        own = (variance / n, freedom)
        with np.errstate(divide="ignore", invalid="ignore"):
            df = effective_freedom(known + moved, own, (moved, classes))
            # how well tau^2 is known depends on the noise that it was told from
            doubt = (1 + adjusted.between_share) * (tau2 + np.mean(known))
            df_outlier = effective_freedom(tau2 + error**2, own, (doubt, classes))
            lower = stats.t.cdf((mean - limit) / error, df)
            differs = stats.t.cdf(mean / np.sqrt(tau2 + error**2), df_outlier)
            half = np.where(n > 1, stats.t.ppf(0.975, df) * error, np.nan)
        low, high = mean - half, mean + half
        shrunk = np.fmin(np.fmax(shrink(mean, error, tau2), low), high)
        p = np.maximum(lower, differs)
        return cls(mean, shrunk, low, high, variance, lower, p, float(np.sqrt(tau2)))


def ordinary_variance(mean: Floats, variance: Floats, limit: float) -> tuple[float, int]:
    """``tau^2``, variance between the true means of ordinary classes, and its degrees of freedom.

    Faults lie below: the classes above the ordinary one (``mean > 0``, with the ``variance`` of their error)
    say how far apart ordinary classes are. Four more are added of which 95 % lie inside the ``limit``, as
    those of photographs do: a few classes that happen to agree do not make the next one an outlier.
    """
    above = mean > 0
    seen, classes = between_variance(mean[above], np.sqrt(variance[above])), int(above.sum())
    return (classes * seen + PRIOR * (limit / 2) ** 2) / (classes + PRIOR), classes + PRIOR


def compare(
    lift: Floats, area: Floats, distance: Floats, bounds: Ints, config: RankingConfig
) -> tuple[Adjusted, Relative]:
    """Adjust the images of two or more classes, rows ``bounds[c]:bounds[c+1]`` each, and test the classes."""
    adjusted = adjust(lift, area, distance, bounds)
    relative = Relative.of(adjusted, bounds, config.relevant_effect)
    q = discovery_rates(relative.p_lower, np.diff(bounds) >= config.n_min, config.fdr)
    ordinary = ~(q <= config.level)
    if ordinary.all() or 2 * ordinary.sum() <= len(ordinary):
        return adjusted, relative
    adjusted = adjust(lift, area, distance, bounds, ordinary)
    return adjusted, Relative.of(adjusted, bounds, config.relevant_effect)


def moderated_variances(values: Floats, bounds: Ints) -> tuple[Floats, Floats]:
    """Variance of one image, and its degrees of freedom, per class (C,).

    :func:`~.resampling.class_variances` with the ``d0`` of :func:`prior_freedom`: a class borrows the pooled
    variance as far as the classes' own agree. ``d0 + n_c - 1`` degrees, never more than all images have
    (Smyth 2004). nan when no class has two images.
    """
    own = np.diff(bounds) - 1
    if own.sum() == 0:
        return np.full(len(own), np.nan), np.full(len(own), np.nan)
    with np.errstate(invalid="ignore"):  # a class of one image has none of its own
        plain = class_variances(values, bounds, prior=0.0)
    prior = prior_freedom(plain[own > 0], own[own > 0])
    return class_variances(values, bounds, prior), np.minimum(prior + own, own.sum())


def prior_freedom(variances: Floats, freedom: Ints) -> float:
    """Degrees of freedom ``d0`` of the distribution of the classes' true variances; 1000 where they agree.

    Smyth (2004, section 6.2): the spread of ``log s_c^2 - psi(d_c/2) + log(d_c/2)`` beyond what ``d_c``
    degrees explain is ``trigamma(d0 / 2)``. Heavy-tailed images make variances vary as well, and count.
    """
    v = np.maximum(variances, _LEAST * np.median(variances))
    if len(v) < 2 or not v.min() > 0:
        return _EQUAL
    e = np.log(v) - special.digamma(freedom / 2) + np.log(freedom / 2)
    excess = float(np.var(e, ddof=1) - np.mean(special.polygamma(1, freedom / 2)))
    if excess <= special.polygamma(1, _EQUAL / 2):
        return _EQUAL
    return float(optimize.brentq(lambda d: special.polygamma(1, d / 2) - excess, 1e-3, _EQUAL))


def effective_freedom(total: Floats, *parts: tuple[Floats, Floats | int]) -> Floats:
    """Degrees of freedom (C,) of a variance ``total`` of which ``parts`` (variance, degrees) are estimated.

    ``total^2 / sum(part^2 / degrees)`` (Satterthwaite 1946).
    """
    return total**2 / np.sum([variance**2 / freedom for variance, freedom in parts], axis=0)
