"""Where images, labels and boxes come from: one file per source, all behind :class:`Dataset`.

Importing this package loads no framework; :func:`open_dataset` imports the source that is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from pipeline.config import DatasetConfig
from pipeline.errors import InputError
from pipeline.inputs.shards import Shard

NO_BOXES = np.zeros((0, 4), np.float32)

# source -> (module with `open_source(config) -> Dataset`, one line for `hansaudit datasets`)
SOURCES = {
    "tfds": (
        "pipeline.inputs.datasets.tfds",
        "a folder made by `hansaudit prepare`, or any TFDS catalog dataset with a label and boxes",
    ),
    "folder": (
        "pipeline.inputs.datasets.folder",
        "a folder of images with boxes from CSV, COCO JSON or VOC XML",
    ),
    "planted": (
        "pipeline.inputs.datasets.planted",
        "drawn objects with known artefacts, made on the spot: the ground truth for demo and tests",
    ),
}


@dataclass(frozen=True)
class Record:
    """One example as it is stored: nothing decoded, nothing corrected.

    ``boxes``: (n, 4) xmin, ymin, xmax, ymax, 0-based, inclusive, pixels of the original image.
    ``error``: why the record cannot be used, for a row that could not be read; ``image`` is then None.
    """

    example_id: str
    index: int
    file_name: str
    image: bytes | None
    label: int
    boxes: np.ndarray
    error: str | None = None


@dataclass(frozen=True)
class DatasetInfo:
    """What a run must know about its data.

    ``class_ids`` are the dataset's own ids (synsets), equal to the names where it has none.
    ``fingerprint`` is the sha256 of what identifies the data. ``planted`` names the artefact of each planted
    class, from the dataset's own metadata; None where nothing is planted.
    """

    name: str
    split: str
    n_examples: int
    class_names: tuple[str, ...]
    class_ids: tuple[str, ...]
    fingerprint: str
    planted: dict[str, str] | None = None

    def to_dict(self) -> dict[str, Any]:
        """For the run's manifest."""
        return asdict(self) | {"class_names": list(self.class_names), "class_ids": list(self.class_ids)}


class Dataset(Protocol):
    """One split of a dataset, readable from any position; cheap to send to another process."""

    @property
    def info(self) -> DatasetInfo: ...

    def read(self, shard: Shard) -> Iterator[Record]:
        """The records of ``shard`` in order, ``len(shard)`` of them: unreadable ones carry an error."""
        ...


def open_dataset(config: DatasetConfig) -> Dataset:
    """The dataset that ``config`` describes. Raises :class:`InputError` when it cannot be used."""
    if config.source not in SOURCES:
        raise InputError(f"dataset source {config.source!r} is unknown; valid: {', '.join(sorted(SOURCES))}")
    module = importlib.import_module(SOURCES[config.source][0])
    dataset: Dataset = module.open_source(config)
    return dataset


def failed(example_id: str, index: int, error: str) -> Record:
    """The row that stands for an example that could not be read."""
    return Record(example_id, index, "", None, -1, NO_BOXES, error)


def limited(n: int, limit: int) -> int:
    """Number of examples when ``limit`` (0 = all) is asked for."""
    return min(n, limit) if limit else n
