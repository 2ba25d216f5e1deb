"""A dataset and a network, looked at together on a few images: ``hansaudit check``, and before every run.

What card, annotations and folder say is held against what the network and the pixels say.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.errors import InputError
from pipeline.inputs.batches import ClassMap, map_classes
from pipeline.inputs.card import ModelCard
from pipeline.inputs.datasets import Dataset, DatasetInfo
from pipeline.inputs.models import LoadedModel
from pipeline.inputs.spread import spread
from pipeline.measure.agreement import accuracy_of
from pipeline.measure.doubts import doubts
from pipeline.measure.seen import Seen
from pipeline.run.preflight import ClassMatch, Names, NetworkFacts, Preflight

IMAGES = 64
_FIRST = 5  # pairs and names that are told


def look(dataset: Dataset, model: LoadedModel, images: int = IMAGES, batch_size: int = 16) -> Preflight:
    """Look at about ``images`` of the dataset, a seeded choice spread over all of it.

    Raises:
        InputError: the dataset is empty, its classes are not the network's, or no image that was looked at
            can be used.
        ExplainError: the network cannot be traced.
    """
    info = dataset.info
    if info.n_examples == 0:
        raise InputError(f"dataset {info.name!r}, split {info.split!r}: it is empty")
    classes = map_classes(info, model.card)
    seen = Seen(dataset, model, spread(info.n_examples, images), batch_size)
    if not any(batch.valid.any() for batch in seen.batches):
        raise InputError(
            f"dataset {info.name!r}: none of the {len(seen.rows)} images that were looked at can be used, "
            f"e.g.: {next(iter(seen.reasons))}"
        )
    accuracy = accuracy_of(seen.labels, seen.predictions, classes.names)
    return Preflight(
        sample=seen.sample,
        boxes=seen.boxes,
        sizes=seen.sizes,
        classes=_match(info, model.card, classes),
        network=_facts(model),
        accuracy=accuracy,
        decisions=(*info.decisions, *_by_position(classes), *model.decisions),
        warnings=tuple(doubts(seen, accuracy, classes.names)),
    )


def _by_position(classes: ClassMap) -> tuple[str, ...]:
    if classes.by != "position":
        return ()
    pairs = ", ".join(f"{name} is output {i}" for i, name in enumerate(classes.names[:_FIRST]))
    more = ", ..." if len(classes.names) > _FIRST else ""
    return (f"classes are matched by position, since the model card names none: {pairs}{more}",)


def _match(info: DatasetInfo, card: ModelCard, classes: ClassMap) -> ClassMatch:
    theirs, ours = card.class_names or card.class_ids, info.class_names
    pairs = [(ours[label], int(output)) for label, output in enumerate(classes.lookup) if output >= 0]
    outputs = len(classes.names)
    unused = np.setdiff1d(np.arange(outputs), classes.lookup)
    return ClassMatch(
        classes=len(ours),
        outputs=outputs,
        by=classes.by,
        pairs=tuple((name, i, theirs[i] if theirs else "") for name, i in pairs[:_FIRST]),
        without_output=_names([ours[label] for label in np.flatnonzero(classes.lookup < 0)]),
        without_class=_names([classes.names[i] for i in unused]),
    )


def _names(names: Sequence[str]) -> Names:
    return Names(len(names), tuple(names[:_FIRST]))


def _facts(model: LoadedModel) -> NetworkFacts:
    card = model.card
    types = sorted({layer.compute_dtype for layer in model.model.layers if layer.weights})
    return NetworkFacts(
        name=model.name,
        shape=(card.height, card.width, card.channels),
        dtype=str(model.model.inputs[0].dtype),
        computes=" and ".join(types) or str(model.model.compute_dtype),
        low=tuple(float(v) for v in card.low),
        high=tuple(float(v) for v in card.high),
        output=card.output,
    )
