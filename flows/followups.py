"""What a run does after its ranking: strategies of the suspicious classes, interventions if asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.config import ConfirmConfig, StrategiesConfig
from pipeline.run.documents import ConfirmationDocument
from pipeline.run.store import Store
from pipeline.statistics.ranking import Ranking
from pipeline.verdicts import InterventionVerdict, MapVerdict

if TYPE_CHECKING:
    from pipeline.measure.bench import Bench


def follow_up(run: Store, ranking: Ranking, bench: Bench, fresh: bool) -> dict[str, list[str]]:
    """Look closer at the top of ``ranking``, as far as the configuration asks.

    ``bench``: of the run; ``fresh``: the run has new images, so that what was found before no longer holds.
    Returns the names of the classes by verdict of the interventions, clean ones left out; empty where none
    are asked for.
    """
    cluster_suspicious(run, ranking, bench.config.strategies)
    if bench.config.confirm is None:
        return {}
    confirm_once(run, ranking, bench, bench.config.confirm, fresh)
    return classes_by_verdict(run)


def cluster_suspicious(run: Store, ranking: Ranking, config: StrategiesConfig) -> None:
    """Look for strategies in the most suspicious classes, where the run stores maps."""
    suspicious = ranking.table.loc[ranking.table["map_verdict"] == MapVerdict.SUSPICIOUS, "label"]
    labels = suspicious.head(config.classes).tolist()
    if labels and "maps" in run.tables:
        from pipeline.followup.strategies import cluster_run  # scikit-learn: only where it is needed

        cluster_run(run, labels, ranking)


def confirm_once(run: Store, ranking: Ranking, bench: Bench, plan: ConfirmConfig, fresh: bool) -> None:
    """Intervene, unless that was done before: by the same plan and method, and no images are new."""
    from pipeline.followup.confirm import confirm

    stored = ConfirmationDocument.read(run)
    settings = (plan.model_dump(), ranking.method)
    if fresh or stored is None or (stored.plan, stored.method) != settings or stored.misfit(run):
        confirm(run, plan, ranking, bench)


def classes_by_verdict(run: Store) -> dict[str, list[str]]:
    """Verdict of the interventions -> names of the classes, clean ones left out."""
    stored = ConfirmationDocument.read(run)
    names: dict[str, list[str]] = {}
    for edited in stored.classes if stored else ():
        if edited.verdict != InterventionVerdict.CLEAN:
            names.setdefault(edited.verdict, []).append(edited.class_name)
    return names
