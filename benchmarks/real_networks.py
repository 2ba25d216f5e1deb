"""Networks on real photographs whose short cuts are known: SqueezeNet on Tiny ImageNet, marked or not.

    python -m benchmarks.real_networks --archive tiny-imagenet-200.zip --model squeezenet_v1.1.keras \
        --cache FOLDER [--seeds 0 1 2] [--epochs 2] [--twins 0]

The public network, its last convolution cut to the 200 classes, is fine-tuned at 112 x 112 on the archive's
training images, 21 seeded classes of which carry a mark beside the object (kinds patch, text, stripe x on
all, a half, a quarter of the images that have room). A twin is trained on the same images, in the same order,
without the marks. Which marks a network *uses* is measured on pairs of validation images, the same with and
without it: the probability of the class rises by 0.1 or more. Networks and marked validation images stay in
the cache; what is there is not made again. Prints accuracy, and per mark what it adds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.real_marks import (
    Mark,
    Photos,
    added_probability,
    deal_marks,
    mark_all,
    used_marks,
    write_folder,
)
from flows.settings import load_tensorflow

BATCH = 64
RATE, MOMENTUM = 0.01, 0.9
SIDE = 112  # of the trained networks' input; the weights do not depend on it (global pooling)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Inputs:
    """The user's files, and the folder where everything that is made of them stays."""

    archive: Path
    model: Path
    cache: Path
    epochs: int = 2

    def prepared(self, split: str) -> Path:
        """The dataset of a split, ``val`` or ``train``."""
        from pipeline.inputs.datasets.tiny_imagenet import prepare_tiny_imagenet

        out = self.cache / f"tiny-{split}"
        return out if out.is_dir() else prepare_tiny_imagenet(self.archive, out, split).path

    def photos(self, split: str) -> Photos:
        """The photographs of a split, decoded."""
        return read_photos(self.prepared(split))

    def cut(self, side: int) -> Path:
        """The public network, cut to the classes of the archive, for an input of ``side``."""
        path = self.cache / f"public-{side}.keras"
        if not path.is_file():
            info = dataset_info(self.prepared("val"))
            save(cut_network(self.model, info.class_ids, side), path, info.class_ids, info.class_names, side)
        return path

    def trained(self, seed: int, marked: bool) -> Path:
        """The fine-tuned network of a seed, with marks, or its twin without."""
        kind = "marked" if marked else "twin"
        path = self.cache / f"{kind}-{seed}-{self.epochs}epochs.keras"
        if not path.is_file():
            photos = self.photos("train")
            if marked:
                mark_all(photos, deal_marks(len(photos.class_ids), seed), seed)
            network = cut_network(self.model, photos.class_ids, SIDE)
            train(network, photos, seed, self.epochs)
            save(network, path, photos.class_ids, photos.class_names, SIDE)
        return path

    def marked_folder(self, seed: int) -> Path:
        """The validation photographs with the marks of a seed, as often as in training, as a folder."""
        out = self.cache / f"marked-{seed}-val"
        if not out.is_dir():
            photos = self.photos("val")
            mark_all(photos, deal_marks(len(photos.class_ids), seed), seed)
            unfinished = out.with_name(f"{out.name}.unfinished-{np.random.default_rng().integers(1 << 32)}")
            write_folder(photos, unfinished)
            unfinished.rename(out)
        return out


@dataclass(frozen=True)
class Usage:
    """What the marks of a seed add for a network: class -> mean probability and number of pairs."""

    marks: dict[int, Mark]
    added: dict[int, tuple[float, int]]

    @property
    def used(self) -> list[int]:
        """Classes whose mark the network uses."""
        return used_marks(self.added)


def dataset_info(folder: Path) -> Any:
    """The :class:`DatasetInfo` of a prepared dataset."""
    from pipeline.config_sections import DatasetConfig
    from pipeline.inputs.datasets import open_dataset

    return open_dataset(DatasetConfig(source="tfds", path=str(folder))).info


def read_photos(folder: Path) -> Photos:
    """All photographs of a prepared dataset at 64 x 64."""
    from pipeline.config_sections import DatasetConfig
    from pipeline.inputs.batches import iter_batches
    from pipeline.inputs.card import ModelCard
    from pipeline.inputs.datasets import open_dataset
    from pipeline.inputs.shards import Shard

    dataset = open_dataset(DatasetConfig(source="tfds", path=str(folder)))
    info = dataset.info
    card = ModelCard(64, 64, resize="stretch", class_ids=info.class_ids, class_names=info.class_names)
    names, labels, pictures, boxes = [], [], [], []
    for batch in iter_batches(dataset, Shard(info.name, info.split, 0, info.n_examples, "all"), card, 100):
        for i in np.flatnonzero(batch.valid):
            names.append(batch.records[i].example_id)
            labels.append(int(batch.labels[i]))
            pictures.append(batch.pictures[i].copy())
            boxes.append(batch.boxes_model[i])
    return Photos(
        tuple(names), np.array(labels), np.stack(pictures), tuple(boxes), info.class_ids, info.class_names
    )


def cut_network(path: Path, class_ids: tuple[str, ...], side: int) -> Any:
    """SqueezeNet of ImageNet's 1000 classes with the rows of ``class_ids`` only, for an input of ``side``."""
    import keras

    from pipeline.inputs.datasets.ilsvrc2012 import imagenet_classes

    whole = keras.saving.load_model(path, compile=False)
    last = next(layer for layer in reversed(whole.layers) if layer.weights)
    rows = [imagenet_classes()[0].index(wnid) for wnid in class_ids]

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        return type(layer).from_config(config | ({"filters": len(rows)} if layer is last else {}))

    network = keras.models.clone_model(whole, keras.Input((side, side, 3), name="image"), clone)
    for layer in whole.layers:
        weights = layer.get_weights()
        network.get_layer(layer.name).set_weights(
            [w[..., rows] for w in weights] if layer is last else weights
        )
    return network


