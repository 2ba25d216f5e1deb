"""Photographs of ImageNet in ten super-classes, for the canary: which are used, read, halved and written."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.canary.super_classes import SUPER_CLASSES, super_class
from pipeline.errors import InputError
from pipeline.inputs.batches import iter_batches
from pipeline.inputs.card import ModelCard
from pipeline.inputs.datasets import Dataset
from pipeline.inputs.datasets.ilsvrc2012 import imagenet_classes
from pipeline.inputs.geometry import union_mask
from pipeline.inputs.picked import Picked
from pipeline.inputs.shards import Shard
from pipeline.measure.interventions.pictures import window_sums
from pipeline.schema import STATUS_OK
from pipeline.seeds import ImageChoice, Purpose

CANDIDATES = 4  # records looked at per photograph wanted: not every one has room for a mark
FEWEST_CLASSES = 3
BOXES = "boxes.csv"


@dataclass(frozen=True)
class Choice:
    """Which photographs are used.

    ``most`` of a super-class (a third of ImageNet would be "thing" otherwise), a seeded choice, and only
    those whose boxes leave free a square of ``room`` of the side, in every super-class: so a share of marked
    images means what it says.
    """

    room: float = 0.17
    most: int = 60
    seed: int = 0


@dataclass(frozen=True)
class Photos:
    """Photographs in the model's geometry, of one super-class each, with at least one visible box."""

    names: tuple[str, ...]
    labels: np.ndarray
    pictures: np.ndarray  # n h w 3 uint8
    boxes: tuple[np.ndarray, ...]  # (k, 4) inclusive pixels

    def take(self, rows: np.ndarray) -> Photos:
        """Some of them."""
        return Photos(
            tuple(self.names[i] for i in rows),
            self.labels[rows],
            self.pictures[rows],
            tuple(self.boxes[i] for i in rows),
        )


def read_photos(dataset: Dataset, card: ModelCard, choice: Choice) -> Photos:
    """The photographs of ``dataset`` that ``choice`` names; the others are not decoded.

    Raises :class:`InputError` when its classes are not the 1000 synsets, or less than ``FEWEST_CLASSES``
    super-classes have two photographs with room for a mark.
    """
    groups = super_classes_of(dataset)
    candidates = _candidates(dataset, groups, choice)
    by_group: dict[int, list[_Photo]] = {}
    for photo in _with_room(Picked(dataset, tuple(sorted(candidates))), card, choice.room):
        by_group.setdefault(groups[photo.label], []).append(photo)
    if sum(len(photos) > 1 for photos in by_group.values()) < FEWEST_CLASSES:
        usable = sum(map(len, by_group.values()))
        raise InputError(
            f"photo canary: {usable} photographs of {dataset.info.name!r} have room "
            f"for a mark; needed are two or more in at least {FEWEST_CLASSES} super-classes"
        )
    kept = [
        photo
        for photos in by_group.values()
        for photo in sorted(photos, key=lambda photo: candidates[photo.index])[: choice.most]
    ]
    kept.sort(key=lambda photo: photo.index)
    return Photos(
        names=tuple(photo.example_id for photo in kept),
        labels=np.array([groups[photo.label] for photo in kept]),
        pictures=np.stack([photo.picture for photo in kept]),
        boxes=tuple(photo.boxes for photo in kept),
    )


@dataclass(frozen=True)
class _Photo:
    """A photograph in the model's geometry; ``label``: of the dataset."""

    index: int
    example_id: str
    label: int
    picture: np.ndarray
    boxes: np.ndarray


def _with_room(picked: Picked, card: ModelCard, room: float) -> Iterator[_Photo]:
    """The photographs with a free square of ``room`` of the side."""
    for batch in iter_batches(picked, picked.shard, card, 32) if picked.chosen else ():
        shape = batch.pictures.shape[1:3]
        side = round(room * min(shape))
        for i, record in enumerate(batch.records):
            if record is not None and batch.status[i] == STATUS_OK:
                boxes = batch.boxes_model[i]
                if len(free_places(boxes, shape, (side, side))):
                    picture = batch.pictures[i].copy()
                    yield _Photo(record.index, record.example_id, record.label, picture, boxes)


def super_classes_of(dataset: Dataset) -> tuple[int, ...]:
    """Per class of ``dataset`` the index of its super-class. Raises :class:`InputError` for other classes."""
    info = dataset.info
    ids, names = imagenet_classes()
    if set(info.class_ids) != set(ids):
        raise InputError(
            f"photo canary: the {len(info.class_ids)} classes of dataset {info.name!r} are not the 1000 "
            "synsets of ILSVRC; give a dataset that `hansaudit prepare ilsvrc2012` made"
        )
    group = {k: SUPER_CLASSES.index(super_class(i, names[i])) for i, k in enumerate(ids)}
    return tuple(group[k] for k in info.class_ids)


def _candidates(dataset: Dataset, groups: Sequence[int], choice: Choice) -> dict[int, int]:
    """Index -> seeded rank of the records with boxes, at most ``CANDIDATES * most`` per super-class."""
    info = dataset.info
    ranks: dict[int, list[tuple[int, int]]] = {}
    for record in dataset.read(Shard(info.name, info.split, 0, info.n_examples, "all")):
        if record.error is None and record.label >= 0 and len(record.boxes):
            rank = ImageChoice.PHOTOS.rank(choice.seed, record.example_id)
            ranks.setdefault(groups[record.label], []).append((rank, record.index))
    most = CANDIDATES * choice.most
    return {index: rank for rows in ranks.values() for rank, index in sorted(rows)[:most]}


def free_places(boxes: np.ndarray, shape: tuple[int, ...], size: tuple[int, ...]) -> np.ndarray:
    """(n, 2) top and left of every rectangle of ``size`` (height, width) that touches no box."""
    return np.argwhere(window_sums(union_mask(boxes, *shape), *size) == 0)


def halves(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that train and rows that are audited: half of each class."""
    rng = Purpose.PHOTO_HALVES.rng(seed)
    train = [
        p[: len(p) // 2] for k in np.unique(labels) for p in [rng.permutation(np.flatnonzero(labels == k))]
    ]
    rows = np.sort(np.concatenate(train))
    return rows, np.setdiff1d(np.arange(len(labels)), rows)


def write_photos(photos: Photos, pictures: np.ndarray, folder: Path) -> None:
    """Pictures (PNG) and ``boxes.csv``, as the dataset source ``folder`` reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / BOXES).open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "label", "xmin", "ymin", "xmax", "ymax"])
        for name, label, picture, boxes in zip(
            photos.names, photos.labels, pictures, photos.boxes, strict=True
        ):
            file_name = f"{Path(name).stem}.png"
            Image.fromarray(picture).save(folder / file_name, "PNG", compress_level=1)
            rows.writerows([file_name, SUPER_CLASSES[label], *box.tolist()] for box in boxes)
