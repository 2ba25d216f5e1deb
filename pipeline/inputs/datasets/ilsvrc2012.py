"""``hansaudit prepare ilsvrc2012``: the official archives of the ILSVRC 2012 validation set, boxes included.

TFDS's own ``imagenet2012`` carries no boxes; this one does, and keeps the image's bytes untouched.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.datasets.siscore.labels import IMAGENET_LABELS_LIST  # the names, in order

from pipeline.errors import InputError
from pipeline.inputs.card import read_class_file
from pipeline.inputs.datasets.archives import (
    MAX_IMAGE,
    MAX_TOTAL_IMAGES,
    Annotation,
    read_annotations,
    read_members,
)
from pipeline.inputs.datasets.prepared import Prepared, audit_features, builder_info, prepare
from pipeline.inputs.objects.places import place

SPLIT = "validation"
_NAME = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG\Z")


def prepare_ilsvrc2012(
    images: str | Path,
    boxes: str | Path,
    out: str | Path,
    labels: str | Path | None = None,
    mapping: str | Path | None = None,
) -> Prepared:
    """Write the dataset to ``out`` (whole or not at all) and say what is in it.

    ``images``: ILSVRC2012_img_val.tar, read as a stream. ``boxes``: ILSVRC2012_bbox_val_v3.tgz or Kaggle's
    LOC_val_solution.csv. ``labels``: one synset per line for image numbers 1.., used for images that the box
    file does not name; default: the list that comes with TFDS. ``mapping``: LOC_synset_mapping.txt for
    the class names; default: those that come with TFDS.

    Raises :class:`InputError` for unreadable, hostile or incomplete archives.
    """
    annotations = read_annotations(boxes)
    class_ids, class_names = imagenet_classes(mapping)
    numbered = _read_labels(labels) if labels else packaged_labels()
    _check_synsets(annotations, class_ids, boxes)
    report = Prepared(Path(out))
    source = _Source(str(images), annotations, class_ids, class_names, numbered, report)
    report.path = prepare(lambda data_dir: Ilsvrc2012(source, data_dir), out)
    report.without_image = len(annotations) - (report.images - len(report.without_boxes))
    return report


def imagenet_classes(mapping: str | Path | None = None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The 1000 synsets in the order of the networks' outputs, and their names."""
    ids = _packaged("labels.txt")
    if mapping is None:
        return ids, tuple(IMAGENET_LABELS_LIST)
    mapped_ids, names = read_class_file(mapping)
    if mapped_ids != ids:
        raise InputError(
            f"{mapping}: not the 1000 ILSVRC synsets in sorted order; give LOC_synset_mapping.txt"
        )
    return ids, names


def packaged_labels() -> tuple[str, ...]:
    """Synset of validation image number i + 1, as shipped with TFDS (to be indexed by the number)."""
    return _packaged("validation_labels.txt")


def _packaged(name: str) -> tuple[str, ...]:
    spec = importlib.util.find_spec("tensorflow_datasets")
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    return tuple((folder / "datasets" / "imagenet2012" / name).read_text(encoding="utf-8").split())


def _read_labels(path: str | Path) -> tuple[str, ...]:
    try:
        lines = place(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read the labels: {error}") from None
    return tuple(line.strip() for line in lines)


def _check_synsets(annotations: dict[str, Annotation], class_ids: tuple[str, ...], path: str | Path) -> None:
    known = set(class_ids) | {""}
    for name, annotation in annotations.items():
        if annotation.synset not in known:
            raise InputError(f"{path}: {name} has class {annotation.synset}, which is not one of the 1000")


@dataclass
class _Source:
    images: str
    annotations: dict[str, Annotation]
    class_ids: tuple[str, ...]
    class_names: tuple[str, ...]
    labels: tuple[str, ...]
    report: Prepared

    def examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
        empty = True
        for name, data in read_members(self.images, MAX_IMAGE, MAX_TOTAL_IMAGES):
            empty = False
            yield name, self._example(name, data)
        if empty:
            raise InputError(f"{self.images}: holds no image; give ILSVRC2012_img_val.tar")

    def _example(self, name: str, data: bytes) -> dict[str, Any]:
        match = _NAME.match(name)
        if not match:
            raise InputError(f"{self.images}: member {name!r} is not named ILSVRC2012_val_<8 digits>.JPEG")
        annotation = self.annotations.get(name.removesuffix(".JPEG"))
        if annotation is None:
            self.report.without_boxes.append(name)
            annotation = Annotation("", np.zeros((0, 4), np.int32))
        synset = annotation.synset or self._label(int(match[1]), name)
        self.report.images += 1
        self.report.boxes += len(annotation.boxes)
        self.report.classes.add(synset)
        return {
            "image": data,
            "label": synset,
            "class_id": synset,
            "file_name": name,
            "boxes": annotation.boxes,
        }

    def _label(self, number: int, name: str) -> str:
        label = self.labels[number - 1] if 0 < number <= len(self.labels) else ""
        if label not in self.class_ids:
            raise InputError(
                f"{name}: no class for it in the box file nor in the labels (received {label!r})"
            )
        return label


class Ilsvrc2012(tfds.core.GeneratorBasedBuilder):
    """TFDS builder: split ``validation``; features of :func:`prepared.audit_features`."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, source: _Source, data_dir: str) -> None:
        self._source = source
        super().__init__(data_dir=data_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        digest = hashlib.sha256()
        for name, annotation in sorted(self._source.annotations.items()):
            digest.update(f"{name} {annotation.synset} {annotation.boxes.tolist()}\n".encode())
        metadata = {"class_names": list(self._source.class_names), "annotations_sha256": digest.hexdigest()}
        about = "ILSVRC 2012 validation images with their boxes, from the official archives."
        return builder_info(self, audit_features(self._source.class_ids, "jpeg"), about, metadata)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {SPLIT: self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from self._source.examples()
