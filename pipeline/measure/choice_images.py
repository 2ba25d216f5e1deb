"""The images on which the method of a run is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from pipeline.errors import InputError
from pipeline.inputs.batches import Batch, iter_batches
from pipeline.inputs.card import ModelCard
from pipeline.inputs.datasets import Dataset
from pipeline.inputs.picked import Picked
from pipeline.inputs.spread import spread
from pipeline.seeds import ImageChoice, Purpose

MOST, FEWEST = 32, 8  # images
ONE_IN = 20  # of the dataset's images, but FEWEST of a small one
_READ = 4  # times as many are read, undecoded, to have them of many classes


def most_images(n: int) -> int:
    """How many of ``n`` images are looked at, at most.

    >>> [most_images(n) for n in (1, 24, 500, 50_000)]
    [1, 8, 25, 32]
    """
    return min(n, MOST, max(FEWEST, n // ONE_IN))


def draw(dataset: Dataset, card: ModelCard, seed: int) -> Batch:
    """Up to :func:`most_images`, in the order in which they are looked at: a class each, then a second each.

    Seeded; whether the network is right about them plays no part. Unreadable ones are left out.

    Raises:
        InputError: none can be used.
    """
    n = dataset.info.n_examples
    images = most_images(n)
    places = spread(n, _READ * images, Purpose.CHOICE_SAMPLE, seed)
    wanted = _by_turns(dataset, places, seed)[:images]
    positions = tuple(sorted(wanted))
    picked = Picked(dataset, positions)
    batch = next(iter_batches(picked, picked.shard, card, max(1, len(positions))), None)
    rows = [] if batch is None else [row for row in map(positions.index, wanted) if batch.valid[row]]
    if batch is None or not rows:
        raise InputError(
            f"dataset {dataset.info.name!r}: none of the {len(wanted)} images on which a method would be "
            "chosen can be used; name a method with --method, or mend the images: `hansaudit check` says more"
        )
    return rows_of(batch, rows)


def _by_turns(dataset: Dataset, places: Sequence[int], seed: int) -> list[int]:
    """Places of readable examples: of every class its first, then of every class its second, and so on."""
    picked = Picked(dataset, tuple(places))
    classes: dict[int, list[tuple[int, int]]] = {}
    for place, record in zip(places, picked.read(picked.shard), strict=True):
        if record.error is None:
            rank = ImageChoice.METHOD.rank(seed, record.example_id)
            classes.setdefault(record.label, []).append((rank, place))
    turns = [
        (turn, rank, place)
        for of_class in classes.values()
        for turn, (rank, place) in enumerate(sorted(of_class))
    ]
    return [place for _, _, place in sorted(turns)]


def rows_of(batch: Batch, rows: Sequence[int]) -> Batch:
    """Some rows of a batch, in this order."""
    index = list(rows)

    def taken(values: Any) -> Any:
        return values[index] if isinstance(values, np.ndarray) else tuple(values[i] for i in index)

    return Batch(**{f.name: taken(getattr(batch, f.name)) for f in fields(Batch)})
