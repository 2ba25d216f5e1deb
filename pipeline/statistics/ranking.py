"""From the stored scores of a run to a ranking of its classes, most suspicious first.

``rank(folder)`` reads tables only; images and TensorFlow are never needed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from pipeline.columns import BASELINES, RANKING, rank_column
from pipeline.config import RankingConfig
from pipeline.run.documents import (
    Curve,
    RankedClass,
    RankingDocument,
    RankingSummary,
    ShardsSeen,
    records,
    sanity_failures,
)
from pipeline.run.folder import SCHEMA_VERSION
from pipeline.run.images import Images, read_images
from pipeline.run.ranking_settings import own_settings, ranking_method, read_settings
from pipeline.run.store import Store
from pipeline.schema import STATUSES
from pipeline.statistics import resampling
from pipeline.statistics.class_evidence import ClassEvidence
from pipeline.statistics.describe import describe
from pipeline.verdicts import RankingVerdict

POWER = 0.95  # of the absolute test, for "there is power to": not finding the object must be no accident

Floats = NDArray[Any]


@dataclass(frozen=True)
class Ranking:
    """The ranked classes of a run.

    Attributes:
        table: one row per class that has images, most suspicious first; columns: :mod:`pipeline.columns`.
        images: one row per ranked image: index in the split, label, lift, expected, adjusted lift.
        method: key of the explanation method.
        summary: counts per verdict, rank correlations with the trivial baselines, numbers of images.
        run_id, shards: what it is a ranking of: the run, and the shards that were finished.
    """

    table: pd.DataFrame
    images: pd.DataFrame
    method: str
    summary: RankingSummary
    run_id: str
    shards: ShardsSeen

    @property
    def settings(self) -> RankingConfig:
        """What it was made with."""
        return read_settings(self.summary["config"], "ranking")

    def to_csv(self, path: str | Path) -> None:
        """Write the table; undefined values are empty."""
        Path(path).write_text(self.csv(), encoding="utf-8", newline="")

    def csv(self) -> str:
        """What :meth:`to_csv` writes."""
        return self.table.to_csv(index=False, float_format="%.8g", lineterminator="\n")

    def to_json(self, path: str | Path) -> None:
        """Write it as a run folder stores it; undefined values are null."""
        Path(path).write_text(self.json(), encoding="utf-8")

    def json(self) -> str:
        """What :meth:`to_json` writes."""
        return self.document().text()

    def document(self) -> RankingDocument:
        """The ranking as it is stored."""
        return RankingDocument(
            schema_version=SCHEMA_VERSION,
            run_id=self.run_id,
            method=self.method,
            shards=self.shards,
            summary=self.summary,
            classes=cast(list[RankedClass], records(self.table)),
        )


def rank(store: Store | str | Path, config: RankingConfig | None = None) -> Ranking:
    """Rank the classes of a run by adjusted lift, with both tests, intervals, verdicts and baselines.

    ``config``: the run's own settings if None. Only finished shards count. Seeds are fixed by
    ``config.seed``; neither the order nor the size of the shards changes a number.

    Raises:
        InputError: not a run folder, no scores of the method (the known ones are named), parts that disagree.
    """
    store = store if isinstance(store, Store) else Store(store)
    manifest = store.manifest
    config = config or own_settings(manifest)
    method = ranking_method(manifest, config)
    images = read_images(store, method)
    used = images.ok & (images.label >= 0)
    if config.images == "correct":
        used &= images.correct
    table = describe(images, used, manifest["dataset"])
    found = ClassEvidence.of(images, np.flatnonzero(used), store, config)
    _fill(table, found, config)
    table["verdict"] = verdicts(table, config)
    _needed(table, found, config)
    _baselines(table)
    order = table["verdict"].map(list(RankingVerdict).index)
    table = (
        table.assign(order=order)
        .sort_values(["order", "adjusted_lift", "adjusted_lift_raw", "label"], kind="stable")
        .drop(columns="order")
        .reset_index(drop=True)
    )
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return Ranking(
        table[list(RANKING)],
        found.images,
        method,
        _summary(store, table, images, found, config),
        manifest["run_id"],
        ShardsSeen.of(store.done),
    )


_ABSOLUTE = ("p_absolute", "p_exchange", "p_shift", "q_absolute", "power_absolute")


def _fill(table: pd.DataFrame, found: ClassEvidence, config: RankingConfig) -> None:
    """Put the evidence into the rows of its classes; others stay undefined."""
    tested = found.n >= config.n_min
    columns = {
        "adjusted_lift": found.shrunk,
        "adjusted_lift_raw": found.mean,
        "low": found.low,
        "high": found.high,
        "p_relative": found.p_relative,
        "q_relative": resampling.discovery_rates(found.p_relative, tested, config.fdr),
    }
    undefined = np.full(len(found.label), np.nan)
    columns |= dict.fromkeys(_ABSOLUTE, undefined)
    if found.absolute is not None:
        p, tested = found.absolute.p, found.absolute.n_maps >= config.n_min
        q = resampling.discovery_rates(p, tested, config.fdr)
        both = (found.absolute.p_exchange, found.absolute.p_shift)
        columns |= dict(zip(_ABSOLUTE, (p, *both, q, found.absolute.power), strict=True))
    position = np.searchsorted(table["label"], found.label)
    for name, values in columns.items():
        full = np.full(len(table), np.nan)
        full[position] = values
        table[name] = full


def verdicts(table: pd.DataFrame, config: RankingConfig) -> NDArray[Any]:
    """The first that applies, in this order (MATHS section 6.3).

    suspicious: relative q <= level, the interval lies below 0, and n >= n_min.
    unfocused: absolute q > level although a relevant lift would have been seen with probability >= 0.95.
    undecided: n < n_min, or neither 0 nor a relevant effect is excluded. An interval below 0 whose q is above
    the level counts as not excluding 0: allowing for the number of classes, it does not.
    """
    enough = (table["n"] >= config.n_min) & table["low"].notna()
    suspicious = enough & (table["q_relative"] <= config.level) & (table["high"] < 0)
    unfocused = (table["q_absolute"] > config.level) & (table["power_absolute"] >= POWER)
    undecided = ~enough | (table["low"] <= config.relevant_effect)
    choices = [RankingVerdict.SUSPICIOUS, RankingVerdict.UNFOCUSED, RankingVerdict.UNDECIDED]
    return np.select([suspicious, unfocused, undecided], choices, default=RankingVerdict.UNREMARKABLE)


def _needed(table: pd.DataFrame, found: ClassEvidence, config: RankingConfig) -> None:
    """Images a class needs for a statement; null where it has enough or nothing is known of the spread."""
    typical = np.nanmedian(found.variance) if np.isfinite(found.variance).any() else np.nan
    variance = np.full(len(table), typical)
    position = np.searchsorted(table["label"], found.label)
    variance[position] = np.where(np.isfinite(found.variance), found.variance, typical)
    undecided = (table["verdict"] == RankingVerdict.UNDECIDED).to_numpy() & np.isfinite(variance)
    needed = resampling.images_needed(np.nan_to_num(variance), config.n_min, config.relevant_effect)
    needed = np.maximum(needed, table["n"].to_numpy() + 1)
    table["n_needed"] = pd.array(np.where(undecided, needed, 0), dtype="Int64")
    table.loc[~undecided, "n_needed"] = pd.NA


def _baselines(table: pd.DataFrame) -> None:
    """Rank by the chapter's ratio and by the trivial baselines: 1 = lowest; ties share the lower rank."""
    for name, column in BASELINES.items():
        table[rank_column(name)] = table[column].rank(method="min").astype("Int64")


