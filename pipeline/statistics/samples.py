"""The effects of edited images class by class: one value per independent image, their means and intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from pipeline.measure.interventions.kinds import all_contrasts
from pipeline.statistics.answers import Answers, shared_backgrounds, units
from pipeline.statistics.arrays import Floats, Ints
from pipeline.statistics.resampling import PRIOR_DF, class_variances

DECIDING = tuple(contrast.name for contrast in all_contrasts().values() if contrast.decides)
LEVEL = 0.05  # of intervals and one-sided limits; the intervals of what decides share it
LOOKS = 4  # of a run at the images of a class: 10, 20, 40, 80
_MOST_SKEW = 3.0  # of few values: the correction is an expansion in it


@dataclass(frozen=True)
class Effect:
    """Mean over the ``n`` independent images of a class that have it, with its interval; nan if undefined."""

    n: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Bounds:
    """One effect of all classes, arrays (C,), nan where undefined.

    Attributes:
        n: independent images; mean, error: mean and its standard error; low, high: 95 % interval.
        ceiling: one-sided 95 % upper limit, corrected for skewness: what shows no dependence. early: the same
            at a third of the level, for one of three looks.
    """

    n: Ints
    mean: Floats
    error: Floats
    low: Floats
    high: Floats
    ceiling: Floats
    early: Floats

    def effect(self, i: int) -> Effect:
        """That of class ``i``."""
        return Effect(int(self.n[i]), float(self.mean[i]), float(self.low[i]), float(self.high[i]))


@dataclass(frozen=True)
class Samples:
    """The effects of the classes ``labels``: name -> (C, m), a value per image, nan as padding."""

    labels: tuple[int, ...]
    values: Mapping[str, Floats]

    @classmethod
    def of(
        cls, answers: Mapping[int, Answers], effects: Callable[[Answers], Mapping[str, Floats]]
    ) -> Samples:
        """The ``effects`` of every class; images that share a background are one."""
        rows = []
        for _, of_class in sorted(answers.items()):
            groups = shared_backgrounds(of_class)
            rows.append({name: units(values, groups) for name, values in effects(of_class).items()})
        names = rows[0] if rows else {}
        return cls(tuple(sorted(answers)), {name: _padded([row[name] for row in rows]) for name in names})

    def bounds(self, name: str) -> Bounds:
        """Means with t intervals; the variance of one image borrows 4 images' worth of the pooled one
        (Smyth 2004). The deciding contrasts are two, so each has its interval at half the level.

        Of values with a long upper tail most samples miss the tail, and their t limit lies too low: the upper
        limits are ``mean + error (t + g (1 + 2 t^2) / (6 sqrt(n)))``, ``g`` the skewness if it is above 0
        (Johnson 1978)."""
        values = self.values[name]
        n = np.isfinite(values).sum(axis=1)
        some = np.maximum(n, 1)
        mean = np.where(n > 0, np.nansum(values, axis=1) / some, np.nan)
        error = np.sqrt(self.variance(name) / some)
        level = LEVEL / len(DECIDING) if name in DECIDING else LEVEL
        half, last, first = (
            stats.t.ppf(1 - share, PRIOR_DF + some - 1) for share in (level / 2, LEVEL, LEVEL / LOOKS)
        )
        low, high = np.maximum(mean - half * error, -1), np.minimum(mean + half * error, 1)
        skew = _skewness(values, mean, error) / (6 * np.sqrt(some))
        ceiling, early = (mean + error * (t + skew * (1 + 2 * t**2)) for t in (last, first))
        return Bounds(n, mean, np.where(n > 0, error, np.nan), low, high, ceiling, early)

    def variance(self, name: str) -> Floats:
        """Variance of one image (C,), moderated: :func:`~.resampling.class_variances`.

        Where no class has two images nothing is known of it: 1 then, the most that values in [-1, 1] have.
        """
        values = self.values[name]
        n = np.isfinite(values).sum(axis=1)
        variance = np.ones(len(n))
        if (n > 1).any():
            bounds = np.concatenate([[0], np.cumsum(n[n > 0])])
            variance[n > 0] = class_variances(values[np.isfinite(values)], bounds)
        return variance


def _skewness(values: Floats, mean: Floats, error: Floats) -> Floats:
    """Third moment (C,) over the cube of the moderated deviation, between 0 and 3."""
    n = np.maximum(np.isfinite(values).sum(axis=1), 1)
    third = np.nansum((values - mean[:, None]) ** 3, axis=1) / n
    return np.clip(third / np.maximum(error * np.sqrt(n), 1e-6) ** 3, 0.0, _MOST_SKEW)


def _padded(rows: list[Floats]) -> Floats:
    """(C, m) from rows of different lengths, with nan after the shorter ones."""
    out = np.full((len(rows), max(1, *(len(row) for row in rows))), np.nan)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out
