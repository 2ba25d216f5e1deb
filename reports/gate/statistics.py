"""What a check can ask for by ``statistic``: of the run as a whole, or of each class.

One more of the run is one more entry of ``OF_RUN``.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from pipeline.columns import BASELINES, RANKING
from pipeline.verdicts import Change, MapVerdict, Verdict
from reports.decisions.file import Waiver
from reports.gate import intervals
from reports.gate.classes import Row, images_behind, is_decided, numbers
from reports.gate.coverage import Coverage
from reports.gate.operators import Estimate, show
from reports.gate.outcome import ClassNote

AGGREGATES: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "mean": statistics.fmean,
    "median": statistics.median,
    "min": min,
    "max": max,
}
NOT_DECIDED: Final = "not decided"
OPEN: Final = (Verdict.SUSPECTED, Verdict.UNDECIDED)
HARMLESS: Final = (Verdict.CLEARED, Verdict.UNREMARKABLE, "better", "gone", "unchanged")
NO_BASELINE: Final = "no run to compare with: give --baseline RUN0, or baseline = ... in the policy"
AGAINST_BASELINE: Final = ("n_new", "n_worse", "n_better", "n_gone", "n_unchanged")


class Ranked(Protocol):
    """What a statistic sees of a run: its ranking, the classes without any image in it, and what became of
    every class since the baseline, None without one."""

    @property
    def summary(self) -> Mapping[str, Any]: ...
    @property
    def classes(self) -> Sequence[Row]: ...
    @property
    def absent(self) -> Sequence[Row]: ...
    @property
    def changes(self) -> Sequence[Row] | None: ...
    def note(self, row: Row, role: str, numbers: str = ..., waiver: str = ...) -> ClassNote: ...


@dataclass(frozen=True)
class Asked:
    """How a statistic is asked for: label -> the waiver of the class, and how much must be known."""

    waivers: Mapping[int, Waiver] = field(default_factory=dict)
    coverage: Coverage = field(default_factory=Coverage)


@dataclass(frozen=True)
class Measured:
    """A value of the run.

    Attributes:
        about: words that follow the value.
        statistic: column that says of a class whether it counts; empty where no classes are counted.
        role: what the counted classes are; having: these; undecided: those that may be so, where they matter.
        judged: how many classes were looked at; waived: those left out that would have mattered.
    """

    estimate: Estimate
    about: str = ""
    statistic: str = ""
    role: str = ""
    having: tuple[Row, ...] = ()
    undecided: tuple[Row, ...] = ()
    judged: int = 0
    waived: tuple[ClassNote, ...] = ()

    @property
    def shown(self) -> str:
        """The value; of a count also what it may become."""
        value = self.estimate
        if not self.role or value.value is None or value.high == value.value:
            return str(value)
        return f"{show(value.value)} and may become {show(float(value.high or 0))}"


Statistic = Callable[[Ranked, Asked], Measured]


def _counted(verdict: Verdict) -> Statistic:
    """How many classes the audit says this of, in the end; what only edits decide is open until they do."""
    return lambda run, asked: _count(
        run, asked, verdict, "verdict", lambda row: row["verdict"] == verdict if is_decided(row) else None
    )


def _counted_open(verdict: Verdict) -> Statistic:
    """How many classes have a verdict that says what is not known yet: it may only become more of them."""

    def has(row: Row) -> bool | None:
        open_yet = row["verdict"] == Verdict.UNDECIDED and verdict != Verdict.UNDECIDED
        return None if open_yet else row["verdict"] == verdict

    return lambda run, asked: _count(run, asked, verdict, "map_verdict", has)


def _counted_by_maps(verdict: MapVerdict) -> Statistic:
    """How many classes the heat maps alone say this of."""

    def has(row: Row) -> bool | None:
        return None if row["map_verdict"] == MapVerdict.UNDECIDED else row["map_verdict"] == verdict

    return lambda run, asked: _count(run, asked, verdict, "map_verdict", has)


def _counted_changes(name: str, *words: Change) -> Statistic:
    """How many classes became so since the baseline."""

    def has(row: Row) -> bool | None:
        return None if row["change"] == Change.UNDECIDED else row["change"] in words

    def measured(run: Ranked, asked: Asked) -> Measured:
        if run.changes is None:
            return Measured(Estimate(None, missing=NO_BASELINE))
        return _count_rows(run, asked, run.changes, name, "change", has)

    return measured


def _count(
    run: Ranked, asked: Asked, verdict: str, statistic: str, has: Callable[[Row], bool | None]
) -> Measured:
    """:func:`_count_rows` of all classes of the dataset."""
    return _count_rows(run, asked, (*run.classes, *run.absent), verdict, statistic, has)


def _count_rows(
    run: Ranked,
    asked: Asked,
    classes: Sequence[Row],
    verdict: str,
    statistic: str,
    has: Callable[[Row], bool | None],
) -> Measured:
    """How many classes ``has`` is true of; None: it may become so, as also with too few images, or none."""
    rows: dict[bool | None, list[Row]] = {True: [], None: [], False: []}
    waived = []
    for row in classes:
        said = has(row) if row.get("n_images") else None
        if said is (verdict in HARMLESS) and images_behind(row, statistic) < asked.coverage.images:
            said = None  # it speaks for the class, from too few images
        if (waiver := asked.waivers.get(row["label"])) is None:
            rows[said].append(row)
        elif said is not False:
            role = verdict if said else NOT_DECIDED
            waived.append(run.note(row, role, numbers(row, statistic), str(waiver)))
    n, n_open, judged = len(rows[True]), len(rows[None]), sum(map(len, rows.values()))
    enough = asked.coverage.suffices(n_open, judged)
    return Measured(
        estimate=Estimate(n, n, n if enough else n + n_open),
        about=f"{judged - n_open} of {judged} classes are decided" if n_open else "",
        statistic=statistic,
        role=verdict,
        having=tuple(rows[True]),
        undecided=() if enough else tuple(rows[None]),
        judged=judged,
        waived=tuple(waived),
    )


def _summary(name: str, missing: str = "the ranking does not hold it") -> Statistic:
    """A figure of the ranking's summary, of the run itself: exact."""
    return lambda run, _: Measured(Estimate(run.summary.get(name), missing=missing))