def _summary(
    store: Store, table: pd.DataFrame, images: Images, found: ClassEvidence, config: RankingConfig
) -> RankingSummary:
    """Counts and correlations, JSON-ready."""
    failures = sanity_failures(store, images.method)
    own = table["rank"].where(table["adjusted_lift"].notna()).to_numpy(dtype=float)
    ranks = {name: table[rank_column(name)].to_numpy(dtype=float, na_value=np.nan) for name in BASELINES}
    codes = np.bincount(images.status[images.status >= 0], minlength=len(STATUSES))
    return {
        "verdicts": {v.value: int((table["verdict"] == v).sum()) for v in RankingVerdict},
        "n_classes": len(table),
        "n_classes_tested": int((found.n >= config.n_min).sum()),
        "n_images": len(images),
        "n_images_used": int(found.n.sum()),
        "n_outside": int((images.label < 0).sum()),
        "statuses": {s: int(k) for s, k in zip(STATUSES, codes, strict=True)},
        "accuracy": _share(int(images.correct.sum()), int(images.predicted.sum())),
        "correlations": {name: resampling.rank_correlation(own, r) for name, r in ranks.items()},
        "ratio_correlations": {
            name: resampling.rank_correlation(ranks["ratio"], r)
            for name, r in ranks.items()
            if name != "ratio"
        },
        "tau": found.tau,
        "scale": None if found.adjusted is None else found.adjusted.fit.scale,
        "expected": _expected(found),
        "absolute_test": found.absolute is not None,
        "method_marks": None if failures is None else list(failures),
        "n_shards": len(store.done),
        "config": config.model_dump(mode="json"),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _expected(found: ClassEvidence) -> Curve | None:
    """The curve of all images at their median distance from the centre, for pictures."""
    if found.adjusted is None:
        return None
    area = found.area
    z = np.linspace(stats.logistic.ppf(area.min()), stats.logistic.ppf(area.max()), 41)
    distance = np.full(len(z), found.adjusted.median_distance)
    lift = found.adjusted.basis.design(z, distance) @ found.adjusted.fit.beta
    return {"box_area": stats.logistic.cdf(z).tolist(), "lift": lift.tolist()}
