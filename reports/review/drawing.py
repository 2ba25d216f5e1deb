"""Boxes that a reviewer draws: from the picture that the network sees to pixels of the original, into a CSV.

The CSV is the one of `hansaudit boxes`: images without a box are to be drawn on, and every other row and
column stays as it is. Boxes travel as shares of the shown picture (x, y, x, y in [0, 1]); what the network
does not see of the original (beside the centre crop) is not shown, and no box reaches there.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from pipeline.csv_text import plain
from pipeline.errors import InputError
from pipeline.inputs.card import ModelCard
from pipeline.inputs.geometry import Placement, place_image
from pipeline.run.files import open_files

SIDES: Final = ("xmin", "ymin", "xmax", "ymax")
MOST_BOXES: Final = 50  # of one image, drawn by hand
Share = tuple[float, float, float, float]


class Drawn(BaseModel):
    """What a reviewer sends: the boxes of an image, and the stamp of those that the page showed."""

    model_config = ConfigDict(extra="forbid")

    image: str = Field(max_length=1000)
    boxes: list[Share] = Field(max_length=MOST_BOXES)
    seen: str = Field(default="", max_length=64)


@dataclass(frozen=True)
class SeenImage:
    """An image of the run: its id, class and original size, and how it lies in the network's input."""

    example_id: str
    file: str
    label: int
    width: int
    height: int
    card: ModelCard

    @property
    def _placed(self) -> Placement:
        return place_image(self.width, self.height, self.card)

    def to_pixels(self, share: Share) -> tuple[int, int, int, int]:
        """Shares of the shown picture -> inclusive pixels of the original, at least one, within what is seen.

        Raises ValueError for shares that are no box.
        """
        x0, y0, x1, y1 = share
        if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):  # nan, too
            raise ValueError("a box is left, top, right, bottom, as shares of the picture from 0 to 1")
        placed, card = self._placed, self.card
        across = _inclusive(
            x0, x1, card.width, placed.scale_x, placed.offset_x, (placed.crop[0], placed.crop[2])
        )
        down = _inclusive(
            y0, y1, card.height, placed.scale_y, placed.offset_y, (placed.crop[1], placed.crop[3])
        )
        return across[0], down[0], across[1], down[1]

    def to_share(self, box: Sequence[float]) -> Share:
        """Inclusive pixels of the original -> shares of the shown picture."""
        placed, card = self._placed, self.card
        x0, x1 = (
            min(max((x * placed.scale_x - placed.offset_x) / card.width, 0.0), 1.0)
            for x in (box[0], box[2] + 1)
        )
        y0, y1 = (
            min(max((y * placed.scale_y - placed.offset_y) / card.height, 0.0), 1.0)
            for y in (box[1], box[3] + 1)
        )
        return x0, y0, x1, y1


def _inclusive(
    low: float, high: float, size: int, scale: float, offset: float, crop: tuple[float, float]
) -> tuple[int, int]:
    """First and last pixel of the original between two shares of one side."""
    start, stop = (min(max((end * size + offset) / scale, crop[0]), crop[1]) for end in (low, high))
    first = min(round(start), int(crop[1]) - 1)
    return first, max(first, round(stop) - 1)


class BoxesFile:
    """The CSV at ``path``; ``images``: those of the run without a box, by the file names that it uses."""

    def __init__(self, path: str | Path, images: Mapping[str, SeenImage]) -> None:
        self.path, self._images, self._lock = Path(path), dict(images), threading.Lock()
        names = [plain(row["file"]) for row in self._read()[1]]
        self.to_draw = tuple(dict.fromkeys(name for name in names if name in self._images))

    def image(self, name: str) -> SeenImage:
        """Raises KeyError for one that is not to be drawn on."""
        if name not in self.to_draw:
            raise KeyError(name)
        return self._images[name]

    def state(self) -> list[dict[str, Any]]:
        """The images to draw on, with their boxes, in the order of the file; JSON-ready."""
        boxes: dict[str, list[list[float]]] = {name: [] for name in self.to_draw}
        for row in self._read()[1]:
            if (name := plain(row["file"])) in boxes and (sides := _sides(row)):
                boxes[name].append(sides)
        return [
            {
                "image": name,
                "label": self._images[name].label,
                "boxes": [self._images[name].to_share(box) for box in drawn],
                "stamp": _stamp(drawn),
            }
            for name, drawn in boxes.items()
        ]

    def put(self, sent: Drawn) -> str:
        """Replace the boxes of an image; returns their stamp.

        Raises:
            KeyError, ValueError: no such image; shares that are no box.
            BoxesChanged: somebody else drew on it meanwhile.
            InputError: the file cannot be read or written.
        """
        image = self.image(sent.image)
        drawn = [list(image.to_pixels(share)) for share in sent.boxes]
        with self._lock:
            columns, rows = self._read()
            own = [k for k, row in enumerate(rows) if plain(row["file"]) == sent.image]
            now = [sides for k in own if (sides := _sides(rows[k]))]
            if _stamp(now) != sent.seen:
                raise BoxesChanged(f"{sent.image}: somebody else drew on it meanwhile")
            blank = dict(rows[own[0]]) | dict.fromkeys(SIDES, "")
            new = [blank | dict(zip(SIDES, map(str, box), strict=True)) for box in drawn] or [blank]
            kept = [row for k, row in enumerate(rows) if k not in own[1:]]
            kept[own[0] : own[0] + 1] = new
            self._write(columns, kept)
        return _stamp([[float(side) for side in box] for box in drawn])

    def _read(self) -> tuple[list[str], list[dict[str, str]]]:
        try:
            with self.path.open(newline="", encoding="utf-8-sig") as file:
                rows = csv.DictReader(file, restval="")
                columns = list(rows.fieldnames or ())
                if missing := {"file", *SIDES} - set(columns):
                    raise InputError(
                        f"{self.path}: columns {sorted(missing)} are missing; `hansaudit boxes` "
                        "writes such a file"
                    )
                return columns, [{name: row[name] or "" for name in columns} for row in rows]
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror}") from None
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{self.path}: not readable as CSV: {error}") from None

    def _write(self, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        open_files(self.path.parent).put(self.path.name, text.getvalue().encode("utf-8"))


class BoxesChanged(InputError):
    """The boxes of an image are not any more what the page showed."""


def _sides(row: Mapping[str, str]) -> list[float]:
    """The four numbers of a row; empty where it has none (or what is no box, which the next run refuses)."""
    try:
        return [float(row[side]) for side in SIDES]
    except ValueError:
        return []


def _stamp(boxes: Sequence[Sequence[float]]) -> str:
    return hashlib.sha256(json.dumps(boxes).encode()).hexdigest()[:16] if boxes else ""
