"""What a run does after its ranking: strategies of the suspicious classes, interventions if asked for."""

from __future__ import annotations

from dataclasses import asdict

from pipeline.config import Config
from pipeline.run.documents import ConfirmationDocument
from pipeline.run.store import Store
from pipeline.statistics.ranking import Ranking
from pipeline.verdicts import InterventionVerdict, RankingVerdict


def follow_up(store: Store, config: Config, ranking: Ranking, fresh: bool) -> dict[str, list[str]]:
    """Look closer at the top of ``ranking``; the report then shows what came out.

    ``fresh``: the run has new images, so that what was found before no longer holds. Returns the names of the
    classes by verdict of the interventions, clean ones left out; empty where none are asked for.
    """
    _strategies(store, config, ranking)
    if config.confirm is None:
        return {}
    from pipeline.followup.confirm import Plan, confirm

    plan = Plan(**config.confirm.model_dump())
    stored = ConfirmationDocument.read(store)
    if fresh or stored is None or stored.plan != asdict(plan):
        confirm(store, plan)
        stored = ConfirmationDocument.read(store)
    names: dict[str, list[str]] = {}
    for edited in stored.classes if stored else ():
        if edited.verdict != InterventionVerdict.CLEAN:
            names.setdefault(edited.verdict, []).append(edited.class_name)
    return names


def _strategies(store: Store, config: Config, ranking: Ranking) -> None:
    suspicious = ranking.table.loc[ranking.table["verdict"] == RankingVerdict.SUSPICIOUS, "label"]
    labels = suspicious.head(config.strategies.classes).tolist()
    if labels and "maps" in store.tables:
        from pipeline.followup.strategies import cluster_run  # scikit-learn: only where it is needed

        cluster_run(store, labels, ranking.method)
