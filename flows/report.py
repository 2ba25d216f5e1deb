"""Ranking and report of a run folder: tables in, files out. Never loads TensorFlow."""

from __future__ import annotations

from typing import Any

from pipeline.config import RankingConfig
from pipeline.run.documents import records
from pipeline.run.store import Store
from pipeline.statistics.ranking import Ranking, rank
from pipeline.verdicts import RankingVerdict
from reports.page.headline import sentence, tally

_ARTIFACT_ROWS = 100
_ARTIFACT_COLUMNS = (
    "rank",
    "class_name",
    "n",
    "accuracy",
    "ratio",
    "adjusted_lift",
    "low",
    "high",
    "verdict",
)


def rank_run(run: str, config: RankingConfig) -> Ranking:
    """Rank the classes of a run and write ``ranking.csv`` and ``ranking.json`` into it."""
    store = Store(run)
    ranking = rank(store, config)
    store.files.put("ranking.csv", ranking.csv().encode())
    store.files.put("ranking.json", ranking.json().encode())
    return ranking


def write_report_file(run: str, ranking: Ranking, out: str | None = None) -> str:
    """Write the self-contained HTML report; returns its path."""
    from reports.page.html import write_report

    path = str(write_report(run, ranking, out))
    return path if out is not None or "://" not in run else f"{run.rstrip('/')}/report.html"


def stored_config(run: str) -> RankingConfig:
    """The ranking settings that the run was made with."""
    return RankingConfig.model_validate(Store(run).manifest["config"].get("ranking", {}))


def ranking_rows(ranking: Ranking) -> list[dict[str, Any]]:
    """The head of the ranking as plain values, for a table artifact."""
    head = ranking.table.head(_ARTIFACT_ROWS)
    return records(head[list(_ARTIFACT_COLUMNS)])


def verdict_markdown(about: str, ranking: Ranking) -> str:
    """The headline of a run in Markdown."""
    suspicious = ranking.table[ranking.table["verdict"] == RankingVerdict.SUSPICIOUS]
    counts = tally(ranking.table)
    lines = [f"# {about}", "", sentence(counts), ""]
    if marks := ranking.summary["method_marks"]:
        lines += [f"**Caution**: the maps of {ranking.method} are {' and '.join(marks)}.", ""]
    lines += [f"- **{name}**: {count} classes" for name, count in counts.items() if count]
    if len(suspicious):
        lines += ["", "| rank | class | adjusted lift | 95 % interval |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {row['rank']} | {_cell(row['class_name'])} | {row['adjusted_lift']:.2f} "
            f"| {row['low']:.2f} to {row['high']:.2f} |"
            for _, row in suspicious.iterrows()
        ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
