"""What an audit found, in one sentence: the report's title, the terminal's last line, an artifact's head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.verdicts import MapVerdict
from reports.page.words import count, percent, spell

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.run.documents import GroupsDocument


def tally(table: pd.DataFrame) -> dict[MapVerdict, int]:
    """How many classes of a ranking's table have each verdict."""
    return {v: int((table["map_verdict"] == v).sum()) for v in MapVerdict}


def headline(counts: Mapping[MapVerdict, int], confirmed: int = 0) -> str:
    """The verdict of the whole audit, without a full stop.

    ``counts``: classes per verdict; ``confirmed``: how many suspicious ones the interventions confirm.
    """
    n, total = confirmed or counts[MapVerdict.SUSPICIOUS], sum(counts.values())
    if n:
        verb = ("is", "are") if confirmed else ("looks", "look")
        classes = f"{spell(n).capitalize()} of {spell(total)} {'class' if total == 1 else 'classes'}"
        return f"{classes} {verb[n > 1]} right for the wrong reason"
    undecided = counts[MapVerdict.UNDECIDED]
    if undecided == total:
        return "Too few images to say anything about any class"
    if _mostly_undecided(counts):
        return f"No class stands out, but {spell(undecided)} of {spell(total)} could not be judged"
    return "No class looks right for the wrong reason"


def sentence(counts: Mapping[MapVerdict, int]) -> str:
    """The headline where nothing else stands beside it: with the undecided classes and a full stop."""
    undecided = counts[MapVerdict.UNDECIDED]
    told = not undecided or (_mostly_undecided(counts) and not counts[MapVerdict.SUSPICIOUS])
    rest = "" if told else f"; {spell(undecided)} undecided, with too few images for a statement"
    return f"{headline(counts)}{rest}."


def _mostly_undecided(counts: Mapping[MapVerdict, int]) -> bool:
    return counts[MapVerdict.UNDECIDED] > sum(counts.values()) / 2


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
