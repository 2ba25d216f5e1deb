"""All layers of a network trained further, on images whose backgrounds say nothing of the class.

Cross-entropy in which every class counts the same: of images as they are, of their objects on backgrounds of
all classes, and of such backgrounds alone, whose answer should be that every class is equally likely.
BatchNorm stays as it is, statistics, scale and shift: most of these pictures have holes, later ones none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from explainers.engine import Tensor
from explainers.model.canonize import output_kind
from explainers.model.trace import trace
from pipeline.errors import InputError
from pipeline.followup.lessons import NO_CLASS, PER_IMAGE, Teachers
from pipeline.inputs.card import ModelCard
from pipeline.inputs.models import LoadedModel
from pipeline.seeds import Purpose

BATCH = 32
TINY = 1e-30  # a probability below it has no gradient


@dataclass(frozen=True)
class Course:
    """How long and how fast is trained: ``rate`` is Adam's at first and falls to 0 along half a cosine."""

    epochs: int
    rate: float
    seed: int


@dataclass(frozen=True)
class Trained:
    """What the training was: the mean loss of each epoch, and how many edited pictures it took altogether."""

    losses: tuple[float, ...]
    edits: int


def train_all_layers(
    loaded: LoadedModel, teachers: Teachers, course: Course, on_epoch: Callable[[int], None]
) -> Trained:
    """Train the network of ``loaded`` in place.

    ``on_epoch`` is called with the number of each epoch when it begins, from 1 on.

    Raises:
        InputError: its outputs are sigmoids of several classes, or the loss is not finite any more.
    """
    losses, edits, count = [], 0, len(teachers.labels)
    rng = Purpose.REPAIR_GROUNDS.rng(course.seed)
    keras.utils.set_random_seed(course.seed)
    with _all_but_norms(loaded.model):
        student = _student(loaded, course, math.ceil(PER_IMAGE * count / BATCH))
        for epoch in range(1, course.epochs + 1):
            on_epoch(epoch)
            told = []
            for inputs, wanted in _batches(teachers, loaded.card, rng):
                told.append(student.train_on_batch(inputs, wanted))
                edits += len(inputs)
            losses.append(float(np.mean(told)))
            if not math.isfinite(losses[-1]):
                raise InputError(
                    f"epoch {epoch}: the loss is {losses[-1]}; nothing was written; try less than --rate "
                    f"{course.rate:g}"
                )
    return Trained(tuple(losses), edits - course.epochs * count)


def _student(loaded: LoadedModel, course: Course, steps: int) -> keras.Model:
    """A model around the network, to be compiled in its place: it is saved later. ``steps``: of an epoch."""
    model = loaded.model
    inputs = keras.Input(model.input_shape[1:], dtype=model.inputs[0].dtype)
    student = keras.Model(inputs, model(inputs))
    rate = keras.optimizers.schedules.CosineDecay(course.rate, course.epochs * steps)
    student.compile(keras.optimizers.Adam(rate), _cross_entropy(log_probabilities(loaded)))
    return student


def _batches(
    teachers: Teachers, card: ModelCard, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Inputs (b, h, w, c) and :func:`targets` (b, k) of the lessons of one epoch."""
    coming = teachers.lessons(rng)
    while batch := list(islice(coming, BATCH)):
        pictures, labels = zip(*batch, strict=True)
        yield card.prepare(np.stack(pictures)), targets(np.array(labels), teachers.labels, card.classes)


def targets(labels: NDArray[np.int64], all_labels: NDArray[np.int64], classes: int) -> np.ndarray:
    """(n, k) float32: the probabilities wanted of pictures of classes ``labels`` (n,), times their weights.

    Every class of ``all_labels`` weighs the same altogether, 1 on average; a background alone 1.
    """
    wanted = np.full((len(labels), classes), 1 / classes, np.float32)
    counts = np.bincount(all_labels, minlength=classes)
    weights = len(all_labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    own = labels != NO_CLASS
    wanted[own] = np.eye(classes, dtype=np.float32)[labels[own]] * weights[labels[own], None]
    return wanted


def log_probabilities(loaded: LoadedModel) -> Callable[[Tensor], Tensor]:
    """What makes log-probabilities (n, k) of the network's own outputs (n, k), or (n, 1) of one sigmoid.

    Raises :class:`InputError` for sigmoids of several classes, of which none excludes another.
    """
    cut, stated = output_kind(trace(loaded.model)), loaded.card.output
    units = loaded.model.output_shape[-1]
    if "sigmoid" in (cut, stated) and units > 1:
        raise InputError(
            f"--layers all: the model's {units} outputs are sigmoids, each of its own; valid: softmax, "
            "logits, or one sigmoid unit"
        )

    def logarithms(output: Tensor) -> Tensor:
        y = ops.cast(ops.reshape(output, (-1, units)), "float32")
        if cut == "log_softmax":
            return y
        if cut == "sigmoid":
            y = ops.concatenate([1 - y, y], axis=-1)
        if cut or stated == "probabilities":
            return ops.log(ops.maximum(y, TINY))
        return ops.log_softmax(y, axis=-1)

    return logarithms


def _cross_entropy(log_p: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """Of wanted probabilities (n, k) and the network's outputs; (n,)."""

    def loss(wanted: Tensor, output: Tensor) -> Tensor:
        return -ops.sum(wanted * log_p(output), axis=-1)

    return loss


@contextmanager
def _all_but_norms(model: Any) -> Iterator[None]:
    """While it lasts, all layers are trainable but BatchNorm; then those that were before."""
    layers = model._flatten_layers()
    before = [(layer, layer.trainable) for layer in layers]  # what contains others comes before these
    try:
        for layer, _ in before:
            layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
        yield
    finally:
        for layer, trainable in before:
            layer.trainable = trainable
