"""The course of classes over runs: what each run says of each class, with gaps where it is silent.

Runs may be of other datasets or class lists: classes are matched by the dataset's id, and by name where a run
has no ids. What makes runs differ is said in ``notes``; a figure that a run does not have is None, never 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Final, NamedTuple

from pipeline.errors import InputError
from pipeline.verdicts import ACCUSED, Verdict
from reports.gate.classes import estimate
from reports.gate.intervals import wilson

FIGURES: Final[Mapping[str, str]] = {
    "effect": "effect",
    "adjusted_lift": "adjusted lift",
    "accuracy": "accuracy",
    "background_gap": "background gap",
}
COUNTED: Final = (Verdict.CONFIRMED, Verdict.SUSPECTED, Verdict.UNDECIDED)
_LEAST_CHANGE: Final = 1e-9  # below this a figure did not change, it was rounded


class Figure(NamedTuple):
    """A figure of one run: ``value`` with the ends of its 95 % interval; None: the run does not say."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class RunSaid:
    """One run of a history.

    Attributes:
        path, started: of the run; ``started`` is ISO 8601, empty where it has no session.
        dataset: name and split; method: that it ranks by.
        classes: key of the class -> its row of the ranking; accuracy, n_images: of the whole run.
    """

    path: str
    started: str
    dataset: str
    method: str
    classes: Mapping[str, Mapping[str, Any]]
    class_keys: tuple[str, ...]
    accuracy: float | None
    n_images: int

    @property
    def name(self) -> str:
        """Last part of its path."""
        return self.path.rstrip("/").rpartition("/")[2] or self.path

    def count(self, verdict: Verdict) -> int:
        """Classes of this verdict."""
        return sum(row["verdict"] == verdict for row in self.classes.values())


@dataclass(frozen=True)
class ClassCourse:
    """One class over all runs, in their order; None where a run has no images of it."""

    key: str
    name: str
    rows: tuple[Mapping[str, Any] | None, ...]

    @cached_property
    def verdicts(self) -> tuple[Verdict | None, ...]:
        return tuple(None if row is None else Verdict(row["verdict"]) for row in self.rows)

    @property
    def last(self) -> Verdict | None:
        """The verdict of the last run that has one."""
        return next((verdict for verdict in reversed(self.verdicts) if verdict is not None), None)

    @cached_property
    def changes(self) -> tuple[int, ...]:
        """Positions of the runs whose verdict is another than the one before it (gaps are passed over)."""
        known = [(k, verdict) for k, verdict in enumerate(self.verdicts) if verdict is not None]
        return tuple(k for (_, before), (k, now) in pairwise(known) if now != before)

    @property
    def path(self) -> tuple[Verdict, ...]:
        """The verdicts in their order, each once until it changes."""
        first = next((verdict for verdict in self.verdicts if verdict is not None), None)
        later = [verdict for k in self.changes if (verdict := self.verdicts[k]) is not None]
        return (() if first is None else (first,)) + tuple(later)

    @property
    def is_quiet(self) -> bool:
        """Whether no run accused it and its verdict never changed."""
        return not self.changes and self.last not in ACCUSED

    @cached_property
    def figures(self) -> Mapping[str, tuple[Figure, ...]]:
        """The figures of :data:`FIGURES`, run by run: tables, scales and charts all ask for them."""
        return {
            name: tuple(Figure() if row is None else _figure(row, name) for row in self.rows)
            for name in FIGURES
        }

    def figure(self, name: str) -> tuple[Figure, ...]:
        """A figure of :data:`FIGURES`, run by run."""
        return self.figures[name]

    def change(self, name: str) -> float:
        """The last value of a figure less the first; 0 where fewer than two runs have one."""
        values = [figure.value for figure in self.figure(name) if figure.value is not None]
        change = values[-1] - values[0] if len(values) > 1 else 0.0
        return change if abs(change) > _LEAST_CHANGE else 0.0


