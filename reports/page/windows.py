"""What the network goes by: the windows of a class that carry it to other images, in pictures and in words.

Everything is read from the stored table ``transfer``, in which the pictures of the best windows lie.
"""

from __future__ import annotations

import colorsys
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from pipeline.run.documents import PropertiesDocument
from pipeline.run.transfer_parts import read_transfer
from pipeline.statistics.pasted import Pasted, read_pasted
from pipeline.statistics.transfer import STRONG
from pipeline.verdicts import Transferred
from reports.inline import data_uri
from reports.page import words
from reports.page.data import RunData
from reports.page.edits import interval

MOSTLY: Final = 0.6  # share of the windows that must agree on a place or a colour for it to be said
_FEWEST: Final = 3  # windows of which a place or a colour is said
_ROWS, _COLUMNS = ("upper", "middle", "lower"), ("left", "centre", "right")
# hue in degrees -> its name up to there
_HUES: Final = ((20, "red"), (45, "orange"), (70, "yellow"), (165, "green"), (200, "cyan"), (260, "blue"),
                (330, "purple"), (361, "red"))  # fmt: skip


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


def sentence(run: RunData, row: Mapping[str, Any], windows: ClassWindows | None) -> str:
    """What the pasted windows of the class of a ranking's row showed; empty where it has none."""
    carried = run.ranking.carried.get(int(row["label"]))
    if carried is None or windows is None:
        return ""
    measured = f"{words.signed(carried.mean)} {interval(carried.low, carried.high)} log odds"
    onto = f"Pasted onto {words.count(carried.pictures, 'image')} of other classes, the most relevant windows"
    where = " beside its objects" if carried.beside else ""
    if carried.transferred == Transferred.NOTHING:
        return f"{onto}{where} carry nothing of the class ({measured})."
    if carried.transferred == Transferred.UNDECIDED:
        return f"{onto}{where}: whether they carry the class is open ({measured})."
    bare = "" if carried.beside else " Without boxes, these windows may be the object itself."
    return (
        f"{onto}{where} add {words.signed(carried.added)} to the probability of the class (windows of other "
        f"classes at the same places: {words.signed(carried.control_added)}), {measured} over these; "
        f"{words.percent(carried.strong)} of them multiply its odds by more than 7. "
        f"{_looks(run, windows)}{bare}{_files(run, int(row['label']))}"
    )


def _looks(run: RunData, windows: ClassWindows) -> str:
    """Size, place and colour of the windows that carry the class, as far as they agree."""
    own = windows.all
    strong = own.gain > STRONG if (own.gain > STRONG).any() else own.gain > 0
    width, height = (round(float(np.median(side[strong]))) for side in (own.width, own.height))
    told = [f"about {width} x {height} of {run.size[0]} x {run.size[1]} pixels"]
    places = [
        place_words(x, y, run.size)
        for x, y in zip(
            own.x[strong] + own.width[strong] / 2, own.y[strong] + own.height[strong] / 2, strict=True
        )
    ]
    if place := _agreed(places):
        told.append(f"mostly {place}")
    if colour := _agreed([name for w in windows.best if (name := colour_words(w.png))]):
        told.append(f"{colour} in the mean")
    return f"Those that do are {', '.join(told)}."


def _agreed(said: Sequence[str]) -> str:
    """What most of them say; empty where they do not agree, or are too few."""
    if len(said) < _FEWEST:
        return ""
    name, count = Counter(said).most_common(1)[0]
    return name if count >= MOSTLY * len(said) else ""


def place_words(x: float, y: float, size: tuple[int, int]) -> str:
    """Which ninth of a picture of ``size`` (width, height) the point lies in.

    >>> place_words(5, 95, (100, 100)), place_words(50, 50, (100, 100))
    ('lower left', 'in the middle')
    """
    row, column = _ROWS[min(2, int(3 * y / size[1]))], _COLUMNS[min(2, int(3 * x / size[0]))]
    if (row, column) == ("middle", "centre"):
        return "in the middle"
    return f"{row} {column}"


def colour_words(png: bytes) -> str:
    """The name of the mean colour of a picture; empty where it cannot be read."""
    try:
        with Image.open(io.BytesIO(png)) as image:
            mean = np.asarray(image.convert("RGB"), float).mean(axis=(0, 1)) / 255
    except (UnidentifiedImageError, OSError, ValueError):
        return ""
    hue, saturation, value = colorsys.rgb_to_hsv(*mean)
    if value < 0.2:
        return "black"
    if saturation < 0.2:
        return "white" if value > 0.8 else "grey"
    return next(name for end, name in _HUES if 360 * hue < end)


def _files(run: RunData, label: int) -> str:
    """Where the files alone tell the class, too."""
    document = PropertiesDocument.current(run.store)
    told = [r for r in document.classes if r.label == label and r.stands_out] if document else []
    if not told:
        return ""
    strongest = max(told, key=lambda r: abs(r.auc - 0.5))
    auc = words.number(max(strongest.auc, 1 - strongest.auc))
    return f" Its files alone tell the class, too: {strongest.name.words} (AUC {auc})."
