"""What a run does after its ranking: strategies of the suspicious classes."""

from __future__ import annotations

from pipeline.config import StrategiesConfig
from pipeline.run.store import Store
from pipeline.statistics.ranking import Ranking
from pipeline.verdicts import MapVerdict


def cluster_suspicious(run: Store, ranking: Ranking, config: StrategiesConfig) -> None:
    """Look for strategies in the most suspicious classes, where the run stores maps."""
    suspicious = ranking.table.loc[ranking.table["map_verdict"] == MapVerdict.SUSPICIOUS, "label"]
    labels = suspicious.head(config.classes).tolist()
    if labels and "maps" in run.tables:
        from pipeline.followup.strategies import cluster_run  # scikit-learn: only where it is needed

        cluster_run(run, labels, ranking)
