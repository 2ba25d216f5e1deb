"""Do the windows that a class is explained by carry it to other images?

Every window is compared with one of *another class, at the same place, on the same picture of a third class*
(:mod:`pipeline.measure.transfer`), so what pasting itself does to the network cancels. Where windows say
nothing about the class the two are exchangeable, and the gain is 0 on average. Recipients differ between the
windows of a class; the window is the unit. Two statements decide, and share the level:

- the mean gain in log odds exceeds :data:`~pipeline.measure.transfer.gain.RELEVANT`: the odds of the
  class rise by more than a factor of e;
- the share of windows that gain more than :data:`STRONG` exceeds :data:`SHARE`: a mark on a part of the
  images, which the mean of all would hide (exact binomial test; interval by Clopper and Pearson 1934). Where
  a class's windows merely scatter widely, as many lose that much: it counts only where the strong gains
  outnumber the strong losses beyond a fair coin (sign test, exact for exchangeable windows).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from pipeline.config_sections import RankingConfig
from pipeline.measure.transfer.gain import RELEVANT
from pipeline.run.ranking_settings import ranking_method
from pipeline.run.store import Store
from pipeline.run.transfer_parts import read_transfer, read_windows
from pipeline.statistics.arrays import Flags, Floats, Ints
from pipeline.statistics.bounded import expected_worst, mean_exceeds
from pipeline.statistics.pasted import Pasted, read_pasted
from pipeline.statistics.reference_windows import SameWindows, same_windows
from pipeline.statistics.resampling import PRIOR_DF, class_variances, discovery_rates
from pipeline.statistics.samples import LEVEL
from pipeline.statistics.window_groups import Moved, WindowGroup, best_groups, moved_windows, read_rows
from pipeline.terms import Window
from pipeline.verdicts import Transferred

STRONG = 2.0  # gain of a single window that counts, log odds: a factor of 7.4
SHARE = 0.05  # of the windows: what more than that is more than a few odd ones
EXCLUDED_SHARE = 0.25  # a mark on so many images is excluded where windows are said to carry nothing
UPPER = 0.25  # part of the windows whose mean is the upper part
_DECIDING = 2


@dataclass(frozen=True)
class Carried:
    """What the pasted windows of one class say; undefined numbers are nan.

    Attributes:
        n: windows, each of one image; pictures: pairs of a window and a recipient.
        beside: all windows lie beside a box; else it may be the object itself that they carry.
        mean: gain over windows of other classes, log odds; low, high: 95 % interval.
        upper: mean of the best quarter of the windows less that of the best quarter of their controls.
        strong: share of the windows that gain more than :data:`STRONG`.
        added, control_added: probability that the windows, and those of other classes, add.
        elsewhere: mean gain of windows that lie where other images are explained.
        q: that a deciding statement is wrong, false discovery rate controlled.
        group: the like windows that carry it most; moved: what the best of all add at other places. None
            where it is not known, as in runs of before it was asked.
        same: what a reference network makes of the same windows; None without one.
    """

    n: int
    pictures: int
    beside: bool
    transferred: Transferred
    mean: float
    low: float
    high: float
    upper: float
    strong: float
    added: float
    control_added: float
    elsewhere: float
    q: float
    group: WindowGroup | None = None
    moved: Moved | None = None
    same: SameWindows | None = None


def transfer_evidence(store: Store, config: RankingConfig) -> dict[int, Carried]:
    """Label -> what its pasted windows say; empty where the run has none of the method it is ranked by.

    Raises:
        InputError: a part of the table cannot be used.
    """
    table = read_transfer(store)
    if table is None:
        return {}
    method = ranking_method(store.manifest, config)
    relevant = read_pasted(table, method)
    judged = judge_windows(relevant, read_pasted(table, method, Window.OTHER_PLACE), config)
    groups, moved = _looked_at(store, method, relevant)
    same = same_windows(store, relevant, {k: group.ids for k, group in groups.items()}, config.n_min)
    return {
        k: replace(own, group=groups.get(k), moved=moved.get(k), same=same.get(k))
        for k, own in judged.items()
    }


def _looked_at(
    store: Store, method: str, windows: Mapping[int, Pasted]
) -> tuple[dict[int, WindowGroup], dict[int, Moved]]:
    """By label the group of the ``windows`` that carries a class most, and what its best add elsewhere."""
    closer = read_windows(store)
    if closer is None:
        return {}, {}
    rows = read_rows(closer, method)
    return best_groups(rows, windows), moved_windows(rows)


def judge_windows(
    windows: Mapping[int, Pasted], elsewhere: Mapping[int, Pasted], config: RankingConfig
) -> dict[int, Carried]:
    """What the ``windows`` of every class say, by label; ``elsewhere``: windows of the same images at places
    where others are explained.

    A class *transfers* iff q <= ``config.level`` (the smaller of two p values, doubled) and the lower limit
    of the mean exceeds :data:`RELEVANT` or that of the share :data:`SHARE`; the share says nothing where its
    strong gains do not outnumber the strong losses. It is said that nothing is carried iff the one-sided
    upper limits lie below :data:`RELEVANT` and :data:`EXCLUDED_SHARE`.
    """
    labels = sorted(windows)
    if not labels:
        return {}
    gains = [windows[label].gain for label in labels]
    n = np.array([len(of_one) for of_one in gains])
    bounds = _bounds(gains)
    strong, lopsided = strong_gains(gains)
    share_low, share_high = _share_limits(strong, n)
    q = discovery_rates(p_values(gains, strong, lopsided), n >= config.n_min, config.fdr)
    shown = (bounds.low > RELEVANT) | ((share_low > SHARE) & lopsided)
    excluded = (bounds.ceiling < RELEVANT) & (share_high < EXCLUDED_SHARE) & (n >= config.n_min)
    said = np.select(
        [(q <= config.level) & shown, excluded],
        [Transferred.TRANSFERS, Transferred.NOTHING],
        default=Transferred.UNDECIDED,
    )
    return {
        label: _carried(
            windows[label],
            elsewhere.get(label),
            Transferred(said[i]),
            (bounds.low[i], bounds.high[i], float(q[i])),
        )
        for i, label in enumerate(labels)
    }


def strong_gains(gains: Sequence[Floats]) -> tuple[Ints, Flags]:
    """Per class the number of windows that gain more than :data:`STRONG`, and whether they outnumber those
    that lose as much by more than a fair coin would in 5 % of cases (one-sided sign test)."""
    strong = np.array([int((of_one > STRONG).sum()) for of_one in gains])
    lost = np.array([int((of_one < -STRONG).sum()) for of_one in gains])
    return strong, stats.binom.sf(strong - 1, strong + lost, 0.5) <= LEVEL


def p_values(gains: Sequence[Floats], strong: Ints, lopsided: Flags) -> Floats:
    """p (C,) that the mean gain exceeds :data:`RELEVANT` or the share of ``strong`` windows :data:`SHARE`:
    the smaller of the two, doubled (Bonferroni). The share is not asked where it is not ``lopsided``."""
    n = np.array([len(of_one) for of_one in gains])
    padded = np.full((len(gains), int(n.max())), np.nan)
    for i, of_one in enumerate(gains):
        padded[i, : len(of_one)] = of_one
    worst = expected_worst(padded[np.isfinite(padded)])
    of_mean = mean_exceeds(padded, RELEVANT, worst)
    of_share = np.where(lopsided, stats.binom.sf(strong - 1, n, SHARE), 1.0)
    return np.minimum(1.0, _DECIDING * np.minimum(of_mean, of_share))


@dataclass(frozen=True)
class _Bounds:
    """Limits of the mean gains, arrays (C,); ``ceiling``: one-sided."""

    low: Floats
    high: Floats
    ceiling: Floats


def _bounds(gains: Sequence[Floats]) -> _Bounds:
    """t intervals at half the level; a class's variance borrows 4 windows' worth of the pooled one (Smyth
    2004)."""
    n = np.array([len(of_one) for of_one in gains])
    mean = np.array([of_one.mean() for of_one in gains])
    variance = class_variances(np.concatenate(gains), np.concatenate([[0], np.cumsum(n)]))
    error = np.sqrt(variance / n)
    half = stats.t.ppf(1 - LEVEL / 2 / _DECIDING, PRIOR_DF + n - 1) * error
    return _Bounds(mean - half, mean + half, mean + stats.t.ppf(1 - LEVEL, PRIOR_DF + n - 1) * error)


def _share_limits(strong: Ints, n: Ints) -> tuple[Floats, Floats]:
    """Lower limit of an interval at half the level, and one-sided upper limit, of shares (C,)."""
    low = stats.beta.ppf(LEVEL / 2 / _DECIDING, strong, n - strong + 1)
    high = stats.beta.ppf(1 - LEVEL, strong + 1, n - strong)
    return np.where(strong > 0, low, 0.0), np.where(strong < n, high, 1.0)


def _carried(
    own: Pasted,
    elsewhere: Pasted | None,
    transferred: Transferred,
    limits: tuple[float, float, float],
) -> Carried:
    low, high, q = limits
    return Carried(
        n=own.n,
        pictures=int(own.recipients.sum()),
        beside=bool(own.beside.all()),
        transferred=transferred,
        mean=float(own.gain.mean()),
        low=float(low),
        high=float(high),
        upper=upper_part(own.odds) - upper_part(own.control_odds),
        strong=float((own.gain > STRONG).mean()),
        added=float(own.added.mean()),
        control_added=float(own.control_added.mean()),
        elsewhere=float(elsewhere.gain.mean()) if elsewhere is not None else float("nan"),
        q=q,
    )


def upper_part(values: Floats) -> float:
    """Mean of the best quarter of ``values``, of one at least."""
    best = np.sort(values)[-max(1, round(UPPER * len(values))) :]
    return float(best.mean())
