"""Ranking and report of a run folder: tables in, files out. Never loads TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flows.beside import read_beside
from pipeline.config_sections import RankingConfig
from pipeline.run.documents import GroupsDocument, PropertiesDocument, records
from pipeline.run.folder import RankingFiles, RunFolder
from pipeline.run.ranking_settings import own_settings, ranking_files, read_settings
from pipeline.run.store import Store
from pipeline.statistics.groups import group_statistics, image_effects
from pipeline.statistics.properties import check_properties
from pipeline.statistics.ranking import Ranking, rank
from pipeline.statistics.triage import triage
from pipeline.verdicts import ACCUSED
from reports.gate.markdown import cell
from reports.page.headline import count_unboxed, sentence, tally

if TYPE_CHECKING:
    from reports.page.data import Beside

_ARTIFACT_ROWS = 100
_ARTIFACT_COLUMNS = (
    "rank",
    "class_name",
    "n",
    "accuracy",
    "verdict",
    "map_verdict",
    "effect",
    "effect_low",
    "effect_high",
    "adjusted_lift",
    "low",
    "high",
)


def rank_run(run: str, config: RankingConfig | None = None) -> Ranking:
    """Rank the classes of a run and write table and document into it (:func:`files_of` says where).

    Beside the run's own ranking, the same for its groups, and the images whose label or box may be wrong;
    and the property check, where there is none yet.

    ``config``: the run's own settings if None.
    """
    store = Store(run)
    settings = config or own_settings(store.manifest)
    if PropertiesDocument.current(store) is None and (told := check_properties(store, settings)):
        told.write(store)  # before the ranking, whose findings say it
    ranking = rank(store, settings)
    files = files_of(store, ranking)
    store.files.put(files.table, ranking.csv().encode())
    ranking.document().write(store, files.document, files.table)
    if files == RankingFiles() and (groups := _groups(store, ranking)) is not None:
        store.files.put(groups.TABLE, groups.csv().encode())
        groups.write(store)
    if files == RankingFiles():
        candidates = triage(store, ranking)
        store.files.put(candidates.document.TABLE, candidates.csv.encode())
        candidates.document.write(store)
    return ranking


def _groups(store: Store, ranking: Ranking) -> GroupsDocument | None:
    return group_statistics(store, ranking, image_effects(store))


def files_of(run: RunFolder, ranking: Ranking) -> RankingFiles:
    """Names of a ranking's files in its run: one by other settings than the run's own lies beside its own."""
    return ranking_files(run.manifest, ranking.settings)


def write_report_file(
    run: str, ranking: Ranking, out: str | None = None, beside: Beside | None = None
) -> str:
    """Write the self-contained HTML report; returns its path.

    ``beside``: what it shows of other files; what the run's configuration names, if None.
    """
    from reports.page.html import write_report

    path = str(write_report(run, ranking, out, read_beside(run, ranking) if beside is None else beside))
    if out is not None or "://" not in run:
        return path
    return f"{run.rstrip('/')}/{files_of(RunFolder(run), ranking).report}"


def changed_settings(run: str, changes: Mapping[str, str | int | None]) -> RankingConfig:
    """The run's own ranking settings with ``changes`` laid over them; None changes nothing.

    Raises :class:`pipeline.config.ConfigError` for a change that is not valid.
    """
    own = own_settings(RunFolder(run).manifest).model_dump()
    return read_settings(own | {k: v for k, v in changes.items() if v is not None}, "options")


def ranking_rows(ranking: Ranking) -> list[dict[str, Any]]:
    """The head of the ranking as plain values, for a table artifact."""
    head = ranking.table.head(_ARTIFACT_ROWS)
    return records(head[list(_ARTIFACT_COLUMNS)])


def verdict_markdown(about: str, ranking: Ranking) -> str:
    """The headline of a run in Markdown."""
    accused = ranking.table[ranking.table["verdict"].isin(ACCUSED)]
    counts = tally(ranking.table)
    lines = [f"# {cell(about)}", "", sentence(counts, count_unboxed(ranking.table)), ""]
    if marks := ranking.summary["method_marks"]:
        lines += [f"**Caution**: the maps of {ranking.method} are {' and '.join(marks)}.", ""]
    lines += [f"- **{name}**: {count} classes" for name, count in counts.items() if count]
    if len(accused):
        lines += [
            "",
            "| rank | class | verdict | effect | adjusted lift |",
            "| --- | --- | --- | --- | --- |",
        ]
        lines += [
            f"| {row['rank']} | {cell(row['class_name'])} | {row['verdict']} "
            f"| {_measured(row, 'effect', 'effect_low', 'effect_high')} "
            f"| {_measured(row, 'adjusted_lift', 'low', 'high')} |"
            for row in records(accused)
        ]
    return "\n".join(lines) + "\n"


def _measured(row: dict[str, Any], value: str, low: str, high: str) -> str:
    """A figure of a class with its interval, as far as there are."""
    if row[value] is None:
        return "-"
    interval = "" if row[low] is None or row[high] is None else f" [{row[low]:+.2f}, {row[high]:+.2f}]"
    return f"{row[value]:+.2f}{interval}"