def save(
    network: Any, path: Path, class_ids: tuple[str, ...], class_names: tuple[str, ...], side: int
) -> None:
    """Network and card, whole or not at all."""
    from pipeline.inputs.card import ModelCard

    card = ModelCard(
        side, side, resize="stretch", scale=1 / 255, mean=MEAN, std=STD, output="softmax",
        classes=len(class_ids), class_ids=class_ids, class_names=class_names,
    )  # fmt: skip
    card.save(path.with_suffix(".toml"))
    unfinished = path.with_name(f"unfinished-{path.name}")
    network.save(unfinished)
    unfinished.rename(path)


def train(network: Any, photos: Photos, seed: int, epochs: int) -> None:
    """SGD with momentum, cosine from ``RATE`` to 0, in place; the order depends on the seed only."""
    import keras

    steps = epochs * (len(photos.labels) // BATCH)
    logits = keras.Model(network.input, network.get_layer("logits").output)
    logits.compile(
        keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(RATE, steps), MOMENTUM, clipnorm=5.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    losses = []
    for step, (inputs, labels) in enumerate(_batches(photos, seed, epochs), 1):
        losses.append(float(logits.train_on_batch(inputs, labels)))
        if step % 50 == 0:
            print(f"step {step} of {steps}: loss {np.mean(losses[-50:]):.3f}", flush=True)


def _batches(photos: Photos, seed: int, epochs: int) -> Iterator[tuple[Any, np.ndarray]]:
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(len(photos.labels))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            yield normalised(photos.pictures[rows], SIDE), photos.labels[rows]


def normalised(pictures: np.ndarray, side: int) -> Any:
    """(n, 64, 64, 3) uint8 -> the network's input of ``side``, bilinear as the card's ``stretch``."""
    import tensorflow as tf

    resized = tf.image.resize(pictures, (side, side), antialias=True) / 255
    return (resized - np.float32(MEAN)) / np.float32(STD)


def predict(network: Any, pictures: np.ndarray, side: int = SIDE) -> np.ndarray:
    """(n, classes) probabilities."""
    parts = (pictures[i : i + 250] for i in range(0, len(pictures), 250))
    return np.concatenate([network.predict_on_batch(normalised(part, side)) for part in parts])


def usage(inputs: Inputs, network: Path, seed: int) -> Usage:
    """What the marks of ``seed`` add for a network, on validation photographs with room for them; kept."""
    import keras

    kept = network.with_name(f"{network.stem}-marks-{seed}.json")
    photos = inputs.photos("val")
    marks = deal_marks(len(photos.class_ids), seed)
    if kept.is_file():
        return Usage(marks, {int(k): tuple(v) for k, v in json.loads(kept.read_text()).items()})
    marked = replace(photos, pictures=photos.pictures.copy())
    carries = mark_all(marked, marks, seed, always=True)
    model = keras.saving.load_model(network, compile=False)
    pair = [predict(model, pictures[carries]) for pictures in (marked.pictures, photos.pictures)]
    added = added_probability(pair[0], pair[1], photos.labels[carries])
    kept.write_text(json.dumps(added))
    return Usage(marks, added)


def accuracy(network: Path, photos: Photos) -> float:
    """Top-1 on the photographs."""
    import keras

    model = keras.saving.load_model(network, compile=False)
    side = model.input_shape[1]
    return float((predict(model, photos.pictures, side).argmax(axis=1) == photos.labels).mean())


def arguments(about: str | None) -> argparse.ArgumentParser:
    """What every benchmark on Tiny ImageNet takes."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, required=True, help="tiny-imagenet-200.zip, or a part of it")
    parser.add_argument("--model", type=Path, required=True, help="squeezenet_v1.1.keras of ImageNet")
    parser.add_argument("--cache", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--epochs", type=int, default=2)
    return parser


def inputs_of(options: argparse.Namespace) -> Inputs:
    """The files that the options name; TensorFlow is loaded."""
    options.cache.mkdir(parents=True, exist_ok=True)
    load_tensorflow()
    return Inputs(options.archive, options.model, options.cache, options.epochs)


def simulated_or_measured(about: str | None) -> argparse.ArgumentParser:
    """The options of a benchmark that simulates, or measures on the marked networks."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulate", action="store_true")
    parser.add_argument("--runs", type=float, default=1.0, help="factor on the number of simulated runs")
    parser.add_argument("--archive", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    return parser


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--twins", type=int, nargs="*", default=[0], help="seeds whose twin is trained, too")
    options = parser.parse_args()
    inputs = inputs_of(options)
    val = inputs.photos("val")
    for seed in options.seeds:
        for marked in (True, False)[: 1 + (seed in options.twins)]:
            network = inputs.trained(seed, marked)
            told = usage(inputs, network, seed)
            print(
                f"{network.stem}: top-1 {accuracy(network, val):.3f}, {len(told.used)} of {len(told.marks)} "
                "marks used",
                flush=True,
            )
            for label, (mean, n) in sorted(told.added.items(), key=lambda item: -item[1][0]):
                mark, name = told.marks[label], val.class_names[label].split(",")[0]
                print(f"  {mark.kind} on {mark.frequency:.0%} of {name}: {mean:+.3f} ({n} pairs)")

    for side in (SIDE, 224):
        print(f"public network, cut, at {side}: top-1 {accuracy(inputs.cut(side), val):.3f}", flush=True)


if __name__ == "__main__":
    main()
