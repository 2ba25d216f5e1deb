"""Shard -> batches: decoded in threads ahead of the consumer, boxes in model geometry, one fixed shape.

A damaged image, a bad box or a foreign label costs one row, never the stream. Memory is bounded by the window
of ``AHEAD`` batches, whatever the size of the shard.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from pipeline import schema
from pipeline.busy import DECODE, READ, Busy
from pipeline.errors import InputError
from pipeline.inputs.card import ModelCard
from pipeline.inputs.datasets import Dataset, DatasetInfo, Record
from pipeline.inputs.geometry import (
    Placement,
    clean_boxes,
    draw,
    map_boxes,
    open_image,
    place_image,
    union_mask,
    upright,
)
from pipeline.inputs.limits import DECODING, MAX_BOXES
from pipeline.inputs.shards import Shard

AHEAD = 2  # batches being decoded while one is consumed
NO_MODEL_BOXES = np.zeros((0, 4), np.int32)


@dataclass(frozen=True)
class Batch:
    """``b`` rows, the same ``b`` for every batch of a run; a padded row has record None and status "".

    ``pictures`` b h w 3 uint8 RGB, what the model sees before normalisation; ``inputs`` b h w c float32, what
    the model takes; ``valid`` b: the row is a decoded image with a usable label; ``labels`` b int32, index of
    the class among the network's outputs, -1 if it is not one of them; ``masks`` b h w bool, union of the
    boxes; ``boxes_model`` per row (n, 4) int32, inclusive, visible ones only; ``sizes`` b 2 original width
    and height (0 when unknown); ``status`` one of ``schema.STATUSES``; ``reason`` why it is not ok, or, on
    an ok row, which boxes were left out.
    """

    records: tuple[Record | None, ...]
    pictures: np.ndarray
    inputs: np.ndarray
    valid: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    boxes_model: tuple[np.ndarray, ...]
    sizes: np.ndarray
    status: tuple[str, ...]
    reason: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.records)


@dataclass
class _Row:
    record: Record
    label: int = -1
    picture: np.ndarray | None = None
    inputs: np.ndarray | None = None
    boxes: np.ndarray | None = None
    mask: np.ndarray | None = None
    size: tuple[int, int] = (0, 0)
    status: str = schema.STATUS_FAILED
    reason: str | None = None


@dataclass(frozen=True)
class ClassMap:
    """From the dataset's class indices to the network's outputs; names and ids in the network's order.

    ``by``: what matched them, ``id``, ``name`` or ``position``.
    """

    lookup: np.ndarray
    names: tuple[str, ...]
    ids: tuple[str, ...]
    by: str

    def index(self, label: int) -> int:
        """The network's output for a dataset label; -1 if there is none."""
        return int(self.lookup[label]) if 0 <= label < len(self.lookup) else -1


def map_classes(info: DatasetInfo, card: ModelCard) -> ClassMap:
    """Classes find their output by id, else by name; by position only where the card names none and the
    numbers agree.

    Raises :class:`InputError` when the card's classes are not the dataset's, or would have to be guessed.
    """
    outputs = card.classes or len(card.class_ids) or len(info.class_ids)
    by, lookup = "id", _lookup(info.class_ids, _outputs(card.class_ids, synonyms=False))
    if (lookup < 0).all():
        by, lookup = "name", _lookup(info.class_names, _outputs(card.class_names, synonyms=True))
    if (lookup < 0).all():
        _check_positions(info, card, outputs)
        by, lookup = "position", np.arange(len(info.class_ids), dtype=np.int32)
    names = list(card.class_names or card.class_ids or [f"output {i}" for i in range(outputs)])
    ids = list(card.class_ids or names)
    for label, output in enumerate(lookup):
        if output >= 0:
            names[output], ids[output] = info.class_names[label], info.class_ids[label]
    return ClassMap(lookup, tuple(names), tuple(ids), by)


def _check_positions(info: DatasetInfo, card: ModelCard, outputs: int) -> None:
    theirs, ours = _head(info.class_names), _head(card.class_names or card.class_ids)
    way_out = "give the model card the dataset's class_ids or class_names in the order of the outputs"
    if card.class_ids or card.class_names:
        raise InputError(
            f"dataset {info.name!r} and the network share no class: {theirs} against {ours}; {way_out}, or "
            "neither to match them by position"
        )
    if outputs != len(info.class_ids):
        raise InputError(
            f"dataset {info.name!r} has {len(info.class_ids)} classes ({theirs}), the network {outputs} "
            f"outputs, and its card does not name them: which output is which class cannot be told; {way_out}"
        )


def _head(names: Sequence[str]) -> str:
    """The first few of some names."""
    return ", ".join(name.split(",")[0] for name in names[:3]) + (", ..." if len(names) > 3 else "")


def _outputs(names: Sequence[str], synonyms: bool) -> dict[str, int]:
    """Output by folded name; with ``synonyms``, also by each part of "tench, Tinca tinca" that is unique."""
    by_name = {name.strip().casefold(): i for i, name in enumerate(names)}
    parts = [part.strip().casefold() for name in names for part in name.split(",")] if synonyms else []
    once = {part for part, times in Counter(parts).items() if times == 1}
    for i, name in enumerate(names):
        for part in (part.strip().casefold() for part in name.split(",")):
            if part in once:
                by_name.setdefault(part, i)
    return by_name


