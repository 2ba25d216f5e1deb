"""What changed between two runs, as words, CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Final

from pipeline.csv_text import csv_line
from pipeline.statistics.comparison import ClassChange, Comparison
from pipeline.verdicts import Change

VERSION: Final = 1
COLUMNS: Final = tuple(field.name for field in fields(ClassChange))


def changes_csv(comparison: Comparison) -> str:
    """A row per class, worst first; undefined values are empty."""
    rows = (tuple(_plain(value) for value in vars(row).values()) for row in comparison.classes)
    return "".join([csv_line(COLUMNS), *map(csv_line, rows)])


def changes_json(comparison: Comparison) -> str:
    """Everything that is known of the comparison; undefined values are null."""
    content = {"version": VERSION, "headline": headline(comparison)} | asdict(comparison)
    return json.dumps(content, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def headline(comparison: Comparison) -> str:
    """How many classes became what, in one line."""
    said = [f"{n} {word.words}" for word in Change if (n := comparison.count(word))]
    return ", ".join(said) if said else "no class in common"


def about(comparison: Comparison) -> str:
    """What was compared, in one line."""
    before, after = comparison.accuracy
    parts = [f"{comparison.n_images} images that both use"]
    if before is not None and after is not None:
        parts.append(f"accuracy {before:.1%} before, {after:.1%} now")
    if comparison.lift is not None:
        parts.append(f"lift of all images changed by {signed(comparison.lift)}, which the classes leave out")
    if comparison.methods[0] != comparison.methods[1]:
        parts.append(f"{comparison.methods[0]} before, {comparison.methods[1]} now")
    return "; ".join(parts)


def row_words(row: ClassChange) -> tuple[str, str, str]:
    """Verdicts, change of the adjusted lift and of the effect, as a table shows them."""
    verdicts = row.after if row.before == row.after else f"{row.before or 'absent'} > {row.after or 'absent'}"
    lift = _interval(row.lift, row.lift_low, row.lift_high)
    return verdicts, lift, _interval(row.effect, row.effect_low, row.effect_high)


def changed(comparison: Comparison) -> Sequence[ClassChange]:
    """The classes that did change, worst first."""
    return [row for row in comparison.classes if row.change not in (Change.UNCHANGED, Change.UNDECIDED)]


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "-"
    return signed(value) + ("" if low is None or high is None else f" [{signed(low)}, {signed(high)}]")


def signed(value: float) -> str:
    """With its sign, and none where it rounds to nothing."""
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Change) else value
