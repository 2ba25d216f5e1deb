"""Repairs of a network with planted marks: a penalty on explanations in training; last layer or all again.

    python -m benchmarks.right_reasons --out runs/right-reasons

Trains the planted network (six classes, three of them with a mark) as usual and with the penalty of
docs/repair.md on sensitivity outside the boxes, repairs the usual one twice (the last layer; all layers),
audits all four, and prints verdict, effect of the background and accuracy of each marked class. The last two
columns are of whole pictures, as no repair and no audit cuts them: what the mark adds to the probability of
its class, the same picture with and without it, and how many pictures of the class are recognised without it.
Finished networks and audits are kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from flows.settings import load_tensorflow
from pipeline.inputs.datasets.planted import (
    Artefact,
    PlantedDataset,
    PlantedSpec,
    draw_example,
    prepare_planted,
)

CLASSES = ("rhombus", "hexagram", "sickle", "square", "ring", "star")
MARKS = (("rhombus", "patch"), ("hexagram", "text"), ("sickle", "stripe"))
WEIGHT = 1.0  # of the penalty
BATCH, RATE = 32, 4e-3
REPAIRS = {  # folder: name, options
    "repaired": ("last layer again", ()),
    "all-layers": ("all layers again", ("--layers", "all", "--split", "train")),
}


def read_train(dataset: PlantedDataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs n h w c, labels n and where relevance is unwanted n h w 1, of the split ``train``."""
    from pipeline.config_sections import DatasetConfig
    from pipeline.inputs.batches import iter_batches
    from pipeline.inputs.planted_model import planted_card
    from pipeline.inputs.shards import plan_shards

    source = PlantedDataset(
        DatasetConfig(source="tfds", path=str(dataset.folder), split="train"), dataset.folder
    )
    (shard,) = plan_shards(source.info.name, "train", source.info.n_examples, 1 << 30)
    card = planted_card(dataset.spec.side, dataset.spec.classes)
    parts = [
        (batch.inputs[batch.valid], batch.labels[batch.valid], ~batch.masks[batch.valid][..., None])
        for batch in iter_batches(source, shard, card, 64)
    ]
    inputs, labels, outside = (np.concatenate(part) for part in zip(*parts, strict=True))
    return inputs, labels, outside.astype(np.float32)


def train(dataset: PlantedDataset, weight: float, epochs: int, seed: int = 0) -> keras.Model:
    """The planted network, trained with the penalty of this weight; 0: none."""
    from pipeline.inputs.planted_model import build_planted_model

    inputs, labels, outside = read_train(dataset)
    keras.utils.set_random_seed(seed)
    model = build_planted_model(dataset.spec.side, len(dataset.spec.classes), seed)
    step = make_step(model, weight, epochs * (len(inputs) // BATCH))
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(len(inputs))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            step(inputs[rows], labels[rows], outside[rows])
    return model


def make_step(model: keras.Model, weight: float, steps: int) -> Callable[[Any, Any, Any], None]:
    """One step of Adam on cross-entropy plus the penalty (Ross et al. 2017), compiled."""
    import tensorflow as tf
    from keras import ops

    from explainers import create_analyzer

    explain = create_analyzer("gradient").fit(model).function(live=True)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, steps))
    optimizer.build(model.trainable_variables)

    def certain(output: Any) -> Any:
        return ops.sum(ops.log_softmax(output), axis=-1)

    @tf.function(autograph=False)
    def step(x: Any, y: Any, outside: Any) -> None:
        with tf.GradientTape() as tape:
            loss = ops.mean(keras.losses.sparse_categorical_crossentropy(y, model(x, training=True)))
            if weight:
                wrong = ops.sum((outside * explain(x, certain)) ** 2, axis=(1, 2, 3))
                loss = loss + weight * ops.mean(wrong)
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    return step


def whole_pictures(spec: PlantedSpec, source: str) -> dict[str, tuple[float, float]]:
    """Per marked class, of the network ``source``: what its mark adds; share recognised without it."""
    from pipeline.canary.planted_canary import usage
    from pipeline.config_sections import ModelConfig
    from pipeline.inputs.models import load_model

    network = load_model(ModelConfig(source=source))
    added, clean, told = usage(spec, network), replace(spec, artefacts=()), {}
    for name, _ in spec.artefacts:
        label, count = spec.classes.index(name), spec.validation_per_class
        pictures = np.stack([draw_example(clean, "validation", label, i)[0] for i in range(count)])
        answers = np.asarray(network.model(network.card.prepare(pictures))).argmax(axis=1)
        told[name] = added[name], float((answers == label).mean())
    return told


def rows_of(run: str, name: str, spec: PlantedSpec) -> list[str]:
    """Lines of the table: what a finished run says of each marked class."""
    from pipeline.run.store import Store
    from pipeline.statistics.ranking import rank

    table = rank(run).table.set_index("class_name")
    marked = [table.loc[c] for c, _ in MARKS]
    overall = np.average(table["accuracy"], weights=table["n_images"])
    whole = whole_pictures(spec, Store(run).manifest["config"]["model"]["source"])
    lines = [
        f"| {name} | {row.name} | {row['verdict']} | {row['effect']:+.2f} [{row['effect_low']:+.2f}, "
        f"{row['effect_high']:+.2f}] | {row['accuracy']:.0%} | {overall:.1%} | {whole[row.name][0]:+.2f} | "
        f"{whole[row.name][1]:.0%} |"
        for row in marked
    ]
    confirmed = int((table["verdict"] == "confirmed").sum())
    return [*lines, f"| {name} | all {len(table)} | {confirmed} confirmed | | | {overall:.1%} | | |"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/right-reasons"))
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--images", type=int, default=150, help="training images of each class")
    parser.add_argument("--side", type=int, default=48)
    asked = parser.parse_args()
    load_tensorflow()
    from flows import cli
    from pipeline.canary.trials import audit_and_edit, trial_config
    from pipeline.config_sections import DatasetConfig
    from pipeline.inputs.planted_model import planted_card
    from pipeline.run.store import Store

    marks = tuple((name, Artefact(kind)) for name, kind in MARKS)
    spec = PlantedSpec(CLASSES, marks, asked.images, 40, asked.side)
    folder = prepare_planted(spec, asked.out / "data")
    dataset = PlantedDataset(DatasetConfig(source="planted", path=str(folder)), folder)
    heads = ("network", "class", "verdict", "background", "accuracy", "of all", "mark adds", "without mark")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, weight in (("usual", 0.0), ("right reasons", WEIGHT)):
        path = asked.out / f"{name.replace(' ', '-')}.keras"
        if not path.is_file():
            train(dataset, weight, asked.epochs).save(path)
            planted_card(spec.side, spec.classes).save(path.with_suffix(".toml"))
        run = Store(asked.out / path.stem)
        config = trial_config({"source": "planted", "path": str(folder)}, path, "lrp.preset_a")
        audit_and_edit(config, run, spec)
        lines += rows_of(run.path, name, spec)
    for folder_name, (name, options) in REPAIRS.items():
        repaired = asked.out / folder_name
        if not repaired.is_dir():
            cli.run(["repair", str(asked.out / "usual"), "--out", str(repaired), *options])
        lines += rows_of(str(repaired / "run"), name, spec)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
