"""Boxes from CSV, COCO JSON and VOC XML: image name -> labelled boxes, 0-based inclusive pixels."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import defusedxml.ElementTree as SafeXml
import numpy as np
from defusedxml.common import DefusedXmlException

from pipeline.errors import InputError
from pipeline.inputs.datasets import NO_BOXES

SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass
class BoxList:
    """The boxes of one image with their labels ("" where the annotations have none)."""

    labels: list[str] = field(default_factory=list)
    boxes: list[list[float]] = field(default_factory=list)

    def add(self, label: str, box: list[float]) -> None:
        """One more box."""
        self.labels.append(label)
        self.boxes.append(box)

    def choose(self, folder: str) -> tuple[str, np.ndarray]:
        """The image's class, and its boxes.

        The sub-folder, if there is one, is the class; boxes of other classes are left out if any box is of
        this one (a folder may be named by id, the boxes by name: then all of them count).
        """
        boxes = np.array(self.boxes, np.float32).reshape(-1, 4)
        label = folder
        if not label and len(boxes):
            area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
            label = self.labels[int(np.argmax(area))]
        elif not label:
            label = self.labels[0] if self.labels else ""
        own = np.array([name == label for name in self.labels], bool)
        return label, (boxes[own] if own.any() else boxes) if len(boxes) else NO_BOXES


def read_boxes(path: Path, form: str) -> dict[str, BoxList]:
    """Read annotations; ``form`` "" is told from the suffix. Raises :class:`InputError`."""
    if not form:
        form = "voc" if path.is_dir() or path.suffix == ".xml" else {".json": "coco"}.get(path.suffix, "csv")
    try:
        return FORMATS[form](path)
    except OSError as error:
        raise InputError(f"{path}: cannot read the annotations: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from None


def _number(value: Any, where: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"{where}: {value!r} is not a number") from None


def _read_csv(path: Path) -> dict[str, BoxList]:
    """Columns file, xmin, ymin, xmax, ymax (0-based, inclusive), optionally label; one row per box.

    A row with empty coordinates gives an image its label without a box.
    """
    found: dict[str, BoxList] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        if missing := {"file", *SIDES} - set(rows.fieldnames or ()):
            raise InputError(
                f"{path}: columns {sorted(missing)} are missing; valid: file, label, {', '.join(SIDES)}"
            )
        for row in _rows(rows, path):
            own = found.setdefault(row["file"], BoxList())
            sides = [row[side] for side in SIDES]
            if any(sides):
                where = f"{path}, line {rows.line_num}"
                own.add(row.get("label") or "", [_number(side, where) for side in sides])
            elif row.get("label"):
                own.labels.append(str(row["label"]))
    return found


def _rows(rows: csv.DictReader, path: Path) -> Iterator[dict[str, str]]:
    try:
        yield from rows
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: not readable as CSV: {error}") from None


def _read_coco(path: Path) -> dict[str, BoxList]:
    """``bbox`` is x, y, width, height in continuous coordinates; crowds are left out."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        names = {item["id"]: str(item["file_name"]) for item in data["images"]}
        categories = {item["id"]: str(item["name"]) for item in data["categories"]}
        found = {name: BoxList() for name in names.values()}
        for item in data["annotations"]:
            x, y, width, height = (_number(v, f"{path}: annotation {item.get('id')}") for v in item["bbox"])
            if not item.get("iscrowd"):
                box = [round(x), round(y), round(x + width) - 1, round(y + height) - 1]
                found[names[item["image_id"]]].add(categories[item["category_id"]], [float(v) for v in box])
    except InputError:
        raise
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not valid JSON: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{path}: not COCO's layout (images, annotations, categories): {error!r}") from None
    return found


def _read_voc(path: Path) -> dict[str, BoxList]:
    """One XML file per image; PASCAL VOC counts from 1, so 1 is subtracted."""
    files = sorted(path.rglob("*.xml")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: holds no XML file")
    found: dict[str, BoxList] = {}
    for file in files:
        try:
            root = SafeXml.fromstring(file.read_bytes(), forbid_dtd=True)
        except DefusedXmlException as error:
            raise InputError(
                f"{file}: refused, it defines entities or a DTD ({type(error).__name__})"
            ) from None
        except (SafeXml.ParseError, ValueError, LookupError) as error:  # the latter two: encodings
            raise InputError(f"{file}: not well-formed XML: {error}") from None
        own = found.setdefault(root.findtext("filename", "").strip() or file.stem, BoxList())
        for item in root.iter("object"):
            box = [_number(item.findtext(f"bndbox/{side}"), str(file)) - 1 for side in SIDES]
            own.add(item.findtext("name", "").strip(), box)
    return found


FORMATS: dict[str, Callable[[Path], dict[str, BoxList]]] = {
    "csv": _read_csv,
    "coco": _read_coco,
    "voc": _read_voc,
}
