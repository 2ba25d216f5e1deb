"""What a run does after its ranking: strategies of the confirmed and suspected classes."""

from __future__ import annotations

from pipeline.config import StrategiesConfig
from pipeline.run.store import Store
from pipeline.statistics.ranking import Ranking
from pipeline.verdicts import ACCUSED


def cluster_accused(run: Store, ranking: Ranking, config: StrategiesConfig) -> None:
    """Look for strategies in the first confirmed and suspected classes, where the run stores maps."""
    accused = ranking.table.loc[ranking.table["verdict"].isin(ACCUSED), "label"]
    labels = accused.head(config.classes).tolist()
    if labels and "maps" in run.tables:
        from pipeline.followup.strategies import cluster_run  # scikit-learn: only where it is needed

        cluster_run(run, labels, ranking)
