"""What a check can ask for by ``statistic``: of the run as a whole, or of each class.

One more of the run is one more entry of ``OF_RUN``.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pipeline.columns import BASELINES, RANKING
from pipeline.verdicts import DEPENDENT, InterventionVerdict, MapVerdict
from reports.gate.operators import Value

AGGREGATES: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "mean": statistics.fmean,
    "median": statistics.median,
    "min": min,
    "max": max,
}


class Ranked(Protocol):
    """What a statistic sees of a run: its ranking, and what interventions say of the run as it is."""

    @property
    def summary(self) -> Mapping[str, Any]: ...
    @property
    def classes(self) -> Sequence[Mapping[str, Any]]: ...
    @property
    def interventions(self) -> Sequence[Mapping[str, Any]]: ...
    def name(self, row: Mapping[str, Any]) -> str: ...


@dataclass(frozen=True)
class Measured:
    """A value, or why it is ``missing``; ``excused``: classes that were not counted as they are known."""

    value: Value | None
    missing: str = ""
    excused: tuple[str, ...] = ()


Statistic = Callable[[Ranked, Collection[int]], Measured]  # the run, labels of the known classes


def _ranked(verdict: MapVerdict) -> Statistic:
    """How many classes the ranking calls so."""
    return lambda run, excused: _count(run, _by_maps(run), verdict, excused, "no class has images")


def _by_maps(run: Ranked) -> list[Mapping[str, Any]]:
    """The classes with the verdict of their maps."""
    return [{**row, "verdict": row["map_verdict"]} for row in run.classes]


def _tested(verdict: InterventionVerdict) -> Statistic:
    """How many classes `hansaudit confirm` (or [confirm] in the configuration) found to be so."""
    untested = "the run as it is was not tested by interventions: run `hansaudit confirm`"
    return lambda run, excused: _count(run, run.interventions, verdict, excused, untested)


def _count(
    run: Ranked, classes: Sequence[Mapping[str, Any]], verdict: str, excused: Collection[int], missing: str
) -> Measured:
    """How many of ``classes`` have the verdict and are not excused."""
    rows = [row for row in classes if row["verdict"] == verdict]
    names = tuple(run.name(row) for row in rows if row["label"] in excused)
    return Measured(len(rows) - len(names) if classes else None, missing, names)


def _summary(name: str, missing: str = "the ranking does not hold it") -> Statistic:
    """A figure of the ranking's summary."""
    return lambda run, _: Measured(run.summary.get(name), missing)


def _correlation(baseline: str) -> Statistic:
    """Rank correlation (Spearman) of the ranking with a trivial one."""
    return lambda run, _: Measured(run.summary["correlations"].get(baseline), "too few classes")


def _failed_fraction(run: Ranked, _: Collection[int]) -> Measured:
    """Share of the images that could not be read."""
    n = run.summary["n_images"]
    return Measured(run.summary["statuses"]["failed"] / n if n else None, "the run has no image")


OF_RUN: Final[Mapping[str, Statistic]] = {
    **{f"n_{verdict}": _ranked(verdict) for verdict in MapVerdict},
    **{f"n_{verdict}": _tested(verdict) for verdict in DEPENDENT},
    "n_classes": _summary("n_classes"),
    "n_images": _summary("n_images"),
    "n_images_used": _summary("n_images_used"),
    "accuracy": _summary("accuracy", "no image has a prediction"),
    "failed_fraction": _failed_fraction,
    **{f"correlation_{baseline}": _correlation(baseline) for baseline in BASELINES},
}
# columns of the ranking; of the whole run they need an `aggregate`
OF_CLASS: Final = tuple(name for name, column in RANKING.items() if not column.identifies)
