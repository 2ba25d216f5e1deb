"""A sample of a dataset as an audit would see it, and what the network says of it."""

from __future__ import annotations

from collections import Counter
from functools import cached_property

import numpy as np

from explainers.network import network
from pipeline import schema
from pipeline.inputs.batches import Batch, iter_batches
from pipeline.inputs.card import ModelCard
from pipeline.inputs.datasets import Dataset
from pipeline.inputs.geometry import clean_boxes
from pipeline.inputs.models import LoadedModel
from pipeline.inputs.picked import Picked
from pipeline.run.preflight import BoxesSeen, Sample, SizesSeen

_FIRST = 5  # reasons that are told
_BEYOND = 1.0  # pixels by which a box may reach out of its picture: the ways to count them differ by one


class Seen:
    """The images at the positions ``chosen``: decoded, prepared and predicted."""

    def __init__(
        self, dataset: Dataset, model: LoadedModel, chosen: tuple[int, ...], batch_size: int
    ) -> None:
        picked = Picked(dataset, chosen)
        self.model, self.total = model, dataset.info.n_examples
        self.batches = list(iter_batches(picked, picked.shard, model.card, batch_size))
        self.rows = [
            (batch, i, record)
            for batch in self.batches
            for i, record in enumerate(batch.records)
            if record is not None
        ]

    @cached_property
    def labels(self) -> np.ndarray:
        """(n,) label of every image that can be judged, among the network's outputs."""
        return np.concatenate([batch.labels[_judged(batch)] for batch in self.batches])

    @cached_property
    def predictions(self) -> np.ndarray:
        """(n,) what the network says of the same images."""
        return self.predict(self.model.card)

    def predict(self, card: ModelCard) -> np.ndarray:
        """(n,) the most likely outputs, if the pixels were prepared as ``card`` says."""
        net = network(self.model.model)
        parts = []
        for batch in self.batches:
            inputs = batch.inputs if card is self.model.card else card.prepare(batch.pictures)
            parts.append(net.logits((inputs,)).argmax(axis=1)[_judged(batch)])
        return np.concatenate(parts)

    @cached_property
    def reasons(self) -> Counter[str]:
        """Why images failed, or what else is said of them."""
        return Counter(str(batch.reason[i]) for batch, i, _ in self.rows if batch.reason[i])

    @cached_property
    def sample(self) -> Sample:
        """How many images, and what became of them."""
        status = Counter(batch.status[i] for batch, i, _ in self.rows)
        return Sample(len(self.rows), self.total, dict(status), dict(self.reasons.most_common(_FIRST)))

    @cached_property
    def boxes(self) -> BoxesSeen:
        """What became of their boxes."""
        boxed = [(batch, i, record) for batch, i, record in self.rows if len(record.boxes)]
        status = [batch.status[i] for batch, i, _ in boxed]
        return BoxesSeen(
            stored=len(boxed),
            visible=sum(len(batch.boxes_model[i]) > 0 for batch, i, _ in boxed),
            covering=status.count(schema.STATUS_BOX_COVERS_IMAGE),
            faulty=sum(_misfit(record.boxes, batch.sizes[i]) for batch, i, record in boxed),
            boxes=sum(len(record.boxes) for _, _, record in boxed),
        )

    @cached_property
    def sizes(self) -> SizesSeen:
        """Sizes of the pictures, and whether they are those of the annotations."""
        sizes = [(int(w), int(h)) for w, h in (batch.sizes[i] for batch, i, _ in self.rows) if w]
        sizes.sort(key=lambda size: size[0] * size[1])
        stated = [
            (tuple(batch.sizes[i].tolist()), record.size) for batch, i, record in self.rows if record.size
        ]
        return SizesSeen(
            smallest=sizes[0] if sizes else None,
            largest=sizes[-1] if sizes else None,
            stated=len(stated),
            fitting=sum(picture == annotated for picture, annotated in stated),
        )


def _judged(batch: Batch) -> np.ndarray:
    """Rows that are pictures of a class that the network knows."""
    return batch.valid & (batch.labels >= 0)


def _misfit(boxes: np.ndarray, size: np.ndarray) -> bool:
    """Whether a box is impossible in a picture of this width and height, or reaches beyond it."""
    if not size[0]:
        return False  # the picture could not be read: nothing is known of its boxes
    width, height = (int(v) for v in size)
    beyond = np.asarray(boxes, np.float64)[:, 2:] > np.array([width, height]) - 1 + _BEYOND
    return clean_boxes(boxes, width, height)[1] is not None or bool(beyond.any())
