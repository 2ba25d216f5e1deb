"""How the network fares in each group of the images (place, camera, hospital), beside the ranking."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pipeline.csv_text import csv_line
from pipeline.run import folder
from pipeline.run.documents.base import Document


@dataclass(frozen=True)
class Estimate:
    """A mean over ``n`` images with its 95 % interval; None where there is none, or too few for one."""

    n: int
    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class GroupRow:
    """The images of one class, or of all, in one group.

    Attributes:
        label, class_name: None for all classes.
        group: None: the dataset does not say it.
        accuracy: over the images with a prediction (Wilson's interval), ``n_correct`` of them right.
        lift: adjusted lift of the images that the ranking uses; effects: of the interventions, by name.
        p, q: do the groups of this class differ in accuracy by chance? q over the classes. None for all.
    """

    label: int | None
    class_name: str | None
    group: str | None
    n_correct: int
    accuracy: Estimate
    lift: Estimate
    effects: dict[str, Estimate]
    p: float | None
    q: float | None


@dataclass(frozen=True)
class GroupsDocument(Document):
    """The groups of a run.

    Attributes:
        source: what the dataset calls them: a column, a feature.
        n_groups: different groups; n_unknown: images of which none is known; they count in no summary.
        n_min: images from which on a group has intervals and can be the worst.
        method: whose maps the lift is of.
        note: why there are no figures, or what they cannot say.
        rows: per class and group, lowest accuracy first, then those of fewer than ``n_min`` images, then
            unknown groups. overall: the same over all classes.
        mean_accuracy: mean over the rows that count, each with the same weight.
    """

    FILE: ClassVar[str] = folder.GROUPS
    MADE_BY: ClassVar[str] = "hansaudit rank"
    TABLE: ClassVar[str] = folder.GROUPS_TABLE

    source: str
    n_groups: int
    n_unknown: int
    n_min: int
    method: str
    note: str | None
    rows: tuple[GroupRow, ...]
    overall: tuple[GroupRow, ...]
    mean_accuracy: float | None

    @property
    def counted(self) -> tuple[GroupRow, ...]:
        """The rows that can be the worst: their group is known, and they have enough images."""
        return tuple(r for r in self.rows if r.group is not None and r.accuracy.n >= self.n_min)

    @property
    def worst(self) -> GroupRow | None:
        """The class and group with the lowest accuracy; None where none counts, or there is but one group."""
        return next(iter(self.counted), None) if self.n_groups > 1 else None

    def csv(self) -> str:
        """The table beside it: the rows per class, then those over all classes, whose label is empty."""
        effects = list(dict.fromkeys(name for row in self.rows for name in row.effects))
        return "".join(csv_line(cells) for cells in _cells((*self.rows, *self.overall), effects))


def _cells(rows: tuple[GroupRow, ...], effects: list[str]) -> Iterator[list[object]]:
    estimates = ["accuracy", "adjusted_lift", *effects]
    named = [f"{name}{end}" for name in estimates for end in ("", "_low", "_high", "_n")]
    yield ["label", "class_name", "group", "n_correct", *named, "p", "q"]
    none = Estimate(0, None, None, None)
    for row in rows:
        of_row = [row.accuracy, row.lift, *(row.effects.get(name, none) for name in effects)]
        figures = [v for e in of_row for v in (e.mean, e.low, e.high, e.n)]
        yield [row.label, row.class_name, row.group, row.n_correct, *figures, row.p, row.q]