def _lookup(names: Sequence[str], outputs: Mapping[str, int]) -> np.ndarray:
    return np.array([outputs.get(name.strip().casefold(), -1) for name in names], np.int32)


def iter_batches(
    dataset: Dataset, shard: Shard, card: ModelCard, batch_size: int, busy: Busy | None = None
) -> Iterator[Batch]:
    """The shard in batches of ``batch_size``, in order; the last one is padded.

    ``busy``: gets the seconds of reading and decoding.

    Raises :class:`InputError` for a batch size below 1.
    """
    if batch_size < 1:
        raise InputError(f"batch_size: received {batch_size}; valid: 1 or more")
    classes, busy = map_classes(dataset.info, card), busy or Busy()

    def decode(record: Record) -> _Row:
        with busy.at(DECODE):
            return _decode(record, card, classes)

    with ThreadPoolExecutor(max(2, os.cpu_count() or 2), "decode") as pool:
        window: deque[Future[_Row]] = deque()
        try:
            for record in _read(dataset, shard, busy):
                window.append(pool.submit(decode, record))
                if len(window) >= (AHEAD + 1) * batch_size:
                    yield _batch([window.popleft().result() for _ in range(batch_size)], card, batch_size)
            while window:
                n = min(batch_size, len(window))
                yield _batch([window.popleft().result() for _ in range(n)], card, batch_size)
        finally:
            for future in window:
                future.cancel()


def _read(dataset: Dataset, shard: Shard, busy: Busy) -> Iterator[Record]:
    """The records of the shard; the time that the consumer takes is not theirs."""
    records = iter(dataset.read(shard))
    while True:
        with busy.at(READ):
            record = next(records, None)
        if record is None:
            return
        yield record


def _decode(record: Record, card: ModelCard, classes: ClassMap) -> _Row:
    row = _Row(record, classes.index(record.label))
    if record.image is None:
        row.reason = record.error or "the record holds no image"
        return row
    try:
        if len(record.boxes) > MAX_BOXES:
            raise InputError(f"{len(record.boxes)} boxes in one image; valid: {MAX_BOXES} at most")
        row.picture, placed = _draw_picture(row, record.image, card, classes)
    except InputError as error:
        row.reason = str(error)
        return row
    row.inputs = card.prepare(row.picture)
    boxes, faults = clean_boxes(record.boxes, *row.size)
    row.boxes = map_boxes(boxes, placed, card)
    row.mask = union_mask(row.boxes, card.height, card.width)
    row.status, row.reason = _judge(record.boxes, boxes, row.boxes, row.mask, faults or record.remark)
    return row


def _draw_picture(row: _Row, data: bytes, card: ModelCard, classes: ClassMap) -> tuple[np.ndarray, Placement]:
    """The row's picture and where the image lies in it; notes its size. Raises :class:`InputError`."""
    record, image = row.record, open_image(data)
    with DECODING.take(image.width * image.height):
        if record.viewed:
            image = upright(image, record.size)
        row.size = image.size
        if row.label < 0 and (record.label >= 0 or not record.remark):
            raise InputError(
                f"label {record.label} is none of the {len(classes.names)} classes of the network"
            )
        placed = place_image(*image.size, card)
        picture = draw(image, placed, card)
        del image  # its pixels end here
    return picture, placed


def _judge(
    stored: np.ndarray, usable: np.ndarray, visible: np.ndarray, mask: np.ndarray, faults: str | None
) -> tuple[str, str | None]:
    """Status and reason of a decoded row."""
    if len(usable) == 0:
        return schema.STATUS_NO_BOX, faults or "the dataset has no box for this image"
    if len(visible) == 0:
        return schema.STATUS_NO_VISIBLE_BOX, _cropped(len(usable))
    if mask.all():
        return schema.STATUS_BOX_COVERS_IMAGE, "the boxes cover the whole input: nothing lies outside"
    return schema.STATUS_OK, faults and f"left out: {faults}"


def _cropped(boxes: int) -> str:
    return "the crop removes the box" if boxes == 1 else f"the crop removes all {boxes} boxes"


def _batch(rows: list[_Row], card: ModelCard, size: int) -> Batch:
    shape = (size, card.height, card.width)
    pictures = np.zeros((*shape, 3), np.uint8)
    inputs = np.empty((*shape, card.channels), np.float32)
    masks, valid = np.zeros(shape, bool), np.zeros(size, bool)
    labels, sizes = np.full(size, -1, np.int32), np.zeros((size, 2), np.int32)
    blank = card.prepare(np.zeros((1, 1, 3), np.uint8))
    for i in range(size):
        row = rows[i] if i < len(rows) else None
        if row is None or row.picture is None or row.mask is None:
            inputs[i] = blank
        else:
            pictures[i], inputs[i], masks[i], valid[i] = row.picture, row.inputs, row.mask, True
        if row is not None:
            labels[i], sizes[i] = row.label, row.size
    padding = size - len(rows)
    return Batch(
        records=tuple(row.record for row in rows) + (None,) * padding,
        pictures=pictures,
        inputs=inputs,
        valid=valid,
        labels=labels,
        masks=masks,
        boxes_model=tuple(NO_MODEL_BOXES if r.boxes is None else r.boxes for r in rows)
        + (NO_MODEL_BOXES,) * padding,
        sizes=sizes,
        status=tuple(row.status for row in rows) + ("",) * padding,
        reason=tuple(row.reason for row in rows) + (None,) * padding,
    )
