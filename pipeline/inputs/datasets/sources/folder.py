"""A folder of images with boxes from CSV, COCO JSON or VOC XML.

The class of an image is its sub-folder (``<class>/<image>``); images that lie in the folder itself take their
class from the annotations: the label column, the category or the object's name (of the largest box where an
image has several, and then the boxes of that class only).
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import DatasetConfig
from pipeline.errors import InputError
from pipeline.inputs.datasets import (
    INFO_FILE,
    NO_BOXES,
    DatasetInfo,
    Record,
    Source,
    failed,
    limited,
    register,
)
from pipeline.inputs.datasets.annotations import FORMATS, BoxList, read_boxes
from pipeline.inputs.shards import Shard

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


@dataclass(frozen=True)
class _Item:
    name: str  # relative, "/" between parts
    label: str
    boxes: np.ndarray
    missing: bool


class FolderDataset:
    """Images in a folder; the order is that of their names."""

    def __init__(self, config: DatasetConfig) -> None:
        self.config = config
        self.root = Path(config.path)
        if not config.path or not self.root.is_dir():
            raise InputError(
                f"dataset source 'folder': {config.path!r} is no folder; give the images' folder as path"
            )
        where = _annotations(config, self.root)
        boxes = read_boxes(where, config.annotations_format)
        self._items = _match(_find_images(self.root), boxes, str(where))
        self._classes = tuple(sorted({item.label for item in self._items if item.label}))
        if not self._classes:
            raise InputError(f"{self.root}: no image has a class; put images in one sub-folder per class")

    def __reduce__(self) -> tuple[Any, ...]:
        return FolderDataset, (self.config,)

    @functools.cached_property
    def info(self) -> DatasetInfo:
        """See :class:`DatasetInfo`; the fingerprint covers names, sizes, classes and boxes, not pixels."""
        digest = hashlib.sha256()
        for item in self._items:
            path = self.root / item.name
            size = 0 if item.missing else path.stat().st_size
            digest.update(json.dumps([item.name, item.label, size, item.boxes.tolist()]).encode())
        return DatasetInfo(
            name=self.root.resolve().name,
            split=self.config.split or "all",
            n_examples=limited(len(self._items), self.config.limit),
            class_names=self._classes,
            class_ids=self._classes,
            fingerprint=digest.hexdigest(),
        )

    def read(self, shard: Shard) -> Iterator[Record]:
        """See :class:`Dataset`."""
        for index in range(shard.start, shard.stop):
            yield self._record(index, self._items[index])

    def _record(self, index: int, item: _Item) -> Record:
        if item.missing:
            return failed(
                item.name, index, f"{item.name}: the annotations name it, but there is no such file"
            )
        try:
            data = (self.root / item.name).read_bytes()
        except OSError as error:
            return failed(item.name, index, f"{item.name}: cannot read the file: {error.strerror}")
        label = self._classes.index(item.label) if item.label else -1
        return Record(item.name, index, item.name, data, label, item.boxes)


def _annotations(config: DatasetConfig, root: Path) -> Path:
    if config.annotations:
        path = Path(config.annotations)
        if not path.exists():
            raise InputError(
                f"annotations {path}: no such file or folder; valid formats: {', '.join(FORMATS)}"
            )
        return path
    for name in ("annotations.csv", "annotations.json", "annotations", "Annotations"):
        if (root / name).exists():
            return root / name
    raise InputError(
        f"{root}: no boxes: name a CSV, COCO JSON or folder of VOC XML files as annotations, or put "
        "annotations.csv into the folder"
    )


def _find_images(root: Path) -> list[str]:
    found = [p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()]
    outside = [p for p in found if not p.resolve().is_relative_to(root.resolve())]
    if outside:
        raise InputError(f"{outside[0]}: is a link to a file outside the folder; it is refused")
    if not found:
        raise InputError(f"{root}: holds no image ({', '.join(sorted(SUFFIXES))})")
    return sorted(p.relative_to(root).as_posix() for p in found)


def _match(images: list[str], boxes: dict[str, BoxList], where: str) -> list[_Item]:
    """Annotations find their image by relative path, else by base name where that is unique."""
    by_base: dict[str, list[str]] = {}
    for name in images:
        by_base.setdefault(name.rpartition("/")[2], []).append(name)
    stems = {base.rpartition(".")[0]: names for base, names in by_base.items()}
    found: dict[str, BoxList] = {}
    items = []
    for key, own in boxes.items():
        if key.startswith("/") or ".." in key.split("/"):
            raise InputError(f"{where}: image name {key!r} points outside the folder; it is refused")
        names = (
            [key]
            if key in set(by_base.get(key.rpartition("/")[2], ()))
            else by_base.get(key, stems.get(key, []))
        )
        if len(names) > 1:
            raise InputError(
                f"{where}: image name {key!r} fits {len(names)} files, such as {names[0]} and {names[1]}"
            )
        if names:
            found[names[0]] = own
        else:
            items.append(_Item(key, "", NO_BOXES, missing=True))
    for name in images:
        folder = name.partition("/")[0] if "/" in name else ""
        label, own_boxes = (found.get(name) or BoxList()).choose(folder)
        items.append(_Item(name, label, own_boxes, missing=False))
    return sorted(items, key=lambda item: item.name)


def _section(text: str) -> dict[str, str] | None:
    path = Path(text).expanduser()
    prepared = (path / INFO_FILE).is_file()
    return {"source": SOURCE.name, "path": str(path)} if path.is_dir() and not prepared else None


SOURCE = register(
    Source("folder", "a folder of images with boxes from CSV, COCO JSON or VOC XML", FolderDataset, _section)
)
