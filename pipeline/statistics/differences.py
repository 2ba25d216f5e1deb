"""Did a class change between two runs? Paired differences on the same images. Numbers in, numbers out.

Most of what looks suspicious belongs to the pictures and boxes, not to the network: between two networks the
classes' adjusted lifts correlate 0.94. On the same images that cancels. A change counts only where it exceeds
what matters (``relevant``): two trainings of one network differ a little in every class.

Mean, interval and test per class are Student's t with a moderated variance (Smyth 2004; 4 images' worth of
the pooled one), so that a class of few images borrows the spread of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from pipeline.statistics.arrays import Flags, Floats, Ints
from pipeline.statistics.resampling import PRIOR_DF, class_means, class_variances, discovery_rates
from pipeline.verdicts import Change, Verdict

RELEVANT_LIFT = 0.25  # log odds: half the relevant effect, 2.7 sd of the classes between two equal trainings
RELEVANT_EFFECT = 0.1  # probability: as for one run
LEVEL = 0.05
_AT_FAULT = (Verdict.CONFIRMED, Verdict.SUSPECTED)


@dataclass(frozen=True)
class Pairs:
    """One figure of the images that two runs share, after minus before.

    Attributes:
        label: (n,) class of each image, ascending; change: (n,).
        relevant: from which change on it matters, > 0; worse: -1 where a fall is worse, else 1.
        centre_variance: (C,) variance of what was subtracted from each class's mean, if anything was.
    """

    label: Ints
    change: Floats
    relevant: float
    worse: Literal[-1, 1]
    centre_variance: Floats | None = None


@dataclass(frozen=True)
class MeasuredChange:
    """The same per class, arrays (C,) for ``label``; nan where it is undefined.

    ``p_worse``, ``p_better``: one-sided, of no change beyond ``relevant`` in this direction; ``within``: the
    interval excludes a change that matters.
    """

    label: Ints
    n: Ints
    mean: Floats
    low: Floats
    high: Floats
    p_worse: Floats
    p_better: Floats
    within: Flags

    @property
    def smallest(self) -> Floats:
        """The smaller of the two p."""
        return np.fmin(self.p_worse, self.p_better)


@dataclass(frozen=True)
class Changes:
    """What became of each class (C,): ``q``: false discovery rate controlled over the classes."""

    label: Ints
    change: tuple[Change, ...]
    q: Floats


def measure_change(pairs: Pairs, n_min: int, level: float = LEVEL) -> MeasuredChange:
    """Mean change of every class with interval and tests; none of a class of fewer than ``n_min`` images.

    ``level``: of the interval.
    """
    label, first, n = np.unique(pairs.label, return_index=True, return_counts=True)
    if len(label) == 0:
        nothing = np.empty(0)
        return MeasuredChange(label, n, nothing, nothing, nothing, nothing, nothing, nothing.astype(bool))
    bounds = np.concatenate([first, [len(pairs.label)]]).astype(np.int64)
    mean = class_means(pairs.change, bounds)
    extra = 0.0 if pairs.centre_variance is None else pairs.centre_variance
    error = np.sqrt(class_variances(pairs.change, bounds) / n + extra)
    enough = (n >= n_min) & np.isfinite(error)
    # images that are all alike have no spread to be uncertain by
    error = np.where(enough, np.maximum(error, 1e-12), np.nan)
    freedom = PRIOR_DF + n - 1
    half = special.stdtrit(freedom, 1 - level / 2) * error
    above = special.stdtr(freedom, -(mean - pairs.relevant) / error)  # p of: not above relevant
    below = special.stdtr(freedom, (mean + pairs.relevant) / error)
    p_worse, p_better = (above, below) if pairs.worse == 1 else (below, above)
    low, high = mean - half, mean + half
    within = (low > -pairs.relevant) & (high < pairs.relevant)
    return MeasuredChange(label, n, np.where(enough, mean, np.nan), low, high, p_worse, p_better, within)


def changes(
    measures: Sequence[MeasuredChange],
    before: Mapping[int, str],
    after: Mapping[int, str],
    level: float = LEVEL,
) -> Changes:
    """What became of every class that a measure has, from all of them.

    A class is worse where the smallest of its p values in that direction, times their number (Bonferroni), is
    a discovery at ``level`` over all classes (Benjamini and Hochberg 1995); better likewise, unless it is
    worse by another measure. The two directions do not share the level: no change can be at the limit of
    both. It is unchanged where every measure excludes a change that matters. ``before``, ``after``: label ->
    verdict of the audit.
    """
    label = np.unique(np.concatenate([m.label for m in measures])) if measures else np.empty(0, np.int64)
    worse, better = (_discoveries(_spread(measures, label, side)) for side in ("p_worse", "p_better"))
    within = _spread(measures, label, "within")
    present = np.isfinite(_spread(measures, label, "p_worse"))
    same = present.any(axis=0) & (np.where(present, within, 1) == 1).all(axis=0)
    words = tuple(
        _word(int(k), bool(worse[i] <= level), bool(better[i] <= level), bool(same[i]), (before, after))
        for i, k in enumerate(label)
    )
    return Changes(label, words, np.where(worse <= level, worse, np.fmin(worse, better)))


def _discoveries(p: Floats) -> Floats:
    """q (C,) of classes from the p (M, C) of their measures, nan where a measure has none."""
    if len(p) == 0:
        return np.empty(0)
    present = np.isfinite(p).sum(axis=0)
    return discovery_rates(np.minimum(1.0, present * np.fmin.reduce(p)), present > 0, "bh")


def _word(
    label: int, worse: bool, better: bool, same: bool, verdicts: tuple[Mapping[int, str], Mapping[int, str]]
) -> Change:
    was, now = (verdict.get(label) in _AT_FAULT for verdict in verdicts)
    if worse:
        return Change.NEW if now and not was else Change.WORSE
    if better:
        return Change.GONE if was and not now else Change.BETTER
    return Change.UNCHANGED if same else Change.UNDECIDED


def _spread(measures: Sequence[MeasuredChange], label: Ints, name: str) -> Floats:
    """``name`` of every measure (M, C), nan for classes that it has not."""
    out = np.full((len(measures), len(label)), np.nan)
    for k, measure in enumerate(measures):
        out[k, np.searchsorted(label, measure.label)] = getattr(measure, name)
    return out
