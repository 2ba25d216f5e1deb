"""What an audit found, in one sentence: the report's title, the terminal's last line, an artifact's head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.run.documents import records
from pipeline.unboxed import unboxed
from pipeline.verdicts import Verdict
from reports.page.words import count, listing, percent, spell

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.run.documents import GroupsDocument, ReferenceDocument


def tally(table: pd.DataFrame) -> dict[Verdict, int]:
    """How many classes of a ranking's table have each verdict."""
    return {v: int((table["verdict"] == v).sum()) for v in Verdict}


def count_unboxed(table: pd.DataFrame) -> int:
    """How many classes of a ranking's table have no image with a usable box."""
    return len(unboxed(records(table[["n_boxed", "accuracy"]])))


def headline(counts: Mapping[Verdict, int], unboxed: int = 0) -> str:
    """The verdict of the whole audit, without a full stop.

    ``counts``: classes per verdict; ``unboxed``: how many of them have no image with a usable box.
    """
    total, undecided = sum(counts.values()), counts[Verdict.UNDECIDED]
    if n := counts[Verdict.CONFIRMED]:
        return f"{_of(n, total)} {'are' if n > 1 else 'is'} right for the wrong reason"
    if n := counts[Verdict.SUSPECTED]:
        return f"{_of(n, total)} {'are suspected by their' if n > 1 else 'is suspected by its'} heat maps"
    if 0 < total == undecided == unboxed:
        return "No class could be tested: no image has a usable box"
    if undecided == total:
        return "Too few images to say anything about any class"
    if _mostly_undecided(counts):
        return f"No class stands out, but {spell(undecided)} of {spell(total)} could not be judged"
    return "No class was found to be right for the wrong reason"


def sentence(counts: Mapping[Verdict, int], unboxed: int = 0) -> str:
    """The headline where nothing else stands beside it: how it is known, and the other verdicts counted."""
    told = {Verdict.CONFIRMED, Verdict.UNREMARKABLE}
    if not counts[Verdict.CONFIRMED]:
        told |= {Verdict.SUSPECTED}
        if not counts[Verdict.SUSPECTED] and _mostly_undecided(counts):
            told |= {Verdict.UNDECIDED}
    rest = ", ".join(f"{spell(n)} {v}" for v, n in counts.items() if n and v not in told)
    known = " (confirmed by interventions)" if counts[Verdict.CONFIRMED] else ""
    return f"{headline(counts, unboxed)}{known}{'; ' if rest else ''}{rest}."


def _of(n: int, total: int) -> str:
    return f"{spell(n).capitalize()} of {spell(total)} {'class' if total == 1 else 'classes'}"


def _mostly_undecided(counts: Mapping[Verdict, int]) -> bool:
    return counts[Verdict.UNDECIDED] > sum(counts.values()) / 2


def beside_reference(reference: ReferenceDocument, table: pd.DataFrame, level: float) -> str:
    """How many classes of a ranking's ``table`` are outliers against the reference network, in one line."""
    compared = (
        f"{reference.name}, {count(reference.images, 'image')} of "
        f"{count(reference.classes, 'class', 'classes')} compared"
    )
    if not table["q_reference"].notna().any():
        return f"{compared}: too few classes with enough images for a test"
    beyond = table[reference_outliers(table, level)]
    if beyond.empty:
        return f"{compared}: no class lies further beside its objects than the others do"
    names = listing([str(name) for name in beyond.sort_values("reference_lift")["class_name"]])
    return f"{compared}: beside their objects more than there, and than other classes: {names}"


def reference_outliers(table: pd.DataFrame, level: float) -> pd.Series:
    """Which rows of a ranking's table are outliers against the reference network."""
    return (table["q_reference"] <= level) & (table["reference_high"] < 0)


def worst_group(groups: GroupsDocument) -> str:
    """The worst group in one line; the note where there is none to name."""
    row = groups.worst
    if row is None:
        return groups.note or f"no group of at least {count(groups.n_min, 'image')} to compare"
    low, high = percent(row.accuracy.low), percent(row.accuracy.high)
    return (
        f"{row.class_name}, {groups.source} {row.group}: {percent(row.accuracy.mean)} right "
        f"[{low}, {high}] of {count(row.accuracy.n, 'image')}; mean of {len(groups.counted)} groups "
        f"{percent(groups.mean_accuracy)}"
    )
