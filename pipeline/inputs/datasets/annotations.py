"""Boxes from CSV, COCO JSON and VOC XML: labelled boxes per image, 0-based inclusive pixels."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import defusedxml.ElementTree as SafeXml
import numpy as np
from defusedxml.common import DefusedXmlException

from pipeline.csv_text import plain
from pipeline.errors import InputError
from pipeline.inputs.datasets import NO_BOXES
from pipeline.inputs.limits import MAX_BOXES
from pipeline.inputs.objects.ahead import in_order
from pipeline.inputs.objects.places import ObjectPath, Place

SIDES = ("xmin", "ymin", "xmax", "ymax")
REQUIRED = ("file", *SIDES)  # columns of a CSV
GROUP = "group"  # the column that says an image's group, unless another one is named


@dataclass
class ImageBoxes:
    """What the annotations say of one image.

    Attributes:
        names: what the image may be called, the likeliest first; the first names the entry.
        labels, boxes: of every box; a label is "" where the annotations have none.
        image_labels: classes that are given without a box.
        size: width and height of the image as the annotator saw it, where it is stated.
        left_out: why something was not taken as a box.
        group: where the image comes from, "" where that is not said.
    """

    names: tuple[str, ...]
    labels: list[str] = field(default_factory=list)
    boxes: list[list[float]] = field(default_factory=list)
    image_labels: list[str] = field(default_factory=list)
    size: tuple[int, int] | None = None
    left_out: list[str] = field(default_factory=list)
    group: str = ""

    def add(self, label: str, box: list[float]) -> None:
        """One more box. Raises :class:`InputError` for more than an image can have."""
        if len(self.boxes) == MAX_BOXES:
            raise InputError(f"{self.names[0]}: more than {MAX_BOXES} boxes in one image; it is refused")
        self.labels.append(label)
        self.boxes.append(box)

    def join(self, group: str, where: str) -> None:
        """One more row says ``group``, or "" for nothing. Raises :class:`InputError` for a second group."""
        if group and self.group and group != self.group:
            raise InputError(
                f"{where}: {self.names[0]} is of group {group!r}, an earlier row says {self.group!r}; "
                "valid is one group per image"
            )
        self.group = self.group or group

    def choose(self, folder: str) -> tuple[str, np.ndarray]:
        """The image's class, and its boxes.

        The sub-folder, if there is one, is the class; boxes of other classes are left out if any box is of
        this one (a folder may be named by id, the boxes by name: then all of them count). Without one it is
        that of the largest box, else the one that is given without a box; "" where there is none.
        """
        boxes = np.array(self.boxes, np.float32).reshape(-1, 4)
        label = folder
        if not label and len(boxes):
            area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
            label = self.labels[int(np.argmax(area))]
        label = label or next((given for given in self.image_labels if given), "")
        own = np.array([name == label for name in self.labels], bool)
        return label, (boxes[own] if own.any() else boxes) if len(boxes) else NO_BOXES


@dataclass(frozen=True)
class Annotations:
    """Entries per image, and the classes in the order of the annotations' own numbers if they have any.

    ``group``: name of the column that says the images' groups, "" where there is none.
    """

    entries: tuple[ImageBoxes, ...]
    class_order: tuple[str, ...] = ()
    group: str = ""


def read_boxes(path: Place, form: str, group: str = "") -> Annotations:
    """Read annotations; ``form`` "" is told from the suffix. Raises :class:`InputError`.

    ``group``: column of a CSV with the images' groups; "": :data:`GROUP`, where there is one.
    """
    if not form:
        form = "voc" if path.is_dir() or path.suffix == ".xml" else {".json": "coco"}.get(path.suffix, "csv")
    if group and form != "csv":
        raise InputError(f"{path}: group {group!r} is the name of a CSV's column, and this is {form.upper()}")
    try:
        return _read_csv(path, group) if form == "csv" else FORMATS[form](path)
    except OSError as error:
        raise InputError(f"{path}: cannot read the annotations: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from None


def _number(value: Any, where: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        shown = repr(value)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        raise InputError(f"{where}: {shown} is not a number") from None


def _read_csv(path: Place, group: str = "") -> Annotations:
    """Columns file, xmin, ymin, xmax, ymax (0-based, inclusive), optionally label and group; a row per box.

    A row with empty coordinates gives an image its label, or its group, without a box. Columns width and
    height, where there are any, state the size of the picture that the boxes were drawn on.
    """
    entries: dict[str, ImageBoxes] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        for row in _rows(rows, path, group):
            name, where = row["file"], f"{path}, line {rows.line_num}"
            if not name:
                raise InputError(f"{where}: the file is missing; valid: file, label, {', '.join(SIDES)}")
            own = entries.setdefault(name, ImageBoxes(tuple(dict.fromkeys((name, plain(name))))))
            own.size = own.size or _stated(row, where)
            label = plain((row.get("label") or "").strip())
            own.join((row.get(group or GROUP) or "").strip(), where)
            sides = [(row[side] or "").strip() for side in SIDES]
            if any(sides):
                own.add(label, _box(sides, where))
            elif label:
                own.image_labels.append(label)
        column = group or (GROUP if GROUP in (rows.fieldnames or ()) else "")
    return Annotations(tuple(entries.values()), group=column)


def _stated(row: Mapping[str, str], where: str) -> tuple[int, int] | None:
    """Width and height of the picture, where the row states both."""
    given = [(row.get(side) or "").strip() for side in ("width", "height")]
    if not all(given):
        return None
    if not all(side.isdecimal() and 0 < int(side) < 10**9 for side in given if len(side) < 20):
        raise InputError(
            f"{where}: width and height are {given[0]!r} and {given[1]!r}; valid: pixels, or empty"
        )
    return int(given[0]), int(given[1])


def _box(sides: Sequence[str], where: str) -> list[float]:
    """The four numbers of a row. Raises :class:`InputError` where some are empty, or are no numbers."""
    if empty := [name for name, side in zip(SIDES, sides, strict=True) if not side]:
        given = [name for name in SIDES if name not in empty]
        raise InputError(
            f"{where}: the box is half filled, {', '.join(given)} without {', '.join(empty)}; valid: all "
            "four of them, or none for an image without a box"
        )
    return [_number(side, where) for side in sides]


def _rows(rows: csv.DictReader, path: Place, group: str) -> Iterator[dict[str, str]]:
    try:
        columns = rows.fieldnames or ()
        if missing := set(REQUIRED) - set(columns):
            raise InputError(
                f"{path}: columns {sorted(missing)} are missing; valid: file, label, {', '.join(SIDES)}"
            )
        if group and group not in columns:
            raise InputError(f"{path}: no column {group!r} for the groups; it has {', '.join(columns)}")
        yield from rows
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: not readable as CSV: {error}") from None


def _read_coco(path: Place) -> Annotations:
    """``bbox`` is x, y, width, height in continuous coordinates. Crowds and boxes without an area give their
    image its class, but no box."""
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
        entries = _coco_images(data["images"], path)
        categories = {item["id"]: str(item["name"]) for item in data["categories"]}
        for item in data["annotations"]:
            own, category = entries[item["image_id"]], categories[item["category_id"]]
            box = _coco_box(item, path)
            if isinstance(box, str):
                own.image_labels.append(category)
                own.left_out.append(box)
            else:
                own.add(category, box)
        ordered = tuple(dict.fromkeys(categories[k] for k in sorted(categories)))
    except InputError:
        raise
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not valid JSON: {error}") from None
    except RecursionError:
        raise InputError(f"{path}: its JSON is nested too deeply to be COCO's") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        fault = f"{type(error).__name__}: {str(error)[:80]}"
        raise InputError(f"{path}: not COCO's layout (images, annotations, categories): {fault}") from None
    return Annotations(tuple(entries.values()), ordered)


def _coco_images(items: list[dict[str, Any]], path: Place) -> dict[Any, ImageBoxes]:
    entries: dict[Any, ImageBoxes] = {}
    names: set[str] = set()
    for item in items:
        name = str(item["file_name"])
        if item["id"] in entries or name in names:
            raise InputError(
                f"{path}: image {item['id']} ({name!r}) occurs twice; valid is one entry per image"
            )
        names.add(name)
        size = tuple(int(item.get(side) or 0) for side in ("width", "height"))
        entries[item["id"]] = ImageBoxes((name,), size=(size[0], size[1]) if all(size) else None)
    return entries


def _coco_box(item: dict[str, Any], path: Place) -> list[float] | str:
    """The inclusive box of an annotation, or why it has none."""
    if item.get("iscrowd"):
        return "a crowd, which has no box of its own"
    x, y, width, height = (_number(v, f"{path}: annotation {item.get('id')}") for v in item["bbox"])
    if not (width > 0 and height > 0):
        return f"box of width {width:g} and height {height:g}"
    left, top = round(x), round(y)
    return [float(v) for v in (left, top, max(left, round(x + width) - 1), max(top, round(y + height) - 1))]


def _read_voc(path: Place) -> Annotations:
    """One XML file per image; PASCAL VOC counts from 1, so 1 is subtracted.

    The file's own stem names the image; what stands in ``<filename>`` counts where there is no such image,
    since tools leave a template's name there.
    """
    files: list[Place] = sorted(path.rglob("*.xml"), key=str) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: holds no XML file")
    base = path if path.is_dir() else path.parent
    read = partial(_voc_image, base=base)
    remote = isinstance(path, ObjectPath)
    return Annotations(tuple(in_order(read, files) if remote else map(read, files)))


def _voc_image(file: Place, base: Place) -> ImageBoxes:
    try:
        root = SafeXml.fromstring(file.read_bytes(), forbid_dtd=True)
    except DefusedXmlException as error:
        raise InputError(f"{file}: refused, it defines entities or a DTD ({type(error).__name__})") from None
    except (SafeXml.ParseError, ValueError, LookupError) as error:  # the latter two: encodings
        raise InputError(f"{file}: not well-formed XML: {error}") from None
    stem = str(PurePosixPath(str(file).removeprefix(f"{base}/")).with_suffix(""))
    stated = (root.findtext("filename") or "").strip()
    names = dict.fromkeys((stem, file.stem, *([stated] if stated else [])))
    own = ImageBoxes(tuple(names), size=_voc_size(root))
    for item in root.iter("object"):
        box = [_number(item.findtext(f"bndbox/{side}"), str(file)) - 1 for side in SIDES]
        own.add((item.findtext("name") or "").strip(), box)
    return own


def _voc_size(root: Any) -> tuple[int, int] | None:
    """Width and height where both are stated; tools without the picture at hand write 0."""
    sides = [(root.findtext(f"size/{side}") or "").strip() for side in ("width", "height")]
    if not all(side.isdecimal() and len(side) < 10 and int(side) for side in sides):
        return None
    return int(sides[0]), int(sides[1])


FORMATS: dict[str, Callable[[Place], Annotations]] = {
    "csv": _read_csv,
    "coco": _read_coco,
    "voc": _read_voc,
}
