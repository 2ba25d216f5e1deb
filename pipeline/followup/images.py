"""A few images of a finished run, read again: those of a class, and those of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import InputError
from pipeline.inputs.batches import iter_batches
from pipeline.inputs.picked import Picked
from pipeline.measure.bench import Bench
from pipeline.run.ranking_settings import own_settings
from pipeline.run.store import Store
from pipeline.schema import STATUS_NO_BOX, STATUS_OK
from pipeline.seeds import ImageChoice


@dataclass(frozen=True)
class Seen:
    """Images as the network sees them.

    Attributes:
        ids: (n,) keys into ``examples``.
        pictures: (n, h, w, 3) uint8; inputs: (n, h, w, c) float32, what the network takes.
        masks: (n, h, w) bool, union of the boxes; boxed: (n,) bool, whether the image has a usable one.
    """

    ids: list[str]
    pictures: np.ndarray
    inputs: np.ndarray
    masks: np.ndarray
    boxed: np.ndarray

    @property
    def outside_area(self) -> float | None:
        """Mean share of the picture outside the boxes; None without any."""
        masks = self.masks[self.boxed]
        return float(1 - masks.mean()) if len(masks) else None


def usable_images(run: Store) -> pd.DataFrame:
    """Images that can be explained, in a seeded order, those with a usable box first."""
    status = pc.field("status").cast(pa.string())
    usable = status.isin([STATUS_OK, STATUS_NO_BOX])
    rows = run.read("examples", ["index", "label", "status", "correct"], usable).to_pandas()
    seed = own_settings(run.manifest).seed
    rows["order"] = [ImageChoice.CONCEPTS.rank(seed, int(i)) for i in rows["index"]]
    rows["unboxed"] = rows["status"].astype(str) != STATUS_OK
    return rows.sort_values(["unboxed", "order"], kind="stable")


def own_images(run: Store, examples: pd.DataFrame, label: int, images: int) -> list[int]:
    """Positions of up to ``images`` images of a class, as the ranking counts them.

    Raises :class:`InputError` where there is none.
    """
    settings = own_settings(run.manifest)
    rows = examples[examples["label"] == label]
    if settings.images == "correct":
        rows = rows[rows["correct"].eq(True)]
    if rows.empty:
        name = run.manifest["dataset"]["class_names"][label]
        kind = "correctly classified image" if settings.images == "correct" else "image"
        raise InputError(f"class {name!r}: the run has no {kind} of it, so there is nothing to explain")
    return sorted(rows["index"].head(images).tolist())


def others(examples: pd.DataFrame, label: int, images: int) -> list[int]:
    """Positions of images of other classes."""
    rows = examples[(examples["label"] != label) & (examples["label"] >= 0)].sort_values("order")
    return sorted(rows["index"].head(images).tolist())


def read_images(bench: Bench, positions: Sequence[int]) -> Seen:
    """The images at ``positions`` of the split; those that cannot be read any more are left out."""
    card, rows = bench.model.card, []
    picked = Picked(bench.dataset, tuple(positions))
    batches = iter_batches(picked, picked.shard, card, bench.config.execution.batch_size)
    for batch in batches if positions else ():
        for i, record in enumerate(batch.records):
            if record is not None and batch.status[i] in (STATUS_OK, STATUS_NO_BOX):
                arrays = (batch.pictures[i].copy(), batch.inputs[i].copy(), batch.masks[i].copy())
                rows.append((record.example_id, *arrays, batch.status[i] == STATUS_OK))
    if not rows:
        shape = (0, card.height, card.width)
        empty = np.zeros((*shape, card.channels), np.float32)
        return Seen([], np.zeros((*shape, 3), np.uint8), empty, np.zeros(shape, bool), np.zeros(0, bool))
    ids, *columns = zip(*rows, strict=True)
    return Seen(list(ids), *map(np.stack, columns))
