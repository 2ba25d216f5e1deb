"""From the stored scores of a run to a ranking of its classes, most suspicious first.

``rank(folder)`` reads tables only; images and TensorFlow are never needed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from pipeline.columns import BASELINES, RANKING, rank_column
from pipeline.config_sections import RankingConfig
from pipeline.csv_text import csv_line
from pipeline.run.documents import (
    RankedClass,
    RankingDocument,
    RankingSummary,
    ShardsSeen,
    records,
    sanity_failures,
)
from pipeline.run.documents.ranking import reference_hash
from pipeline.run.edited import edited_hash
from pipeline.run.folder import SCHEMA_VERSION
from pipeline.run.images import Images, read_images
from pipeline.run.ranking_settings import own_settings, ranking_method, read_settings
from pipeline.run.store import Store
from pipeline.statistics.arrays import Flags, Floats, Ints
from pipeline.statistics.class_evidence import ClassEvidence
from pipeline.statistics.decision import map_verdicts
from pipeline.statistics.describe import describe
from pipeline.statistics.earlier import earlier_evidence
from pipeline.statistics.effects import Evidence, Judgement
from pipeline.statistics.effects import evidence as edited_evidence
from pipeline.statistics.findings import with_findings
from pipeline.statistics.reference_columns import with_reference
from pipeline.statistics.resampling import discovery_rates, images_needed
from pipeline.statistics.summary import summarise
from pipeline.statistics.transfer import Carried, transfer_evidence
from pipeline.statistics.verdict import edited_summary, transfer_summary, with_verdicts
from pipeline.verdicts import MapVerdict


@dataclass(frozen=True)
class Ranking:
    """The ranked classes of a run.

    Attributes:
        table: one row per class that has images, most suspicious first; columns: :mod:`pipeline.columns`.
        images: one row per ranked image: index in the split, label, lift, expected, adjusted lift.
        method: key of the explanation method.
        summary: counts per verdict, rank correlations with the trivial baselines, numbers of images.
        edits: what the edited images of the run showed; None where there are none.
        carried: what the pasted windows of each class showed that has some, by label.
        run_id, shards, edited: what it is a ranking of: the run, the shards that were finished, and a hash of
            what the network said to edited images (:mod:`pipeline.run.edited`); likewise ``reference``.
    """

    table: pd.DataFrame
    images: pd.DataFrame
    method: str
    summary: RankingSummary
    edits: Evidence | None
    carried: Mapping[int, Carried]
    run_id: str
    shards: ShardsSeen
    edited: str | None
    reference: str | None = None

    @property
    def judgements(self) -> Mapping[int, Judgement]:
        """What the edited images showed of each class that has some, by label."""
        return self.edits.judgements if self.edits else {}

    @property
    def settings(self) -> RankingConfig:
        """What it was made with."""
        return read_settings(self.summary["config"], "ranking")

    def places(self, index: Ints) -> Ints:
        """Where in ``images`` the images at ``index`` (n,) in the split are; -1 where they are not ranked."""
        ranked = self.images["index"].to_numpy()
        if len(ranked) == 0:
            return np.full(len(index), -1)
        order = np.argsort(ranked, kind="stable")
        place = np.searchsorted(ranked, index, sorter=order)
        place = order[np.minimum(place, len(order) - 1)]
        return np.where(ranked[place] == index, place, -1)

    def adjusted_lift(self, index: Ints) -> Floats:
        """Adjusted lift of the images at ``index`` (n,) in the split; nan where they are not ranked."""
        place = self.places(index)
        lift = np.full(len(index), np.nan)
        lift[place >= 0] = self.images["adjusted_lift"].to_numpy()[place[place >= 0]]
        return lift

    def csv(self) -> str:
        """The table as text; undefined values are empty."""
        rows = self.table.astype(object).where(self.table.notna(), None).itertuples(index=False)
        return "".join([csv_line(self.table.columns), *map(csv_line, rows)])

    def document(self) -> RankingDocument:
        """The ranking as a run folder stores it; undefined values are null."""
        return RankingDocument(
            schema_version=SCHEMA_VERSION,
            run_id=self.run_id,
            method=self.method,
            shards=self.shards,
            edited=self.edited,
            reference=self.reference,
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
    images = read_images(store, ranking_method(manifest, config))
    used = ranked_images(images, config)
    evidence = ClassEvidence.of(images, np.flatnonzero(used), store, config)
    by_maps = class_table(describe(images, used, manifest["dataset"]), evidence, config)
    edits = edited_evidence(store, config) or earlier_evidence(store)
    maps_hold = not sanity_failures(store, images.method)
    by_maps, outliers = with_reference(by_maps, store, images, np.flatnonzero(used), config)
    carried = transfer_evidence(store, config)
    judged = edits.judgements if edits else {}
    table = with_verdicts(by_maps, judged, maps_hold, outliers, carried)
    table = with_findings(table, store, carried, manifest)[list(RANKING)]
    counts = summarise(store, table, images, evidence, config)
    return Ranking(
        table=table,
        images=evidence.images,
        method=images.method,
        summary=cast(RankingSummary, counts | edited_summary(edits) | transfer_summary(carried)),
        edits=edits,
        carried=carried,
        run_id=manifest["run_id"],
        shards=ShardsSeen.of(store),
        edited=edited_hash(store),
        reference=reference_hash(store),
    )


def ranked_images(images: Images, config: RankingConfig) -> Flags:
    """Which images count: those with a defined localisation and a known class; see ``config.images``."""
    used = images.ok & (images.label >= 0)
    return used & images.correct if config.images == "correct" else used


def class_table(described: pd.DataFrame, evidence: ClassEvidence, config: RankingConfig) -> pd.DataFrame:
    """A row per class of ``described`` with the evidence of its heat maps and what they say."""
    position = np.searchsorted(described["label"], evidence.label)
    columns = evidence_columns(evidence, config)
    table = described.assign(
        **{name: _spread(values, position, len(described)) for name, values in columns.items()}
    )
    table["map_verdict"] = map_verdicts(table, config)
    variance = _spread(evidence.relative.variance, position, len(described))
    table["n_needed"] = needed_images(table, variance, config)
    for name, column in BASELINES.items():  # 1 = lowest; ties share the lower place
        table[rank_column(name)] = table[column].rank(method="min").astype("Int64")
    return table


def evidence_columns(evidence: ClassEvidence, config: RankingConfig) -> dict[str, Floats]:
    """Column -> values (C,) of the classes that have ranked images."""

    def q(p: Floats, n: Ints) -> Floats:
        return discovery_rates(p, n >= config.n_min, config.fdr)

    relative, absolute, undefined = evidence.relative, evidence.absolute, np.full(len(evidence.label), np.nan)
    return {
        "adjusted_lift": relative.shrunk,
        "adjusted_lift_raw": relative.mean,
        "adjusted_lift_lower": evidence.lower_lifts(),
        "low": relative.low,
        "high": relative.high,
        "p_relative": relative.p,
        "q_relative": q(relative.p, evidence.n),
        "p_absolute": undefined if absolute is None else absolute.p,
        "p_exchange": undefined if absolute is None else absolute.p_exchange,
        "p_shift": undefined if absolute is None else absolute.p_shift,
        "q_absolute": undefined if absolute is None else q(absolute.p, absolute.n_maps),
        "power_absolute": undefined if absolute is None else absolute.power,
    }


def _spread(values: Floats, position: Ints, length: int) -> Floats:
    """``values`` at their ``position`` among ``length`` classes; nan elsewhere."""
    full = np.full(length, np.nan)
    full[position] = values
    return full


def needed_images(
    table: pd.DataFrame, variance: Floats, config: RankingConfig
) -> pd.api.extensions.ExtensionArray:
    """Images a class needs for a statement; null where it has enough or nothing is known of the spread.

    A class that surely lies below the limit, though no lower than classes of this run differ, has enough.
    ``variance`` (C,) of one image; a class of which none is known is taken to be a typical one.
    """
    typical = np.nanmedian(variance) if np.isfinite(variance).any() else np.nan
    variance = np.where(np.isfinite(variance), variance, typical)
    undecided = (table["map_verdict"] == MapVerdict.UNDECIDED).to_numpy() & np.isfinite(variance)
    needed = images_needed(np.nan_to_num(variance), config.n_min, config.relevant_effect, config.level)
    needed = np.maximum(needed, table["n"].to_numpy() + 1)
    undecided &= ~(table["high"] < config.relevant_effect).to_numpy()
    return pd.arrays.IntegerArray(np.where(undecided, needed, 0), ~undecided)
