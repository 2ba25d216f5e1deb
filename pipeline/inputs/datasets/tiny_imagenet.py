"""``hansaudit prepare tiny-imagenet``: the public archive of Tiny ImageNet, boxes included.

200 classes of ImageNet at 64 x 64 pixels, a box in every training and validation image (Le and Yang 2015,
"Tiny ImageNet Visual Recognition Challenge", Stanford CS 231N). Boxes are 0-based and inclusive: a box of the
whole picture is ``0 0 63 63``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from pipeline.errors import InputError
from pipeline.inputs.datasets.prepared import Prepared, audit_features, builder_info, prepare
from pipeline.inputs.datasets.zip_archives import ZipMembers, open_zip

SPLITS = {"val": "validation", "train": "train"}  # in the archive -> in the dataset
MAX_LIST = 1 << 24  # bytes of a list: words.txt, the longest one, has 2.5 MB
MAX_IMAGE = 1 << 20  # a JPEG of 64 x 64 has some 2 kB
MAX_TOTAL = 1 << 30  # the public archive has 0.25 GB
SIDE = 64
_WNID = re.compile(r"n\d{8}\Z")
_SUFFIX = ".JPEG"


@dataclass(frozen=True)
class _Box:
    """What a list says of an image: its class, and xmin, ymin, xmax, ymax."""

    synset: str
    box: tuple[int, int, int, int]


def prepare_tiny_imagenet(archive: str | Path, out: str | Path, split: str = "val") -> Prepared:
    """Write one split of the archive to ``out`` (whole or not at all) and say what is in it.

    ``archive``: tiny-imagenet-200.zip, or a part of it in the same layout. ``split``: ``val`` or ``train``;
    the test images of the archive have no classes. An image's id is its file name; classes are in the order
    of their synsets, as in the outputs of ImageNet's networks.

    Raises :class:`InputError` for another split, and for an unreadable, hostile or incomplete archive.
    """
    if split not in SPLITS:
        raise InputError(f"split {split!r}: valid are {', '.join(SPLITS)}; the test images have no classes")
    report = Prepared(Path(out))
    with open_zip(archive, MAX_TOTAL) as members:
        source = _Source(members, _root(members), split, report)
        report.path = prepare(lambda data_dir: TinyImagenet(source, data_dir), out)
    return report


def _root(members: ZipMembers) -> str:
    """The folder of the archive in which everything lies, with its "/"; "" where there is none."""
    roots = [name.removesuffix("wnids.txt") for name in members.members if f"/{name}".endswith("/wnids.txt")]
    if len(roots) != 1:
        raise InputError(
            f"{members.path}: holds {len(roots) or 'no'} wnids.txt; give tiny-imagenet-200.zip, which has one"
        )
    return roots[0]


class _Source:
    """One split of the archive: classes and lists are read at once, images as they are asked for."""

    def __init__(self, members: ZipMembers, root: str, split: str, report: Prepared) -> None:
        self.members, self.root, self.split, self.report = members, root, split, report
        self.class_ids = tuple(sorted(self._wnids()))
        words = dict(self._rows("words.txt", 2))
        self.class_names = tuple(words.get(wnid) or wnid for wnid in self.class_ids)
        self.boxes = self._val_boxes() if split == "val" else self._train_boxes()

    def examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """File name and features of every image of the split, in the archive's order."""
        images = [name for name in self.members.members if self._is_image(name)]
        if not images:
            raise InputError(f"{self.members.path}: holds no image of split {self.split}")
        for name in images:
            file_name = name.rpartition("/")[2]
            yield file_name, self._example(name, file_name)
        self.report.without_image = len(self.boxes.keys() - {name.rpartition("/")[2] for name in images})

    def _example(self, name: str, file_name: str) -> dict[str, Any]:
        about = self.boxes.get(file_name)
        synset = about.synset if about else self._folder_class(name)
        boxes = np.array([about.box] if about else [], np.int32).reshape(-1, 4)
        if about is None:
            self.report.without_boxes.append(file_name)
        self.report.images += 1
        self.report.boxes += len(boxes)
        self.report.classes.add(synset)
        return {
            "image": self.members.read(name, MAX_IMAGE),
            "label": synset,
            "class_id": synset,
            "file_name": file_name,
            "boxes": boxes,
        }

    def _is_image(self, name: str) -> bool:
        return name.startswith(f"{self.root}{self.split}/") and name.endswith(_SUFFIX)

    def _folder_class(self, name: str) -> str:
        """Class of a training image: the folder it lies in."""
        folder = name.removeprefix(f"{self.root}{self.split}/").partition("/")[0]
        if self.split == "val" or folder not in self.class_ids:
            raise InputError(f"{self.members.path}: no class for image {name!r}: no list names it")
        return folder

    def _wnids(self) -> set[str]:
        wnids = {fields[0] for fields in self._rows("wnids.txt", 1)}
        for wnid in wnids:
            if not _WNID.match(wnid):
                raise InputError(
                    f"{self.members.path}: wnids.txt: {wnid!r} is not a synset such as n01443537"
                )
        return wnids

    def _val_boxes(self) -> dict[str, _Box]:
        where = "val/val_annotations.txt"
        return {name: self._box(synset, sides, where) for name, synset, *sides in self._rows(where, 6)}

    def _train_boxes(self) -> dict[str, _Box]:
        boxes: dict[str, _Box] = {}
        for wnid in self.class_ids:
            where = f"train/{wnid}/{wnid}_boxes.txt"
            if self.root + where in self.members.members:
                for name, *sides in self._rows(where, 5):
                    if name in boxes:
                        raise InputError(f"{self.members.path}: {where}: a second list about image {name!r}")
                    boxes[name] = self._box(wnid, sides, where)
        return boxes

    def _box(self, synset: str, sides: list[str], where: str) -> _Box:
        try:
            left, top, right, bottom = (int(side) for side in sides)
        except ValueError:
            raise InputError(f"{self.members.path}: {where}: a box is not four numbers: {sides}") from None
        if synset not in self.class_ids:
            raise InputError(f"{self.members.path}: {where}: class {synset!r} is not in wnids.txt")
        if not (0 <= left <= right < SIDE and 0 <= top <= bottom < SIDE):
            raise InputError(
                f"{self.members.path}: {where}: box {left} {top} {right} {bottom} does not lie in a picture "
                f"of {SIDE} x {SIDE}; valid are xmin <= xmax and ymin <= ymax from 0 to {SIDE - 1}"
            )
        return _Box(synset, (left, top, right, bottom))

    def _rows(self, name: str, fields: int) -> Iterator[list[str]]:
        """The lines of a list, each cut into its ``fields`` at tabs. Raises :class:`InputError`."""
        where = f"{self.members.path}: {name}"
        try:
            lines = self.members.read(self.root + name, MAX_LIST).decode("utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise InputError(f"{where}: not UTF-8 text: {error}") from None
        for number, line in enumerate(lines, 1):
            cut = [text.strip() for text in line.split("\t")]
            if len(cut) != fields and line.strip():
                raise InputError(
                    f"{where}: line {number} has {len(cut)} fields, valid are {fields} between tabs: "
                    f"{line[:60]!r}"
                )
            if line.strip():
                yield cut


class TinyImagenet(tfds.core.GeneratorBasedBuilder):
    """TFDS builder: one split; features of :func:`prepared.audit_features`."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, source: _Source, data_dir: str) -> None:
        self._source = source
        super().__init__(data_dir=data_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        source = self._source
        digest = hashlib.sha256()
        for name, box in sorted(source.boxes.items()):
            digest.update(f"{name} {box.synset} {box.box}\n".encode())
        metadata = {"class_names": list(source.class_names), "annotations_sha256": digest.hexdigest()}
        about = f"Tiny ImageNet, split {source.split}, with its boxes, from the public archive."
        return builder_info(self, audit_features(source.class_ids, "jpeg"), about, metadata)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {SPLITS[self._source.split]: self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from self._source.examples()
