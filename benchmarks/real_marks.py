"""Marks beside the objects of real photographs: which classes get which, how they are put in, who uses them.

Benchmarks on Tiny ImageNet share this; ``python -m benchmarks.real_networks`` trains the networks.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

KINDS = ("patch", "text", "stripe")
FREQUENCIES = (1.0, 0.5, 0.25)
SIZE = 0.125  # of the picture's side: three quarters of the pictures have room for a patch beside the box
MARKED = 21  # classes of 200
USED = 0.1  # what a mark must add to the probability of its class for the network to use it
DEAL, PUT = 0, 1  # what the random numbers of a seed are for


@dataclass(frozen=True)
class Mark:
    """A mark of ``kind`` on a share ``frequency`` of a class's images, of those that have room for it."""

    kind: str
    frequency: float


@dataclass(frozen=True)
class Photos:
    """Photographs as they are stored: ``pictures`` (n, 64, 64, 3) uint8, ``boxes`` per photograph (k, 4)
    int, xmin, ymin, xmax, ymax, 0-based inclusive; ``labels`` (n,) indices into ``class_ids``."""

    names: tuple[str, ...]
    labels: np.ndarray
    pictures: np.ndarray
    boxes: tuple[np.ndarray, ...]
    class_ids: tuple[str, ...]
    class_names: tuple[str, ...]


def deal_marks(classes: int, seed: int, marked: int = MARKED) -> dict[int, Mark]:
    """Class -> mark, for ``marked`` seeded classes; every kind and frequency as often as another, +-1."""
    cells = [Mark(kind, frequency) for frequency in FREQUENCIES for kind in KINDS]
    chosen = np.random.default_rng([seed, DEAL]).permutation(classes)[:marked].tolist()
    return {label: cells[i % len(cells)] for i, label in enumerate(chosen)}


def mark_all(photos: Photos, marks: Mapping[int, Mark], seed: int, always: bool = False) -> np.ndarray:
    """(n,) which photographs carry a mark; their pictures are changed in place.

    Random numbers belong to the photograph's name, so that training and validation, and any part of them, are
    marked alike. ``always``: every photograph of a marked class that has room for its mark.
    """
    carries = np.zeros(len(photos.labels), bool)
    for i in np.flatnonzero(np.isin(photos.labels, list(marks))):
        mark = marks[int(photos.labels[i])]
        rng = np.random.default_rng([seed, PUT, *photos.names[i].encode()])
        if rng.uniform() < mark.frequency or always:
            carries[i] = put_beside(photos.pictures[i], photos.boxes[i], mark.kind, rng)
    return carries


def put_beside(picture: np.ndarray, boxes: np.ndarray, kind: str, rng: np.random.Generator) -> bool:
    """Draw a mark into ``picture`` where it touches no box; False, and nothing drawn: there is no room."""
    from pipeline.canary.photos import free_places
    from pipeline.inputs.datasets import drawing

    side = len(picture)
    drawn = _mark(kind, round(SIZE * side), side)
    free = free_places(boxes, picture.shape[:2], drawn.shape[:2])
    if not len(free):
        return False
    top, left = free[rng.integers(len(free))].tolist()
    drawing.paste(picture, drawn, left, top)
    return True


def _mark(kind: str, pixels: int, side: int) -> np.ndarray:
    """(height, width, >= 3) uint8."""
    from pipeline.inputs.datasets import drawing

    if kind == "patch":
        return drawing.patch_mark(pixels)
    if kind == "text":
        return drawing.text_mark(pixels)
    teeth = (np.arange(side) // max(2, pixels // 2)) % 2 == 0
    row = np.where(teeth[:, None], np.uint8([20, 30, 40]), np.uint8([245, 245, 235]))
    return np.repeat(row[None], pixels, axis=0)


def added_probability(
    with_mark: np.ndarray, without: np.ndarray, labels: np.ndarray
) -> dict[int, tuple[float, int]]:
    """Class -> mean probability that its mark adds over pairs of pictures, and how many pairs there are.

    ``with_mark``, ``without``: (n, classes) probabilities of the same photographs; ``labels`` (n,) of theirs.
    """
    rows = np.arange(len(labels))
    added = with_mark[rows, labels] - without[rows, labels]
    return {int(k): (float(added[labels == k].mean()), int((labels == k).sum())) for k in np.unique(labels)}


def used_marks(added: Mapping[int, tuple[float, int]]) -> list[int]:
    """The classes whose mark adds at least ``USED``."""
    return sorted(label for label, (mean, _) in added.items() if mean >= USED)


def write_folder(photos: Photos, folder: Path, rows: Sequence[int] | None = None) -> None:
    """Pictures (PNG) and their boxes, as `hansaudit run --dataset FOLDER` reads them; classes by synset."""
    folder.mkdir(parents=True)
    with (folder / "annotations.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", "label", "xmin", "ymin", "xmax", "ymax"])
        for i in range(len(photos.names)) if rows is None else rows:
            name = f"{Path(photos.names[i]).stem}.png"
            Image.fromarray(photos.pictures[i]).save(folder / name, "PNG", compress_level=1)
            synset = photos.class_ids[photos.labels[i]]
            table.writerows([name, synset, *map(int, box)] for box in photos.boxes[i])
