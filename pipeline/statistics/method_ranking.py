"""Which explanation method describes this model best: methods ranked by their perturbation curves.

All from the stored tables. Comparisons are paired: only images for which every method has a value count, and
intervals are of per-image differences, so what makes an image easy or hard for all methods cancels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.config_sections import MethodConfig
from pipeline.errors import InputError
from pipeline.measure.curve_metrics import CURVE_METRICS
from pipeline.run.documents import MethodsDocument, RankedMethod, SanityDocument, records
from pipeline.run.scores import read_scores
from pipeline.run.store import Store
from pipeline.statistics.resampling import bca_intervals

DRAWS = 2000


@dataclass(frozen=True)
class MethodRanking:
    """Methods, best first.

    Attributes:
        table: rank, method, mean, low, high (95 % BCa interval of the mean over images), and behind,
            behind_low,
            behind_high: how far it is behind the best (paired; 0 for the best), tied: that interval holds 0,
            insensitive: the sanity check of the run says that its maps do not depend on the weights.
        metric: what they are ranked by; n: images that count; left_out: images without a value for some
            method.
    """

    table: pd.DataFrame
    metric: str
    n: int
    left_out: int


def rank_methods(run: Store, metric: str = "aopc_gap", seed: int = 0) -> MethodRanking:
    """Rank the methods of a run by a metric of their curves and store what came out.

    Raises :class:`InputError` for an unknown metric, a run without curves, or no image that all methods
    share.
    """
    if metric not in CURVE_METRICS:
        raise InputError(f"metric {metric!r} is no metric of a curve; valid: {', '.join(CURVE_METRICS)}")
    wide = _values(run, metric)
    whole = wide.dropna()
    if whole.empty:
        raise InputError(
            f"{run.path}: no image has {metric!r} for every method; run the audit with a [perturbation] "
            f"section (its orders must hold {' and '.join(CURVE_METRICS[metric].orders)}), or choose another "
            "metric"
        )
    sign = CURVE_METRICS[metric].sign
    best = str((sign * whole.mean()).idxmax())
    behind = sign * (whole[[best]].to_numpy() - whole.to_numpy())
    insensitive = _insensitive(run)
    rows = []
    for column, method in enumerate(whole.columns):
        low, high = _interval(whole.to_numpy()[:, column], seed)
        less, more = _interval(behind[:, column], seed) if method != best else (0.0, 0.0)
        rows.append(
            {
                "method": method,
                "mean": float(whole[method].mean()),
                "low": low,
                "high": high,
                "behind": float(behind[:, column].mean()),
                "behind_low": less,
                "behind_high": more,
                "tied": bool(method == best or not less > 0),
                "insensitive": method in insensitive,
            }
        )
    table = pd.DataFrame(rows).sort_values(["behind", "method"], kind="stable").reset_index(drop=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    result = MethodRanking(table, metric, len(whole), len(wide) - len(whole))
    methods = tuple(RankedMethod(**row) for row in records(table))
    MethodsDocument(metric, result.n, result.left_out, methods).write(run)
    return result


def _insensitive(run: Store) -> frozenset[str]:
    """The methods whose maps do not depend on the weights, as far as the run checked them."""
    checks = SanityDocument.read(run)
    return frozenset(m.method for m in checks.methods if m.insensitive) if checks else frozenset()


def _values(run: Store, metric: str) -> pd.DataFrame:
    """A row per image that has the metric stored, a column per method that has it; nan where undefined."""
    methods = sorted(MethodConfig.model_validate(m).key for m in run.manifest["config"]["methods"])
    scores = read_scores(run, (), [(method, metric) for method in methods])
    there = [(method, metric) in scores.names for method in methods]
    values = scores.values[scores.stored.any(axis=1)][:, there]
    return pd.DataFrame(values, columns=[m for m, is_there in zip(methods, there, strict=True) if is_there])


def _interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    low, high = bca_intervals(values, np.array([0, len(values)]), DRAWS, seed)
    return float(low[0]), float(high[0])