def _accuracy(run: Ranked, _: Asked) -> Measured:
    """Share of the images with a prediction that are right."""
    share, n = run.summary.get("accuracy"), _predicted(run)
    if share is None or not n:
        return Measured(Estimate(None, missing="no image has a prediction"))
    return Measured(Estimate(share, *intervals.wilson(share, n)), about=f"{n} images")


def _predicted(run: Ranked) -> int:
    return int(run.summary["n_images"] - run.summary["statuses"].get("failed", 0))


def _correlation(baseline: str) -> Statistic:
    """Rank correlation (Spearman) of the ranking with a trivial one."""

    def measured(run: Ranked, _: Asked) -> Measured:
        value = run.summary["correlations"].get(baseline)
        if value is None:
            return Measured(Estimate(None, missing="too few classes"))
        n = sum(row.get("adjusted_lift") is not None for row in run.classes)
        return Measured(Estimate(value, *intervals.correlation(value, n)), about=f"{n} classes")

    return measured


def _failed_fraction(run: Ranked, _: Asked) -> Measured:
    """Share of the images that could not be read."""
    n = run.summary["n_images"]
    share = run.summary["statuses"]["failed"] / n if n else None
    return Measured(Estimate(share, missing="the run has no image"))


OF_RUN: Final[Mapping[str, Statistic]] = {
    **{f"n_{verdict}": _counted(verdict) for verdict in Verdict if verdict not in OPEN},
    **{f"n_{verdict}": _counted_open(verdict) for verdict in OPEN},
    **{
        f"n_{verdict}": _counted_by_maps(verdict) for verdict in (MapVerdict.SUSPICIOUS, MapVerdict.UNFOCUSED)
    },
    "n_new": _counted_changes("new", Change.NEW),
    "n_worse": _counted_changes("worse", Change.NEW, Change.WORSE),
    "n_better": _counted_changes("better", Change.BETTER, Change.GONE),
    "n_gone": _counted_changes("gone", Change.GONE),
    "n_unchanged": _counted_changes("unchanged", Change.UNCHANGED),
    "n_classes": _summary("n_classes"),
    "n_images": _summary("n_images"),
    "n_images_used": _summary("n_images_used"),
    "n_classes_edited": _summary("n_classes_edited", "no image was edited"),
    "n_images_edited": _summary("n_images_edited", "no image was edited"),
    "n_null_confirmed": _summary("n_null_confirmed", "no image was edited"),
    "accuracy": _accuracy,
    "failed_fraction": _failed_fraction,
    **{f"correlation_{baseline}": _correlation(baseline) for baseline in BASELINES},
}
# columns of the ranking; of the whole run they need an `aggregate`
OF_CLASS: Final = tuple(name for name, column in RANKING.items() if not column.identifies)
