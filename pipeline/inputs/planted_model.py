"""The small network that is trained on the planted dataset on the spot, once, and kept beside the data."""

from __future__ import annotations

import os
import time
from pathlib import Path

import keras
import numpy as np

from pipeline.config_sections import DatasetConfig
from pipeline.inputs.batches import iter_batches
from pipeline.inputs.card import ModelCard
from pipeline.inputs.datasets.planted import PlantedDataset
from pipeline.inputs.shards import plan_shards
from pipeline.temporary import sweep, temporary_name

BLOCKS = (
    (24, 5, 2, False),
    (32, 3, 1, True),
    (48, 3, 1, True),
    (64, 3, 1, False),
)  # width, kernel, stride, pooling
EPOCHS = 10
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
    """Untrained: four blocks of convolution, BatchNorm and ReLU; global average; dense; softmax."""
    x = inputs = keras.Input((side, side, 3), name="image")
    for i, (width, kernel, stride, pool) in enumerate(BLOCKS, 1):
        init = keras.initializers.HeUniform(seed=seed * 100 + i)
        conv = keras.layers.Conv2D(
            width, kernel, stride, "same", use_bias=False, kernel_initializer=init, name=f"conv{i}"
        )
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"norm{i}")(conv(x))
        x = keras.layers.ReLU(name=f"relu{i}")(x)
        x = keras.layers.MaxPooling2D(name=f"pool{i}")(x) if pool else x
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
    """Train on the split ``train``: Adam with cosine decay, fixed seed; well under 90 s on two cores."""
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
    """The trained network beside ``dataset``, its card as ``.toml``; trained if it is not there."""
    path = model_path(dataset, seed)
    if path.is_file() and path.with_suffix(".toml").is_file():
        return path
    return save_planted_model(train_planted_model(dataset, seed), dataset, seed)


def model_path(dataset: PlantedDataset, seed: int = 0) -> Path:
    """Where the network of ``dataset`` is kept."""
    return dataset.folder / f"cnn-{seed}.keras"


def save_planted_model(model: keras.Model, dataset: PlantedDataset, seed: int = 0) -> Path:
    """Write network and card beside ``dataset``, the network last and under its name only when whole."""
    path = model_path(dataset, seed)
    sweep(path.parent)
    temporary = path.with_name(temporary_name(f"{time.monotonic_ns()}-{path.name}"))
    model.save(temporary)
    planted_card(dataset.spec.side, dataset.spec.classes).save(path.with_suffix(".toml"))
    os.replace(temporary, path)
    return path
