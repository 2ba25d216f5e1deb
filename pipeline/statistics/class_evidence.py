"""The evidence about every class of a run: adjusted lift, shrinkage, interval, both tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config import RankingConfig
from pipeline.run.images import Images
from pipeline.run.store import Store
from pipeline.statistics import resampling
from pipeline.statistics.absolute import Absolute, Used, absolute_test
from pipeline.statistics.adjust import Adjusted, adjust
from pipeline.statistics.arrays import Floats, Ints
from pipeline.statistics.permutation import area_strata, relative_p

ROUNDS = 5
NEGLIGIBLE = 0.01  # share of the images; fewer cannot move the null


@dataclass(frozen=True)
class ClassEvidence:
    """The statistics of the classes that have ranked images; arrays (C,) in order of the label.

    Without a second class there is nothing to compare with: all but ``absolute`` is nan, ``adjusted`` None.
    """

    label: Ints
    n: Ints
    mean: Floats
    shrunk: Floats
    low: Floats
    high: Floats
    variance: Floats
    p_relative: Floats
    tau: float
    area: Floats  # of every ranked image
    adjusted: Adjusted | None
    absolute: Absolute | None
    images: pd.DataFrame

    @classmethod
    def of(cls, images: Images, rows: Ints, store: Store, config: RankingConfig) -> ClassEvidence:
        """Adjust, resample and test the images at ``rows`` (sorted by label)."""
        label, first, n = np.unique(images.label[rows], return_index=True, return_counts=True)
        bounds = np.concatenate([first, [len(rows)]]).astype(np.int64)
        lift = images.scores["lift"][rows]
        area, distance = images.area[rows].astype(float), images.distance[rows].astype(float)
        used = Used(images.index[rows], np.repeat(np.arange(len(label)), n), area, len(label))
        absolute = absolute_test(store, images.method, used, config)
        frame = pd.DataFrame({"index": used.index, "label": images.label[rows], "lift": lift})
        if len(label) < 2:
            nothing = np.full(len(label), np.nan)
            return cls(
                label=label,
                n=n,
                mean=nothing,
                shrunk=nothing,
                low=nothing,
                high=nothing,
                variance=nothing,
                p_relative=nothing,
                tau=0.0,
                area=area,
                adjusted=None,
                absolute=absolute,
                images=frame.assign(expected=np.nan, adjusted_lift=np.nan),
            )
        adjusted = adjust(lift, area, distance, bounds)
        estimates = estimate(adjusted, bounds, config)
        return cls(
            label=label,
            n=n,
            **estimates,
            p_relative=relative(adjusted, area, bounds, estimates["high"], config),
            area=area,
            adjusted=adjusted,
            absolute=absolute,
            images=frame.assign(expected=lift - adjusted.residual, adjusted_lift=adjusted.residual),
        )


def estimate(adjusted: Adjusted, bounds: Ints, config: RankingConfig) -> dict[str, Any]:
    """Class mean, shrunken mean, interval and variance of one image.

    The uncertainty of the curve is part of the standard error, and stretches the interval: with few classes
    the curve is no better known than a class mean. The shrunken mean never leaves the interval.
    """
    n = np.diff(bounds)
    mean = resampling.class_means(adjusted.residual, bounds)
    variance = resampling.class_variances(adjusted.residual, bounds)
    error = np.sqrt(variance / n + adjusted.curve_variance)
    tau2 = resampling.between_variance(mean, error)
    low, high = resampling.bca_intervals(adjusted.residual, bounds, config.draws, config.seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        wider = np.sqrt(1 + adjusted.curve_variance * n / variance)
    low, high = resampling.widen(low, high, mean, wider)
    shrunk = np.fmin(np.fmax(resampling.shrink(mean, error, tau2), low), high)
    return {
        "mean": mean,
        "shrunk": shrunk,
        "low": low,
        "high": high,
        "variance": variance,
        "tau": float(np.sqrt(tau2)),
    }


def relative(adjusted: Adjusted, area: Floats, bounds: Ints, high: Floats, config: RankingConfig) -> Floats:
    """p of the relative test (C,), stepping down.

    "Comparable images" should not include those of classes that are suspicious themselves: three planted
    classes among twelve would hide one another. Classes that are rejected (q <= level, interval below 0)
    leave the null, keep their p, and the others are tested again among themselves, until nothing changes.
    Where no class differs, the first round decides, and its error rate is the whole procedure's.
    """
    active = np.arange(len(bounds) - 1)
    sizes = np.diff(bounds)
    p = np.full(len(active), np.nan)
    for _ in range(ROUNDS):
        rows = np.concatenate([np.arange(bounds[c], bounds[c + 1]) for c in active])
        edges = np.concatenate([[0], np.cumsum(sizes[active])])
        p[active] = relative_p(
            adjusted.pooled[rows], edges, area_strata(area[rows]), config.draws, config.seed
        )
        q = resampling.discovery_rates(p, sizes >= config.n_min, config.fdr)
        rest = active[~((q[active] <= config.level) & (high[active] < 0))]
        leaving = sizes[active].sum() - sizes[rest].sum()
        if leaving <= NEGLIGIBLE * len(rows) or len(rest) < 2:
            break
        active = rest
    return p
