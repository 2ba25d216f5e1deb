"""What the network goes by: the windows of a class that carry it to other images, in pictures and in words.

Everything is read from the stored table ``transfer``, in which the pictures of the best windows lie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.run.transfer_parts import read_transfer
from pipeline.statistics.pasted import Pasted, read_pasted
from pipeline.statistics.transfer import Carried
from pipeline.verdicts import Holds, Transferred
from reports.inline import data_uri
from reports.page import words
from reports.page.data import RunData
from reports.page.edits import interval


@dataclass(frozen=True)
class BestWindow:
    """A stored window: PNG, made smaller where it was larger than 64 pixels.

    Attributes:
        x, y, width, height: where it lies in the model's input, pixel.
        gain: log odds that it adds to its class, over a window of another class, on ``n`` images of others.
        added, control: probability that it adds there, and that the other window adds.
    """

    png: bytes
    uri: str
    example_id: str
    x: int
    y: int
    width: int
    height: int
    gain: float
    added: float
    control: float
    n: int


@dataclass(frozen=True)
class ClassWindows:
    """The windows of a class: the best that are stored, best first, and all as numbers."""

    best: tuple[BestWindow, ...]
    all: Pasted


def windows_of(run: RunData, labels: Sequence[int]) -> dict[int, ClassWindows]:
    """Label -> its windows, of the classes that have some, by the method that the run is ranked by."""
    table = read_transfer(run.store) if run.ranking.carried else None
    if table is None:
        return {}
    pasted = read_pasted(table, run.method)
    shown = table.filter(table["picture"].is_valid()).to_pylist()
    made = {}
    for label in labels:
        if label in pasted:
            own = [r for r in shown if r["label"] == label and r["method"] == run.method]
            best = [_best(row, pasted[label]) for row in own]
            made[label] = ClassWindows(tuple(sorted(best, key=lambda w: -w.gain)), pasted[label])
    return made


def _best(row: Mapping[str, Any], pasted: Pasted) -> BestWindow:
    i = pasted.example_id.index(row["example_id"])
    return BestWindow(
        png=row["picture"],
        uri=data_uri(row["picture"], "image/png"),
        example_id=row["example_id"],
        x=row["x"],
        y=row["y"],
        width=row["width"],
        height=row["height"],
        gain=float(pasted.gain[i]),
        added=float(pasted.added[i]),
        control=float(pasted.control_added[i]),
        n=int(pasted.recipients[i]),
    )


def sentence(run: RunData, row: Mapping[str, Any]) -> str:
    """What the pasted windows of the class of a ranking's row showed, in figures; empty where it has none."""
    carried = run.ranking.carried.get(int(row["label"]))
    if carried is None:
        return ""
    measured = f"{words.signed(carried.mean)} {interval(carried.low, carried.high)} log odds"
    onto = f"Pasted onto {words.count(carried.pictures, 'image')} of other classes, the most relevant windows"
    where = " beside its objects" if carried.beside else ""
    if carried.transferred == Transferred.NOTHING:
        return f"{onto}{where} carry nothing of the class ({measured})."
    if carried.transferred == Transferred.UNDECIDED:
        return f"{onto}{where}: whether they carry the class is open ({measured}).{_for_reference(carried)}"
    more = _elsewhere(carried) + _for_reference(carried)
    more += "" if carried.beside else " Without boxes, these windows may be the object itself."
    return (
        f"{onto}{where} add {words.signed(carried.added)} to the probability of the class (windows of other "
        f"classes at the same places: {words.signed(carried.control_added)}), {measured} over these; "
        f"{words.percent(carried.strong)} of them multiply its odds by more than 7.{more}"
    )


_PLACES: Final = {
    Holds.ANYWHERE: "what they carry holds at other places, too",
    Holds.ITS_PLACE: "what they carry is bound to their place",
    Holds.UNDECIDED: "whether their place matters is open",
}


def _elsewhere(carried: Carried) -> str:
    """What the best of them add at other places."""
    moved = carried.moved
    if moved is None:
        return ""
    return (
        f" The best {words.spell(moved.n)}, pasted elsewhere on other images, add "
        f"{words.signed(moved.elsewhere)} {interval(moved.low, moved.high)} log odds (at their own place "
        f"there: {words.signed(moved.own)}): {_PLACES[moved.holds]}."
    )


def _for_reference(carried: Carried) -> str:
    """What a reference network makes of the same windows."""
    same = carried.same
    if same is None:
        return ""
    text = f" For the reference network the same windows add {words.signed(same.added)}"
    if not words.given(same.mean):
        return f"{text}."
    return f"{text}: here {words.signed(same.mean)} {interval(same.low, same.high)} log odds more."
