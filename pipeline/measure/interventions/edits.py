"""The chosen images, edited in every way, and what the network says to each edit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from pipeline.config import ConfirmConfig
from pipeline.inputs.models import LoadedModel
from pipeline.measure.evaluate import Evaluator
from pipeline.measure.interventions.kinds import FULL, Subject, all_interventions
from pipeline.measure.interventions.scenes import Scenes
from pipeline.measure.rows import probabilities
from pipeline.seeds import ImagePurpose, generator


@dataclass(frozen=True)
class Edit:
    """One edited picture (h w 3 uint8): of the ``image``-th scene of a class; ``name``: kind and variant."""

    label: int
    image: int
    name: str
    picture: np.ndarray


@dataclass(frozen=True)
class Measured:
    """What the network said.

    Attributes:
        responses: label -> edit -> (n, 2) per image: probability of the class, and whether it is the first
            one; nan where an edit was not possible.
        passes: forward passes needed.
    """

    responses: Mapping[int, Mapping[str, np.ndarray]]
    passes: int


def intervene(
    scenes: Scenes,
    model: LoadedModel,
    plan: ConfirmConfig,
    batch_size: int,
    on_images: Callable[[int, int], None] | None = None,
) -> Measured:
    """Edit every scene, evaluate in full batches; ``on_images`` as in :func:`~.confirm.confirm`."""
    evaluator = Evaluator(model.model, batch_size)
    always = (FULL, *(name for intervention in all_interventions() for name in intervention.always))
    responses = {k: {name: np.full((len(s), 2), np.nan) for name in always} for k, s in scenes.items()}
    waiting = _all_edits(scenes, plan, on_images)
    while batch := list(islice(waiting, batch_size)):
        logits = evaluator.logits(model.card.prepare(np.stack([edit.picture for edit in batch])))
        p, best = probabilities(logits, model.card.output), logits.argmax(axis=1)
        for edit, row, top in zip(batch, p, best, strict=True):
            of_class = responses[edit.label]
            values = of_class.setdefault(edit.name, np.full_like(of_class["full"], np.nan))
            values[edit.image] = row[edit.label], top == edit.label
    return Measured(responses, evaluator.passes)


def _all_edits(
    scenes: Scenes, plan: ConfirmConfig, on_images: Callable[[int, int], None] | None
) -> Iterator[Edit]:
    total, done = sum(len(of_class) for of_class in scenes.values()), 0
    for label, of_class in scenes.items():
        for image, example_id in enumerate(of_class):
            for name, picture in edits(example_id, label, scenes, plan):
                yield Edit(label, image, name, picture)
            done += 1
            if on_images:
                on_images(done, total)


def edits(
    example_id: str, label: int, scenes: Scenes, plan: ConfirmConfig
) -> Iterator[tuple[str, np.ndarray]]:
    """Name and picture of every edit of one image; what is not possible is left out."""
    scene = scenes[label][example_id]
    rng = generator(plan.seed, example_id, ImagePurpose.EDITS)
    own = [s for k, s in scenes[label].items() if k != example_id]
    others = [s for k, of_class in scenes.items() if k != label for s in of_class.values()]
    subject = Subject(scene, own, others, plan.pairs)
    yield FULL, scene.picture
    for intervention in all_interventions():
        yield from intervention.edits(subject, rng)