@dataclass(frozen=True)
class History:
    """``runs`` in order; ``classes``: worst first, then those that changed most; ``notes``: what differs."""

    runs: tuple[RunSaid, ...]
    classes: tuple[ClassCourse, ...]
    notes: tuple[str, ...]

    @cached_property
    def overall(self) -> Mapping[str, tuple[Figure, ...]]:
        """Figures of the whole runs: how many classes have a verdict, and the accuracy."""
        counts = {
            f"n_{word.value}": tuple(Figure(float(run.count(word))) for run in self.runs) for word in COUNTED
        }
        return counts | {"accuracy": tuple(_share(run.accuracy, run.n_images) for run in self.runs)}

    @property
    def headline(self) -> str:
        """What became of the classes, in one line."""
        changed = sum(bool(course.changes) for course in self.classes)
        first, last = self.runs[0], self.runs[-1]
        said = [
            f"{first.count(word)} {word.words} at first and {last.count(word)} now" for word in COUNTED[:2]
        ]
        of = f"{changed} of {len(self.classes)} classes changed their verdict"
        return f"{len(self.runs)} runs: {', '.join(said)}; {of}"


def history_of(runs: Sequence[RunSaid]) -> History:
    """The courses of all classes of any run. Raises :class:`InputError` where runs share no class."""
    if len(runs) < 2:
        raise InputError(f"history: received {len(runs)} run; valid: two runs or more; add the earlier ones")
    common = set(runs[0].class_keys)
    for run in runs[1:]:
        if not common & set(run.class_keys):
            raise InputError(
                f"{run.path}: has no class in common with {runs[0].path} (by the dataset's id, or name where "
                "a run has no ids); give runs of one dataset, or of parts of it"
            )
    return History(tuple(runs), tuple(sorted(_courses(runs), key=_place)), tuple(_notes(runs)))


def _courses(runs: Sequence[RunSaid]) -> Iterator[ClassCourse]:
    names: dict[str, str] = {}
    for run in runs:
        names |= {key: str(row["class_name"]) for key, row in run.classes.items()}
    for key, name in names.items():
        yield ClassCourse(key, name, tuple(run.classes.get(key) for run in runs))


def _place(course: ClassCourse) -> tuple[int, int, float, float, str]:
    """Accused now first, worst first; then by how often the verdict, and how far the figures changed."""
    last = course.last
    accused = list(ACCUSED).index(last) if last in ACCUSED else len(ACCUSED)
    moved = [-abs(course.change(name)) for name in ("effect", "adjusted_lift")]
    return accused, -len(course.changes), moved[0], moved[1], course.name


def _notes(runs: Sequence[RunSaid]) -> Iterator[str]:
    first = runs[0]
    for run in runs[1:]:
        differs = []
        if run.dataset != first.dataset:
            differs.append(f"another dataset ({run.dataset}, not {first.dataset})")
        if set(run.class_keys) != set(first.class_keys):
            gone, new = (
                set(first.class_keys) - set(run.class_keys),
                set(run.class_keys) - set(first.class_keys),
            )
            differs.append(f"other classes ({len(gone)} gone, {len(new)} new)")
        if run.method != first.method:
            differs.append(f"another method ({run.method}, not {first.method}): lifts are not comparable")
        if differs:
            yield f"{run.name} has {', '.join(differs)}; classes are matched by id"
    if twice := [name for name, n in Counter(run.name for run in runs).items() if n > 1]:
        yield f"several runs are named {twice[0]}: the table of the runs says which is which"


def _figure(row: Mapping[str, Any], name: str) -> Figure:
    said = estimate(row, name)
    value = row.get(name)
    if value is None:
        return Figure()
    ends = [end if end is not None and math.isfinite(end) else None for end in (said.low, said.high)]
    # of an interval with one end nothing can be drawn, and one without width is none
    return Figure(float(value)) if None in ends or ends[0] == ends[1] else Figure(float(value), *ends)


def _share(share: float | None, n: int) -> Figure:
    return Figure() if share is None or not n else Figure(share, *wilson(share, n))
