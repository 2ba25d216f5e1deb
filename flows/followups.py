"""What a run does after its ranking: strategies of the confirmed and suspected classes, and of those without
boxes, of which the maps say nothing else."""

from __future__ import annotations

from typing import Final

from pipeline.config_sections import StrategiesConfig
from pipeline.run.store import Store
from pipeline.statistics.ranking import Ranking
from pipeline.verdicts import ACCUSED

MOST_UNBOXED: Final = 20  # classes without boxes that are clustered: about a second each


def cluster_accused(run: Store, ranking: Ranking, config: StrategiesConfig) -> None:
    """Look for strategies in the first confirmed and suspected classes, where the run stores maps.

    Of the classes without boxes in all, up to :data:`MOST_UNBOXED`, those that the network gets wrong first.
    """
    table = ranking.table
    labels = table.loc[table["verdict"].isin(ACCUSED), "label"].head(config.classes).tolist()
    if config.classes:
        bare = table[table["n_boxed"] == 0].sort_values("accuracy", kind="stable")
        labels += bare["label"].head(MOST_UNBOXED).tolist()
    if labels and "maps" in run.tables:
        from pipeline.followup.strategies import cluster_run  # scikit-learn: only where it is needed

        cluster_run(run, labels, ranking)
