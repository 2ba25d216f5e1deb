"""What changed since the baseline, for the first screen: how many classes became what, and which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.statistics.comparison import ClassChange, Comparison
from pipeline.verdicts import Change, Verdict
from reports.page import words
from reports.page.data import RunData

# a change is coloured as the verdict that it leads to: .new of the page is that of a confirmed class
TONES: Final[Mapping[Change, str]] = {
    Change.NEW: Verdict.CONFIRMED,
    Change.WORSE: Verdict.SUSPECTED,
    Change.UNDECIDED: Verdict.UNDECIDED,
    Change.UNCHANGED: Verdict.UNREMARKABLE,
    Change.BETTER: "good",
    Change.GONE: "good",
}
CHANGED: Final = (Change.NEW, Change.WORSE, Change.BETTER, Change.GONE)


@dataclass(frozen=True)
class Tally:
    """How many classes are said to be ``word``, and the page's colour for it."""

    word: Change
    n: int
    tone: str


@dataclass(frozen=True)
class Since:
    """For the first screen. ``name``: folder of the baseline; ``said``: what became of which class."""

    name: str
    tallies: tuple[Tally, ...]
    said: str


def changed(comparison: Comparison) -> Sequence[ClassChange]:
    """The classes that did change, worst first."""
    return [row for row in comparison.classes if row.change in CHANGED]


def since(run: RunData) -> Since | None:
    """What to say of the baseline on the first screen; None where there is none."""
    comparison = run.beside.comparison
    if comparison is None:
        return None
    tallies = tuple(Tally(word, comparison.count(word), TONES[word]) for word in Change)
    return Since(comparison.baseline, tallies, _said(run, comparison))


def _said(run: RunData, comparison: Comparison) -> str:
    """The classes that came and went by name; that nothing did, where nothing could be missed."""
    named = {
        word: [run.short(row.class_name) for row in comparison.classes if row.change is word]
        for word in (Change.NEW, Change.GONE)
    }
    parts = [f"{word.words.capitalize()}: {words.listing(names)}." for word, names in named.items() if names]
    if parts:
        return " ".join(parts)
    if any(comparison.count(word) for word in CHANGED):
        return "No class is newly confirmed or suspected, and none ceased to be, by a change that matters."
    open_yet = comparison.count(Change.UNDECIDED)
    if open_yet == len(comparison.classes):
        return "Of no class can it be said whether it changed: too few images are in both runs."
    rest = f"; of {words.count(open_yet, 'class', 'classes')} it cannot be said" if open_yet else ""
    return f"No class changed by more than matters{rest}."
