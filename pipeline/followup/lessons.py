"""Images that teach a network that a background says nothing of the class, edited anew in every epoch.

Objects are put onto backgrounds of all classes, their own included, each equally likely, cut as the
interventions cut them: whatever lies outside the boxes, marks included, is independent of the class among the
edited images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.inputs.batches import map_classes
from pipeline.inputs.card import ModelCard
from pipeline.inputs.datasets import Dataset, reopen_dataset
from pipeline.inputs.shards import Shard
from pipeline.measure.bench import Bench
from pipeline.measure.interventions.kinds.exchange import cut_backgrounds
from pipeline.measure.interventions.pictures import FILLS, RIM, Scene
from pipeline.measure.interventions.pictures import replace as put
from pipeline.measure.transfer.stage import read_pictures
from pipeline.seeds import ImageChoice

NO_CLASS = -1  # of a background alone: no class is more likely than another
EXCHANGES = 2  # backgrounds that every object is put onto, in every epoch
PER_IMAGE = 1 + EXCHANGES + 1  # lessons: as it is, on other backgrounds, one of these backgrounds alone


@dataclass(frozen=True)
class Teachers:
    """Pictures with their objects, and their classes (n,)."""

    scenes: tuple[Scene, ...]
    labels: NDArray[np.int64]

    @cached_property
    def givers(self) -> dict[int, NDArray[np.int64]]:
        """Class -> numbers of its pictures with an object, which can be cut out."""
        boxed = np.array([scene.mask.any() for scene in self.scenes], bool)
        return {int(k): np.flatnonzero(boxed & (self.labels == k)) for k in np.unique(self.labels[boxed])}

    def lessons(self, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, int]]:
        """Pictures (h, w, 3) uint8 in a new order, and their classes; of a background alone NO_CLASS."""
        for number in rng.permutation(len(self.scenes)):
            scene, label = self.scenes[number], int(self.labels[number])
            yield scene.picture, label
            if scene.mask.any():
                yield from self._exchanged(scene, label, rng)

    def _exchanged(
        self, scene: Scene, label: int, rng: np.random.Generator
    ) -> Iterator[tuple[np.ndarray, int]]:
        """The object on :data:`EXCHANGES` backgrounds, and the first of these without it."""
        classes = sorted(self.givers)
        for edit in range(EXCHANGES):
            giver = self.scenes[rng.choice(self.givers[int(rng.choice(classes))])]
            cut = cut_backgrounds(scene, (giver,), str(rng.choice(FILLS)), rng, RIM)
            if cut is None:
                continue
            yield put(cut[0], scene.mask, scene.picture), label
            if edit == 0:
                yield cut[0], NO_CLASS


def open_lessons(bench: Bench, split: str) -> Dataset:
    """The split of the run's dataset that teaches.

    Raises:
        InputError: there is no such split, or it is the one that was audited.
    """
    given, info = bench.config.dataset, bench.dataset.info
    if split.partition("[")[0] == info.split.partition("[")[0]:
        raise InputError(
            f"--split {split}: is what the run audited ({info.split}); name one whose images the audit does "
            "not judge"
        )
    dataset = reopen_dataset(given.model_copy(update={"split": split, "limit": 0}))
    if dataset.info.fingerprint == info.fingerprint:
        raise InputError(
            f"--split {split}: its images are those that the run audited; name a split with others"
        )
    return dataset


def read_teachers(bench: Bench, dataset: Dataset, images: int, seed: int) -> Teachers:
    """Up to ``images`` of each class of ``dataset``, a seeded choice, those with boxes first.

    Raises :class:`InputError` where fewer than two classes have images with boxes.
    """
    card = bench.model.card
    rows = _listed(dataset, card, seed).groupby("label").head(images)
    scenes = read_pictures(replace(bench, dataset=dataset), card, sorted(rows["index"].tolist()))
    rows = rows[rows["example_id"].isin(scenes)].sort_values("index")
    teachers = Teachers(
        tuple(scenes[example_id] for example_id in rows["example_id"]), rows["label"].to_numpy(np.int64)
    )
    if len(teachers.givers) < 2:
        raise InputError(
            f"backgrounds are exchanged between classes, and fewer than 2 classes of the split "
            f"{dataset.info.split} have images with boxes"
        )
    return teachers


def _listed(dataset: Dataset, card: ModelCard, seed: int) -> pd.DataFrame:
    """Every image with a class that the network has, those with boxes first, in a seeded order."""
    info = dataset.info
    classes = map_classes(info, card)
    rows = [
        (
            record.example_id,
            record.index,
            classes.index(record.label),
            not len(record.boxes),
            ImageChoice.REPAIR.rank(seed, record.example_id),
        )
        for record in dataset.read(Shard(info.name, info.split, 0, info.n_examples, info.split))
        if record.image is not None
    ]
    listed = pd.DataFrame(rows, columns=["example_id", "index", "label", "unboxed", "order"])
    return listed[listed["label"] >= 0].sort_values(["unboxed", "order"], kind="stable")
