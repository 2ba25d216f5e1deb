"""What to do about what an audit found and left open: a command each, to be copied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.run.documents import TriageDocument, records
from pipeline.unboxed import command, is_unboxed, quoted
from pipeline.verdicts import Verdict
from reports.page import words
from reports.page.data import RunData

NAMED: Final = 5  # classes that a command names; it can be called again for the next ones
FEWEST: Final = 30  # images edited at least in a second look
NEARLY: Final = (
    0.8  # share of a class's images that can usually be edited: the rest is wrong or without a box
)


@dataclass(frozen=True)
class Step:
    """One thing to do: what and why, and the command; empty where no command does it."""

    text: str
    command: str


def next_steps(run: RunData) -> list[Step]:
    """The open items of a run, most urgent first."""
    rows = records(run.classes)
    confirmed, suspected, undecided = (
        [r for r in rows if r["verdict"] == v]
        for v in (Verdict.CONFIRMED, Verdict.SUSPECTED, Verdict.UNDECIDED)
    )
    steps = [_look_at(run, confirmed)] if confirmed else []
    if suspected:
        steps.append(_test(run, suspected, f"Test {_so_many(suspected)} that heat maps alone suspect"))
    if bare := [r for r in undecided if is_unboxed(r)]:
        text = f"Draw a few boxes for {_so_many(bare)} without any: nothing else tests them"
        steps.append(Step(f"{text}. The first images to draw on:", command(run.store.path, len(bare))))
    boxed = [r for r in undecided if not is_unboxed(r)]
    if more := sorted(filter(_testable, boxed), key=lambda r: r["n_needed"] or 1e9):
        steps.append(_test(run, more, f"Edit more images of {_so_many(more)} left undecided"))
    if spent := [r for r in boxed if not _testable(r)]:
        steps.append(_audit_more(spent))
    return [*steps, *_triage(run)]


def _triage(run: RunData) -> list[Step]:
    told = TriageDocument.current(run.store)
    if told is None or not (n := sum(told.counts)):
        return []
    text = f"Look through {words.count(n, 'image')} whose label or box may be wrong, surest first"
    return [Step(f"{text}: {quoted(f'{run.store.path}/{told.TABLE}')}.", "")]


def _audit_more(rows: Sequence[Mapping[str, Any]]) -> Step:
    needed = sorted(r["n_needed"] for r in rows if words.given(r["n_needed"]))
    about = f", about {words.integer(needed[len(needed) // 2])} per class (median)" if needed else ""
    return Step(f"Audit more images of {_so_many(rows)}: this run has too few for a statement{about}.", "")


def _look_at(run: RunData, rows: Sequence[Mapping[str, Any]]) -> Step:
    text = (
        f"See what {_so_many(rows)} confirmed as needing the background go{'es' * (len(rows) == 1)} by: "
        "an artefact to remove from the data, or context that belongs to the class?"
    )
    return Step(text, f"hansaudit clusters {quoted(run.store.path)}{_named(rows)}")


def _test(run: RunData, rows: Sequence[Mapping[str, Any]], text: str) -> Step:
    chosen = rows[:NAMED]
    images = max(_images(row) for row in chosen)
    first = f"; the first {words.spell(NAMED)}:" if len(rows) > NAMED else ":"
    return Step(
        f"{text}{first}", f"hansaudit confirm {quoted(run.store.path)}{_named(chosen)} --images {images}"
    )


def _so_many(rows: Sequence[Mapping[str, Any]]) -> str:
    return f"the {words.count(len(rows), 'class', 'classes')}" if len(rows) > 1 else "the class"


def _testable(row: Mapping[str, Any]) -> bool:
    """It has images left to edit, and not fewer than it needs."""
    edited, present = int(row["n_edited"] or 0), int(row["n_correct"] or 0)
    needed = int(row["n_needed"] or 0) if edited else 0
    return edited < NEARLY * present and needed <= present


def _images(row: Mapping[str, Any]) -> int:
    edited = int(row["n_edited"] or 0)
    needed = int(row["n_needed"] or 0) if edited else 0
    return min(max(2 * edited, needed, FEWEST), int(row["n_images"]))


def _named(rows: Sequence[Mapping[str, Any]]) -> str:
    names = (str(row["class_id"] or row["class_name"]) for row in rows[:NAMED])
    return "".join(f" --class {quoted(name)}" for name in names)
