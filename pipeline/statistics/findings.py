"""What was measured of a class, in one sentence: what the network goes by, where, how often, what it adds.

Only what is known is said: a part that was not measured, or on which a class's windows do not agree, is left
out. The sentence is plain text; class names in it are the dataset's, whatever they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from pipeline.inputs.classes import short_names
from pipeline.run.documents import PropertiesDocument, ToldClass, records
from pipeline.run.store import Store
from pipeline.statistics.appearance import agreed, colour_word, common_place, common_row
from pipeline.statistics.transfer import Carried
from pipeline.statistics.window_groups import AGREED, FEWEST, Look, WindowGroup
from pipeline.verdicts import Holds, Transferred, Verdict

_SECOND: Final = 0.3  # share of the pixels from which on the second colour of a mark is named
_ACROSS: Final = 0.75  # share of the picture's side from which on a mark lies across it


@dataclass(frozen=True)
class Facts:
    """What is measured of one class.

    Attributes:
        carried: what its pasted windows showed; None where none were pasted.
        effect, low, high: probability that its background adds, by edited images; None where it is not known.
        confirmed: the edits confirm it.
        files: property of the files that tells the class best, of those that stand out.
        also: readable name of the class that its windows raise, too.
        size: (width, height) of the network's input, pixel; (0, 0) where it is not known.
    """

    carried: Carried | None = None
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    confirmed: bool = False
    files: ToldClass | None = None
    also: str = ""
    size: tuple[int, int] = (0, 0)


def with_findings(
    table: pd.DataFrame, store: Store, carried: Mapping[int, Carried], manifest: Mapping[str, Any]
) -> pd.DataFrame:
    """The ranking's ``table`` with the column ``finding``, null where there is nothing to say."""
    dataset, card = manifest.get("dataset") or {}, (manifest.get("model") or {}).get("card") or {}
    names = [str(name) for name in dataset.get("class_names") or ()]
    short = short_names(names, [str(i) for i in dataset.get("class_ids") or ()])
    told = _told(store)
    said = []
    for row in records(table):
        own = carried.get(int(row["label"]))
        also = own.group.also if own and own.group else None
        facts = Facts(
            carried=own,
            effect=row["effect"],
            low=row["effect_low"],
            high=row["effect_high"],
            confirmed=row["verdict"] == Verdict.CONFIRMED,
            files=told.get(int(row["label"])),
            also=short.get(names[also], names[also]) if also is not None and also < len(names) else "",
            size=(int(card.get("width") or 0), int(card.get("height") or 0)),
        )
        said.append(finding(facts) or None)
    return table.assign(finding=pd.Series(said, table.index, "object"))


def _told(store: Store) -> dict[int, ToldClass]:
    """Label -> the property of its files or pictures that tells it best, of those that stand out."""
    document = PropertiesDocument.current(store)
    loud = [told for told in (document.classes if document else ()) if told.stands_out]
    loud = [told for told in loud if told.name.origin != "boxes"]  # a person drew these
    return {told.label: told for told in sorted(loud, key=lambda told: told.strength)}


def finding(facts: Facts) -> str:
    """The sentence; empty where neither windows nor edited images show anything."""
    carried = facts.carried
    if carried is not None and carried.transferred == Transferred.TRANSFERS:
        text = _by_windows(facts, carried)
    elif facts.confirmed and facts.effect is not None:
        text = _by_background(facts)
    else:
        return ""
    if facts.files is not None:
        text += (
            f"; its files alone tell the class, too: {facts.files.name.words} "
            f"(AUC {facts.files.strength:.2f})"
        )
    return f"{text[0].upper()}{text[1:]}."


def _by_background(facts: Facts) -> str:
    interval = "" if facts.low is None or facts.high is None else f" ({facts.low:+.2f} to {facts.high:+.2f})"
    text = f"its background as a whole: {facts.effect:+.2f}{interval} for this class on edited images"
    carried = facts.carried
    if carried is not None and carried.transferred == Transferred.NOTHING:
        text += ", while no single window of it carries the class"
    return text


def _by_windows(facts: Facts, carried: Carried) -> str:
    group = carried.group
    if group is None:
        what = "what lies beside its objects" if carried.beside else "its most relevant windows"
        text = f"{what}: {_added(carried.added, carried)} on {_images(carried.pictures)} of other classes"
        return text + _on_reference(carried.same.added if carried.same else None)
    parts = [_what(group, facts.size, carried.beside), _added(group.added, carried)]
    text = ": ".join(parts) + _on_reference(carried.same.of_group if carried.same else None)
    text += f", found on {group.n} of {_images(group.of)}"
    text += f" ({group.share:.0%}, {group.share_low:.0%} to {group.share_high:.0%})"
    if facts.also:
        text += f"; where it is pasted the network sees more of {facts.also}, too ({group.also_added:+.2f})"
    return text


def _added(added: float, carried: Carried) -> str:
    """What it adds, and whether its place matters."""
    holds = carried.moved.holds if carried.moved else Holds.UNDECIDED
    where = {
        Holds.ANYWHERE: "wherever it is pasted",
        Holds.ITS_PLACE: "at its own place only",
        Holds.UNDECIDED: "where it is pasted",
    }[holds]
    return f"{added:+.2f} for this class {where}"


def _on_reference(added: float | None) -> str:
    """What the same windows add for a reference network, where it was shown them."""
    return "" if added is None else f" ({added:+.2f} for the reference network)"


def _what(group: WindowGroup, size: tuple[int, int], beside: bool) -> str:
    """Colour, size and place, as far as the windows agree."""
    marks = [look for look in group.looks if look.repeats]
    if len(marks) >= max(FEWEST, AGREED * group.n):
        return _patch(marks, size)
    width, height = (round(float(np.median(side))) for side in zip(*map(_sides, group.looks), strict=True))
    colour = agreed([colour_word(*look.colours[0][0]) for look in group.looks], AGREED)
    what = f"areas of about {width} x {height} pixels"
    told = [what + ("" if beside else ", which may be the object itself")]
    if colour:
        told.append(f"{colour} in the mean")
    if place := _place(group.looks, size):
        told.append(f"mostly {place}")
    return ", ".join(told)


def _patch(marks: Sequence[Look], size: tuple[int, int]) -> str:
    width, height = marks[0].width, marks[0].height
    (first, _), *others = marks[0].colours
    words = [colour_word(*colour) for colour in (first, *(c for c, share in others if share >= _SECOND))]
    colours = " and ".join(dict.fromkeys(words))
    text = f"{_article(colours)} {colours} patch of about {width} x {height} pixels"
    across = 0 < _ACROSS * size[0] <= width
    if across:
        text += " across the picture"
    place = _place(marks, size, common_row if across else common_place)
    return f"{text}, mostly {place}" if place else text


def _place(looks: Sequence[Look], size: tuple[int, int], common: Callable[..., str] = common_place) -> str:
    if not (size[0] and size[1]):
        return ""
    return common([(k.x + k.width / 2, k.y + k.height / 2) for k in looks], size, AGREED)


def _sides(look: Look) -> tuple[int, int]:
    return look.width, look.height


def _article(word: str) -> str:
    return "an" if word[:1] in "aeiou" else "a"


def _images(n: int) -> str:
    return f"{n} image" if n == 1 else f"{n} images"
