"""The classes of a run as a gate sees them: what is decided of each, and the numbers behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from pipeline.columns import OF_EDITS
from pipeline.verdicts import MapVerdict, Tested, Verdict
from reports.gate.operators import Estimate

Row = Mapping[str, Any]  # of the ranking

BY_EDITS: Final = frozenset({"verdict", *OF_EDITS})
BY_ALL_IMAGES: Final = frozenset({"n_images", "n_correct", "n_boxed", "accuracy", "confidence", "box_area"})
# column -> those of its interval
_INTERVALS: Final[Mapping[str, tuple[str, str]]] = {
    "adjusted_lift": ("low", "high"),
    "adjusted_lift_raw": ("low", "high"),
    "effect": ("effect_low", "effect_high"),
    "effect_shrunk": ("effect_low", "effect_high"),
    "reference_lift": ("reference_low", "reference_high"),
    "group_share": ("group_share_low", "group_share_high"),
    "reference_effect": ("reference_effect_low", "reference_effect_high"),
    "reference_transfer": ("reference_transfer_low", "reference_transfer_high"),
}
# what a class may become once it is decided
_BY_WORD: Final[Mapping[str, Mapping[str | None, tuple[str, ...]]]] = {
    "map_verdict": {
        MapVerdict.UNDECIDED: (MapVerdict.SUSPICIOUS, MapVerdict.UNFOCUSED, MapVerdict.UNREMARKABLE)
    },
    "tested": {
        Tested.UNDECIDED: (Tested.DEPENDS, Tested.RIM, Tested.INDEPENDENT),
        Tested.RIM: (Tested.DEPENDS, Tested.INDEPENDENT),
    },
}


def is_decided(row: Row) -> bool:
    """Whether edited images have told if the network needs what lies beside the objects of the class."""
    return row.get("tested") in (Tested.DEPENDS, Tested.INDEPENDENT)


def images_behind(row: Row, statistic: str) -> int:
    """How many images a figure of the class rests on."""
    if statistic == "change":
        return max(int(row.get("n") or 0), int(row.get("n_edited") or 0))
    column = "n_edited" if statistic in BY_EDITS else "n_images" if statistic in BY_ALL_IMAGES else "n"
    return int(row.get(column) or 0)


def may_become(row: Row, statistic: str) -> tuple[str, ...]:
    """The words that ``statistic`` of the class may take once it is decided; empty where it is."""
    if statistic != "verdict":
        return _BY_WORD.get(statistic, {}).get(row.get(statistic), ())
    if is_decided(row):
        return ()
    harmless = Verdict.CLEARED if row.get("verdict") == Verdict.SUSPECTED else Verdict.UNREMARKABLE
    return (Verdict.CONFIRMED, harmless)


def estimate(row: Row, statistic: str) -> Estimate:
    """A figure of one class with its interval, as far as the ranking knows it."""
    value = row.get(statistic)
    if value is None:
        n, of = images_behind(row, statistic), row.get("n_images")
        return Estimate(None, missing=f"undefined with {n} of {of} images")
    if isinstance(value, str):
        return Estimate(value, may_become=may_become(row, statistic))
    if statistic == "accuracy" and row.get("n_images"):
        from reports.gate.intervals import wilson

        return Estimate(value, *wilson(value, int(row["n_images"])))
    low, high = _INTERVALS.get(statistic, ("", ""))
    ends = row.get(low), row.get(high)
    if ends == (None, None):
        return Estimate(value)
    # of one end nothing is known
    return Estimate(
        value, -math.inf if ends[0] is None else ends[0], math.inf if ends[1] is None else ends[1]
    )


def numbers(row: Row, statistic: str = "verdict") -> str:
    """What speaks for or against a class, with intervals and the images that it rests on."""
    if statistic == "change":
        return _change(row)
    if statistic in BY_EDITS:
        if row.get("effect") is None:
            return "no image edited" if not row.get("n_edited") else f"{row['n_edited']} images edited"
        said = _measured("effect", row["effect"], row.get("effect_low"), row.get("effect_high"))
        rim = "; it vanishes when the rim of the box is widened" if row.get("tested") == Tested.RIM else ""
        return f"{said}, {row['n_edited']} images edited{rim}"
    if row.get("adjusted_lift") is None:
        return f"{row.get('n', 0)} images ranked"
    said = _measured("adjusted lift", row["adjusted_lift"], row.get("low"), row.get("high"))
    return f"{said}, {row['n']} images ranked"


def _change(row: Row) -> str:
    """By how much a class changed since the baseline."""
    said = [f"{row['before'] or 'absent'} before, {row['after'] or 'absent'} now"]
    for name, words, count in (("effect", "effect", "n_edited"), ("lift", "adjusted lift", "n")):
        if row[name] is not None:
            ends = row[f"{name}_low"], row[f"{name}_high"]
            said.append(f"{_measured(words + ' changed by', row[name], *ends)} on {row[count]} images")
    return ", ".join(said)


def _measured(name: str, value: float, low: float | None, high: float | None) -> str:
    interval = "" if low is None or high is None else f" [{low:+.2f}, {high:+.2f}]"
    return f"{name} {value:+.2f}{interval}"
