"""Any dataset in the TFDS format: a folder made by ``hansaudit prepare``, or one of the TFDS catalog.

Records are read by position from the split's files, so any shard is read without its predecessors, a damaged
record costs one row, and ids do not depend on the size of a shard.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from pipeline.config_sections import DatasetConfig
from pipeline.errors import InputError
from pipeline.inputs.datasets import NO_BOXES, DatasetInfo, Record, failed, limited
from pipeline.inputs.datasets.annotations import read_boxes
from pipeline.inputs.datasets.box_facts import refuse_fractions
from pipeline.inputs.datasets.features import FeaturePaths, find_features, pick, read_group
from pipeline.inputs.datasets.prepared import METADATA_KEY
from pipeline.inputs.datasets.tfds_builders import open_builder
from pipeline.inputs.geometry import image_size
from pipeline.inputs.objects.ahead import in_order
from pipeline.inputs.objects.places import place
from pipeline.inputs.shards import Shard
from pipeline.inputs.spread import spread
from pipeline.seeds import Purpose


def drawn_boxes(config: DatasetConfig) -> dict[str, np.ndarray]:
    """Boxes (n, 4) by id or file name of an image, from the CSV of ``config``; they replace its own.

    Raises :class:`InputError` for a file that cannot be used.
    """
    if not config.annotations:
        return {}
    if config.annotations_format not in ("", "csv") or not config.annotations.endswith(".csv"):
        raise InputError(f"annotations {config.annotations}: of a dataset in the TFDS format, valid is a CSV")
    entries = read_boxes(place(config.annotations), "csv").entries
    drawn = {
        name: np.array(entry.boxes, np.float32) for entry in entries if entry.boxes for name in entry.names
    }
    refuse_fractions(list(drawn.values()), place(config.annotations))
    return drawn


class TfdsDataset:
    """One split of a dataset in the TFDS format."""

    def __init__(self, config: DatasetConfig) -> None:
        self.config = config
        self._builder, self._records = open_builder(config)
        self._split = _choose_split(self._builder, config)
        self._paths: FeaturePaths = find_features(self._builder.info.features, config)
        self._drawn = drawn_boxes(config)

    def __reduce__(self) -> tuple[Any, ...]:
        return TfdsDataset, (self.config,)

    @functools.cached_property
    def info(self) -> DatasetInfo:
        """See :class:`DatasetInfo`."""
        metadata = self.metadata
        class_ids = tuple(pick(self._builder.info.features, self._paths.label).names)
        return DatasetInfo(
            name=self._builder.info.name,
            split=self._split,
            n_examples=limited(sum(f.take for f in self._files), self.config.limit),
            class_names=tuple(metadata.get("class_names") or class_ids),
            class_ids=class_ids,
            fingerprint=self._fingerprint(),
            planted=metadata.get("planted"),
            decisions=tuple(self._decisions()),
            versions=self._records.versions(f.filename for f in self._files),
        )

    def _decisions(self) -> Iterator[str]:
        """What was decided without being asked for."""
        splits, images = list(self._builder.info.splits), sum(f.take for f in self._files)
        if not self.config.split and len(splits) > 1:
            yield f"split {self._split}, since none was chosen; there are {', '.join(splits)}"
        if self._drawn:
            yield (
                f"boxes of {len(self._drawn)} images are those of {place(self.config.annotations).name}; a "
                "name in it that no image has is not noticed"
            )
        elif not self._paths.boxes:
            yield (
                "no boxes: no feature of the dataset holds any (dataset.boxes names one); nothing that needs "
                "boxes is said"
            )
        if limited(images, self.config.limit) < images:
            which = "one of each stretch of the split, seeded" if self._chosen else "the first"
            yield f"{self.config.limit} of {images} images: {which}"

    @functools.cached_property
    def metadata(self) -> dict[str, Any]:
        """What `hansaudit prepare` noted in the dataset; empty for others."""
        return dict((self._builder.info.metadata or {}).get(METADATA_KEY) or {})

    @functools.cached_property
    def _files(self) -> tuple[Any, ...]:
        """TFDS's file instructions of the split: filename, skip, take."""
        return tuple(self._builder.info.splits[self._split].file_instructions)

    @functools.cached_property
    def _decoders(self) -> dict[str, Any]:
        return _skip_images(self._builder.info.features)

    @functools.cached_property
    def _chosen(self) -> tuple[int, ...] | None:
        """Positions in the split of the images that a limit leaves, where they are not the first."""
        images = sum(f.take for f in self._files)
        if self.config.choice == "first" or limited(images, self.config.limit) == images:
            return None
        return spread(images, self.config.limit, Purpose.LIMITED_IMAGES)

    def read(self, shard: Shard) -> Iterator[Record]:
        """See :class:`Dataset`."""
        if self._chosen is None:
            yield from self._read(shard.start, shard.stop)
        else:
            chosen = self._chosen[shard.start : shard.stop]
            single = in_order(self._read_one, chosen) if self.info.versions else map(self._read_one, chosen)
            for index, record in enumerate(single, shard.start):
                yield replace(record, index=index)

    def _read_one(self, position: int) -> Record:
        (record,) = self._read(position, position + 1)
        return record

    def _read(self, begin: int, end: int) -> Iterator[Record]:
        """The records at these positions of the split."""
        first = 0
        for file in self._files:
            start, stop = max(begin, first), min(end, first + file.take)
            if start < stop:
                shift = file.skip - first
                stored = self._records.read(file.filename, start + shift, stop + shift)
                for index, data in zip(range(start, stop), stored, strict=True):
                    yield self._record(data, index, f"{Path(file.filename).name}__{index + shift}")
            first += file.take

    def _record(self, data: bytes | str, index: int, tfds_id: str) -> Record:
        if isinstance(data, str):
            return failed(tfds_id, index, data)
        try:
            example = self._builder.info.features.deserialize_example_np(data, decoders=self._decoders)
            record = _to_record(example, index, tfds_id, self._paths)
            if self._paths.group:
                group = read_group(example, self._builder.info.features, self._paths.group)
                record = replace(record, group=group)
            drawn = self._drawn.get(record.example_id, self._drawn.get(record.file_name))
            return record if drawn is None or record.error else replace(record, boxes=drawn)
        except Exception as error:  # whatever a damaged record makes the parser raise costs this row only
            reason = f"{tfds_id}: the record does not hold an example: {type(error).__name__}: {error}"
            return failed(tfds_id, index, reason.splitlines()[0])

    def _fingerprint(self) -> str:
        files = [(Path(f.filename).name, self._records.size(f.filename), f.skip, f.take) for f in self._files]
        features = self._builder.info.features.to_json_content()
        identity = [
            self._builder.info.full_name,
            self._split,
            files,
            str(features),
            list(pick(self._builder.info.features, self._paths.label).names),
            self._paths.to_list(),
            self.metadata,
            *([sorted((name, boxes.tolist()) for name, boxes in self._drawn.items())] if self._drawn else []),
        ]
        return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()


