"""A history as one self-contained page: the runs, figures of all classes, a row of small charts per class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise

from markupsafe import Markup

from pipeline.verdicts import Verdict
from reports.decisions.file import Waiver
from reports.history.charts import SHARE, Event, Frame, Scale, figure_chart, verdict_chart
from reports.history.course import COUNTED, FIGURES, ClassCourse, Figure, History, RunSaid
from reports.inline import assets, environment

_SCALES_AS_SHARE = ("accuracy",)


@dataclass(frozen=True)
class Chart:
    """A chart with its caption: ``last`` is the last value, in words."""

    title: str
    last: str
    svg: Markup


@dataclass(frozen=True)
class ClassRow:
    """What the page shows of one class."""

    course: ClassCourse
    charts: Sequence[Chart]
    decisions: Sequence[Waiver]


def history_page(history: History, decisions: Sequence[Waiver] = ()) -> str:
    """The page. Fetches nothing; its script only filters. ``decisions``: of :mod:`reports.decisions.file`."""
    scales = {name: _scale(history, name) for name in FIGURES}
    shown = {name: scale for name, scale in scales.items() if scale is not None}
    rows = [_class_row(history, course, shown, _of(course, decisions)) for course in history.classes]
    return (
        environment("reports.history")
        .get_template("history.html.j2")
        .render(
            history=history,
            overall=list(_overall(history)),
            rows=[row for row in rows if not row.course.is_quiet or row.decisions],
            quiet=[row for row in rows if row.course.is_quiet and not row.decisions],
            absent=[words for name, words in FIGURES.items() if name not in shown],
            runs=[(run, _day(run), [run.count(word) for word in COUNTED]) for run in history.runs],
            counted=COUNTED,
            verdicts=list(Verdict),
            **assets("reports.history", "history"),
        )
    )


def _scale(history: History, name: str) -> Scale | None:
    """One scale for all classes; None where no run has the figure."""
    figures = [figure for course in history.classes for figure in course.figure(name)]
    if all(figure.value is None for figure in figures):
        return None
    return SHARE if name in _SCALES_AS_SHARE else Scale.of(figures)


def _overall(history: History) -> Iterator[Chart]:
    frame = Frame([run.name for run in history.runs])
    for name, figures in history.overall.items():
        scale = SHARE if name in _SCALES_AS_SHARE else Scale.counts(figures)
        title = name.removeprefix("n_") if name in _SCALES_AS_SHARE else f"classes {name.removeprefix('n_')}"
        yield _chart(frame, title, figures, scale)


def _class_row(
    history: History, course: ClassCourse, scales: dict[str, Scale], decisions: Sequence[Waiver]
) -> ClassRow:
    events = [*_verdict_events(course), *_decision_events(history.runs, decisions)]
    quiet = course.is_quiet and not decisions
    frame = Frame([run.name for run in history.runs], events, with_points=not quiet)
    verdict = Chart(
        "verdict", "" if course.last is None else course.last.words, verdict_chart(frame, course.verdicts)
    )
    figures = [_chart(frame, FIGURES[name], course.figure(name), scale) for name, scale in scales.items()]
    return ClassRow(course, [verdict, *figures], decisions)


def _chart(frame: Frame, title: str, figures: Sequence[Figure], scale: Scale) -> Chart:
    last = figures[-1]
    return Chart(title, scale.interval(last), figure_chart(frame, figures, scale, title))


def _verdict_events(course: ClassCourse) -> Iterator[Event]:
    for k in course.changes:
        if verdict := course.verdicts[k]:
            yield Event(k, verdict.value, f"now {verdict.words}")


def _decision_events(runs: Sequence[RunSaid], decisions: Sequence[Waiver]) -> Iterator[Event]:
    for waiver in decisions:
        for day, words in ((waiver.decided, "decided"), (waiver.until, "ends")):
            if day is not None and (at := position_of(runs, day)) is not None:
                yield Event(at, "decision", f"{words}: {waiver}")


def position_of(runs: Sequence[RunSaid], day: date) -> float | None:
    """Where a day lies among the runs; None outside of them, and where their dates do not ascend."""
    days = [_ordinal(run) for run in runs]
    known = [d for d in days if d is not None]
    if len(known) < len(days) or known != sorted(known):
        return None
    at = day.toordinal() + 0.5  # noon: after the night's run
    if int(known[0]) == day.toordinal() or int(known[-1]) == day.toordinal():
        at = min(max(at, known[0]), known[-1])
    for k, (before, after) in enumerate(pairwise(known)):
        if before <= at <= after:
            return k + ((at - before) / (after - before) if after > before else 0.0)
    return None


def _ordinal(run: RunSaid) -> float | None:
    try:
        began = datetime.fromisoformat(run.started)
    except ValueError:
        return None
    return began.toordinal() + (began.hour * 60 + began.minute) / 1440


def _day(run: RunSaid) -> str:
    return run.started[:16].replace("T", " ") or "no date"


def _of(course: ClassCourse, decisions: Sequence[Waiver]) -> list[Waiver]:
    """The decisions about a class, by its id or its name."""
    return [waiver for waiver in decisions if waiver.class_key in (course.key, course.name)]
