"""The summary of a ranking: counts, correlations with the trivial rankings, the curve of what is expected."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.columns import BASELINES, rank_column
from pipeline.config_sections import RankingConfig
from pipeline.run.documents import Curve, RankingSummary, sanity_failures
from pipeline.run.images import Images
from pipeline.run.inventory import ShardsSeen
from pipeline.run.store import Store
from pipeline.schema import STATUSES
from pipeline.statistics.adjust import Adjusted
from pipeline.statistics.arrays import Floats
from pipeline.statistics.class_evidence import ClassEvidence
from pipeline.statistics.resampling import rank_correlation
from pipeline.verdicts import MapVerdict, Verdict

CURVE_POINTS = 41


def summarise(
    store: Store, table: pd.DataFrame, images: Images, evidence: ClassEvidence, config: RankingConfig
) -> RankingSummary:
    """Counts and correlations of a ranking ``table``, JSON-ready."""
    failures = sanity_failures(store, images.method)
    codes = np.bincount(images.status[images.status >= 0], minlength=len(STATUSES))
    adjusted = evidence.adjusted
    own, trivial = _ranks(table)
    return {
        "verdicts": {v.value: int((table["verdict"] == v).sum()) for v in Verdict},
        "map_verdicts": {v.value: int((table["map_verdict"] == v).sum()) for v in MapVerdict},
        "n_classes": len(table),
        "n_classes_tested": int((evidence.n >= config.n_min).sum()),
        "n_images": len(images),
        "n_images_used": int(evidence.n.sum()),
        "n_outside": int((images.label < 0).sum()),
        "statuses": {s: int(k) for s, k in zip(STATUSES, codes, strict=True)},
        "accuracy": _share(int(images.correct.sum()), int(images.predicted.sum())),
        "correlations": {name: rank_correlation(own, r) for name, r in trivial.items()},
        "ratio_correlations": {
            name: rank_correlation(trivial["ratio"], r) for name, r in trivial.items() if name != "ratio"
        },
        "tau": evidence.relative.tau,
        "scale": None if adjusted is None else adjusted.fit.scale,
        "expected": None if adjusted is None else expected_curve(adjusted, evidence.area),
        "absolute_test": evidence.absolute is not None,
        "method_marks": None if failures is None else list(failures),
        "n_shards": ShardsSeen.of(store).n,
        "config": config.model_dump(mode="json"),
    }


def _ranks(table: pd.DataFrame) -> tuple[Floats, dict[str, Floats]]:
    """Place of every class by adjusted lift, nan where that is undefined, and in each trivial ranking."""
    own = table["rank"].where(table["adjusted_lift"].notna()).to_numpy(dtype=float)
    trivial = {name: table[rank_column(name)].to_numpy(dtype=float, na_value=np.nan) for name in BASELINES}
    return own, trivial


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def expected_curve(adjusted: Adjusted, area: Floats) -> Curve:
    """The curve of all images, over the range of ``area``, at their median distance from the centre."""
    z = np.linspace(stats.logistic.ppf(area.min()), stats.logistic.ppf(area.max()), CURVE_POINTS)
    distance = np.full(len(z), adjusted.median_distance)
    lift = adjusted.basis.design(z, distance) @ adjusted.fit.beta
    return {"box_area": stats.logistic.cdf(z).tolist(), "lift": lift.tolist()}