def _choose_split(builder: Any, config: DatasetConfig) -> str:
    splits = list(builder.info.splits)
    if config.split:
        if config.split.partition("[")[0] not in splits:
            raise InputError(
                f"split {config.split!r} is not in {builder.info.name}; valid: {', '.join(splits)}"
            )
        return config.split
    for name in ("validation", "test", *splits[:1]):
        if name in splits:
            return name
    raise InputError(f"dataset {builder.info.name} has no split; prepare it again")


def _skip_images(features: Any) -> dict[str, Any]:
    """Decoders that leave every image as the bytes of its file."""
    decoders: dict[str, Any] = {}
    for name, feature in features.items():
        if isinstance(feature, tfds.features.FeaturesDict):
            decoders[name] = _skip_images(feature)
        elif isinstance(feature, tfds.features.Image):
            decoders[name] = tfds.decode.SkipDecoding()
    return decoders


def _to_record(example: dict[str, Any], index: int, tfds_id: str, paths: FeaturePaths) -> Record:
    image = bytes(pick(example, paths.image))
    file_name = pick(example, paths.file_name).decode(errors="replace") if paths.file_name else ""
    example_id = file_name if paths.ids_from_names and file_name else tfds_id
    boxes = np.asarray(pick(example, paths.boxes), np.float32).reshape(-1, 4) if paths.boxes else NO_BOXES
    error = None
    if paths.relative and len(boxes):
        try:
            boxes = absolute_boxes(boxes, *image_size(image))
        except InputError as reason:
            boxes, error = NO_BOXES, str(reason)
    label = np.asarray(pick(example, paths.label))
    if label.ndim:
        label, boxes = _main_object(label, boxes)
    return Record(example_id, index, file_name, None if error else image, int(label), boxes, error)


def absolute_boxes(relative: np.ndarray, width: int, height: int) -> np.ndarray:
    """TFDS's (n, 4) ymin, xmin, ymax, xmax in [0, 1] as xmin, ymin, xmax, ymax, 0-based inclusive pixels."""
    edges = relative[:, [1, 0, 3, 2]] * np.array([width, height, width, height], np.float32)
    return np.rint(edges).astype(np.float32) - np.array([0, 0, 1, 1], np.float32)


def _main_object(labels: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Detection data have a label per object: the image's class is that of its largest box.

    Returns that label (-1 without objects) and the boxes of that class only.
    """
    if len(labels) == 0 or len(labels) != len(boxes):
        return np.array(-1), NO_BOXES
    areas = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    label = labels[np.argmax(areas)]
    return label, boxes[labels == label]
