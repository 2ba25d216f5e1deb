"""What a report shows of other files than its run's: what people decided, and the baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.errors import InputError
from pipeline.run.folder import RankingFiles, RunFolder
from pipeline.run.ranking_settings import ranking_files

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.config_sections import ReportConfig
    from pipeline.statistics.comparison import Comparison
    from pipeline.statistics.ranking import Ranking
    from reports.decisions.file import Waiver
    from reports.page.data import Beside

T = TypeVar("T")


def read_beside(
    run: str,
    ranking: Ranking,
    decisions: str | None = None,
    baseline: str | None = None,
    named: ReportConfig | None = None,
) -> Beside:
    """Decisions and baseline, as far as there are.

    ``decisions``, ``baseline``: a file and a run folder that were asked for; empty: none; None: those that
    ``named`` names, of which what cannot be used is left out and the page says why: a finished run does not
    fail by it. ``named``: a configuration that somebody wrote here; None: the run folder's, whoever made it.

    Raises:
        InputError: what was asked for cannot be used; what differs is said.
    """
    from reports.page.data import Beside

    usual = _named_by(run) if named is None else named.model_dump()
    lacking: list[str] = []

    def read(key: str, asked: str | None, what: Callable[[str], T], said: str) -> T | None:
        if asked is not None:
            return what(asked) if asked else None
        try:
            path = str(usual.get(key) or "")
            if named is None:
                _refuse_far(path)
            return what(path) if path else None
        except InputError as error:
            lacking.append(f"{said}: {error}.")
            return None

    decided = read("decisions", decisions, _decided, "No decisions are shown")
    compared = read(
        "baseline", baseline, lambda path: _compared(run, ranking, path), "What changed is not known"
    )
    return Beside(decided or (), compared, tuple(lacking))


def _named_by(run: str) -> Mapping[str, Any]:
    return RunFolder(run).manifest["config"].get("report") or {}


def _refuse_far(path: str) -> None:
    """Whoever made a run folder does not have this machine call a server. Raises :class:`InputError`."""
    if "://" in path:
        raise InputError(
            f"{path} is named by the run folder alone, and not on this machine; name it yourself"
        )


def _decided(path: str) -> tuple[Waiver, ...]:
    from reports.decisions.file import load_decisions

    return load_decisions(path)


def _compared(run: str, ranking: Ranking, baseline: str) -> Comparison:
    from reports.gate.gated_run import GatedRun, compare_runs

    now, before = GatedRun(run), GatedRun(baseline)
    if ranking_files(now.manifest, ranking.settings) != RankingFiles():
        raise InputError(
            f"{run}: this report is by other settings than the run's own, and a baseline is compared by "
            "those; leave out --method and --images, or compare methods with `hansaudit diff`"
        )
    before.refuse_faulty()
    return compare_runs(now, before)


def refuse_unusable(config: Config) -> None:
    """Before a run begins: decisions that cannot be read, a baseline that is no run folder.

    Raises :class:`InputError`.
    """
    if config.report.decisions:
        _decided(config.report.decisions)
    if config.report.baseline:
        _ = RunFolder(config.report.baseline).manifest
