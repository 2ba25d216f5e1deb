"""The small network that is trained on the planted dataset on the spot, once, and kept beside the data."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from pipeline.batches import iter_batches
from pipeline.card import ModelCard
from pipeline.config import DatasetConfig
from pipeline.datasets.planted import PlantedDataset
from pipeline.shards import plan_shards

WIDTHS = (16, 32, 48, 64)
EPOCHS = 14
BATCH = 32
RATE = 4e-3


def planted_card(side: int, classes: tuple[str, ...]) -> ModelCard:
    """Input in [-1, 1], no crop."""
    return ModelCard(
        height=side,
        width=side,
        resize="stretch",
        mean=(127.5, 127.5, 127.5),
        std=(127.5, 127.5, 127.5),
        classes=len(classes),
        class_names=classes,
        class_ids=classes,
    )


def build_planted_model(side: int, classes: int, seed: int = 0) -> keras.Model:
    """Untrained: four blocks of convolution, BatchNorm, ReLU, max-pooling; global average; dense; softmax."""
    x = inputs = keras.Input((side, side, 3), name="image")
    for i, width in enumerate(WIDTHS):
        init = keras.initializers.HeUniform(seed=seed * 100 + i)
        x = keras.layers.Conv2D(
            width, 3, padding="same", use_bias=False, kernel_initializer=init, name=f"conv{i + 1}"
        )(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"norm{i + 1}")(x)
        x = keras.layers.ReLU(name=f"relu{i + 1}")(x)
        x = keras.layers.MaxPooling2D(name=f"pool{i + 1}")(x)
    x = keras.layers.GlobalAveragePooling2D(name="average")(x)
    init = keras.initializers.GlorotUniform(seed=seed * 100 + 99)
    x = keras.layers.Dense(classes, kernel_initializer=init, name="logits")(x)
    return keras.Model(inputs, keras.layers.Softmax(name="predictions")(x), name="planted_cnn")


def read_split(dataset: PlantedDataset, split: str, card: ModelCard) -> tuple[np.ndarray, np.ndarray]:
    """All inputs (n h w c float32) and labels (n) of a split."""
    config = DatasetConfig(source="tfds", path=str(dataset.folder), split=split)
    source = PlantedDataset(config, dataset.folder)
    inputs, labels = [], []
    for shard in plan_shards(source.info.name, split, source.info.n_examples, 1 << 30):
        for batch in iter_batches(source, shard, card, 64):
            inputs.append(batch.inputs[batch.valid])
            labels.append(batch.labels[batch.valid])
    return np.concatenate(inputs), np.concatenate(labels)


def train_planted_model(dataset: PlantedDataset, seed: int = 0, epochs: int = EPOCHS) -> keras.Model:
    """Train on the split ``train``: Adam with cosine decay, fixed seed; takes well under 90 s on two cores."""
    spec = dataset.spec
    inputs, labels = read_split(dataset, "train", planted_card(spec.side, spec.classes))
    keras.utils.set_random_seed(seed)
    model = build_planted_model(spec.side, len(spec.classes), seed)
    steps = max(1, -(-len(inputs) // BATCH) * epochs)
    rate = keras.optimizers.schedules.CosineDecay(RATE, steps)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(inputs, labels, batch_size=BATCH, epochs=epochs, verbose=0)
    return model


def planted_model(dataset: PlantedDataset, seed: int = 0) -> Path:
    """Path of the trained network beside ``dataset``, with its card as ``.toml``; trained if it is not there."""
    path = dataset.folder / f"cnn-{seed}.keras"
    if path.is_file() and path.with_suffix(".toml").is_file():
        return path
    model = train_planted_model(dataset, seed)
    card = replace(planted_card(dataset.spec.side, dataset.spec.classes), output="softmax")
    temporary = path.with_name(f".tmp-{os.getpid()}-{time.monotonic_ns()}.keras")
    model.save(temporary)
    card.save(path.with_suffix(".toml"))
    os.replace(temporary, path)
    return path
