"""What edited images showed of a class, in words and as intervals, for the cards and tables of the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

from pipeline.measure.interventions.kinds import all_contrasts
from pipeline.statistics.effects import Judgement
from pipeline.verdicts import SUSPECT, Tested
from reports.page import words
from reports.page.figures import whisker
from reports.page.svg import Axis

AXIS: Final = Axis(-0.3, 1.05, 4, 116)  # of all effects, so that they can be compared
# what is shown besides the contrasts that name a heading themselves: effect -> (heading, what it is)
_OTHERS: Final = {
    "wide_sufficiency": (
        "with a wider rim",
        "the background alone, with a wider hole around the object: what vanishes lay at the rim of the box",
    ),
    "background_gap": (
        "background gap",
        "accuracy on backgrounds of the own class minus that on others' (ImageNet-9: Mixed-Same, Mixed-Rand)",
    ),
}


@dataclass(frozen=True)
class Shown:
    """One effect of a class: its heading, what it is, and its interval as a figure and in numbers."""

    heading: str
    about: str
    bar: Markup
    n: int
    mean: float
    low: float
    high: float


def headings(judgements: Iterable[Judgement]) -> dict[str, tuple[str, str]]:
    """Effect -> (heading, what it is), in page order: of the effects that one class has at least."""
    contrasts = [c for c in all_contrasts().values() if c.heading]
    own = {c.name: (c.heading, c.about) for c in sorted(contrasts, key=lambda c: not c.decides)}
    deciding = {c.name for c in contrasts if c.decides}
    ordered = {k: v for k, v in own.items() if k in deciding} | _OTHERS | own
    present = {name for j in judgements for name, effect in j.effects.items() if effect.n}
    return {name: said for name, said in ordered.items() if name in present}


def shown_effects(
    judgement: Judgement, verdict: str, heads: Mapping[str, tuple[str, str]]
) -> list[Shown | None]:
    """The effects ``heads`` of one class, in its colour; None where one could not be measured."""
    out: list[Shown | None] = []
    for name, (heading, about) in heads.items():
        e = judgement.effects.get(name)
        bar = whisker(AXIS, e.low, e.mean, e.high, verdict) if e and e.n else None
        out.append(Shown(heading, about, bar, e.n, e.mean, e.low, e.high) if e and bar is not None else None)
    return out


def interval(low: Any, high: Any) -> str:
    """``[−0.10, +0.30]``; empty where it is not known."""
    return f"[{words.signed(low)}, {words.signed(high)}]" if words.given(low) and words.given(high) else ""


def sentence(row: Mapping[str, Any]) -> str:
    """What the edited images showed of the class of a ranking's row, in a sentence or two."""
    tested, n = row["tested"], row["n_edited"]
    measured = f"{words.signed(row['effect'])} {interval(row['effect_low'], row['effect_high'])}".strip()
    images = f"on {words.count(n, 'edited image')}" if words.given(n) else "on edited images"
    if tested == Tested.DEPENDS:
        unseen = "" if row["map_verdict"] in SUSPECT else " The heat maps do not show it."
        return (
            f"The network needs what lies beside the object: {images}, the own background adds {measured} to "
            f"the probability of the class, beyond what ordinary classes show.{unseen}"
        )
    if tested == Tested.INDEPENDENT:
        return f"The network does not need what lies beside the object ({measured} {images})."
    if tested == Tested.RIM:
        return (
            f"The background adds {measured} {images}, but the effect vanishes when the rim of the box is "
            "widened: it may be a part of the object that the box cuts off."
        )
    if tested == Tested.UNDECIDED:
        return f"Whether the network needs what lies beside the object is open ({measured} {images})."
    return ""
