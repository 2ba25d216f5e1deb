"""Waterbirds: birds cut out and pasted on land or water, and heads on frozen features that are trained on
them.

Data and networks of ``python -m benchmarks.waterbirds``. The place agrees with the class in 95 % of the
training images and in half of the validation and test images (Sagawa et al. 2020, arXiv:1911.08731).
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.real_networks import MEAN, STD

CLASSES, PLACES = ("landbird", "waterbird"), ("land", "water")
SIDE = 224
LAST_FEATURES = "fire9_concat"
STRENGTH = 0.01  # inverse strength of the head's penalty (scikit-learn's C), as in the data's own control
MAX_FILE, MAX_TOTAL = 1 << 24, 1 << 30


@dataclass(frozen=True)
class Bird:
    """A row of the archive's table."""

    file: str
    label: int
    place: int
    box: tuple[int, int, int, int]

    @property
    def name(self) -> str:
        """File name, unique in the archive."""
        return Path(self.file).name


@dataclass(frozen=True)
class Data:
    """One split: its folder, as `hansaudit run` reads it, and its rows."""

    folder: Path
    birds: tuple[Bird, ...]


def unpack(archive: Path, cache: Path, split: str) -> Data:
    """The images of a split and their boxes, in a folder of the cache."""
    from pipeline.inputs.datasets.zip_archives import open_zip

    folder = cache / f"waterbirds-{split}"
    with open_zip(archive, MAX_TOTAL) as members:
        text = members.read("waterbirds/metadata.csv", MAX_FILE).decode("utf-8")
        rows = [row for row in csv.DictReader(io.StringIO(text)) if row["split"] == split]
        birds = tuple(_bird(row) for row in rows)
        if not folder.is_dir():
            unfinished = folder.with_name(f"{folder.name}.unfinished")
            unfinished.mkdir(exist_ok=True)
            for bird in birds:
                data = members.read(f"waterbirds/{bird.file}", MAX_FILE)
                (unfinished / bird.name).write_bytes(data)
            write_boxes(unfinished / "annotations.csv", birds, [bird.label for bird in birds])
            unfinished.rename(folder)
    return Data(folder, birds)


def _bird(row: dict[str, str]) -> Bird:
    left, top, right, bottom = (int(row[side]) for side in ("xmin", "ymin", "xmax", "ymax"))
    return Bird(
        row["file"], CLASSES.index(row["label"]), PLACES.index(row["place"]), (left, top, right, bottom)
    )


def write_boxes(path: Path, birds: Sequence[Bird], labels: Sequence[int]) -> None:
    """The table of a folder: a row per bird, with this label."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", "label", "group", "xmin", "ymin", "xmax", "ymax"])
        rows = zip(birds, labels, strict=True)
        table.writerows([b.name, CLASSES[label], PLACES[b.place], *b.box] for b, label in rows)


# -- networks


def card() -> Any:
    """Pictures are stretched, as those the fine-tuned network was trained on."""
    from pipeline.inputs.card import ModelCard

    return ModelCard(
        SIDE, SIDE, resize="stretch", scale=1 / 255, mean=MEAN, std=STD, output="softmax", classes=2,
        class_ids=CLASSES, class_names=CLASSES,
    )  # fmt: skip


def pictures(data: Data) -> tuple[np.ndarray, list[np.ndarray]]:
    """(n, 224, 224, 3) uint8 and the box of each, as the network sees them, in the order of the rows."""
    from pipeline.inputs.geometry import draw, map_boxes, open_image, place_image

    drawn, boxes = [], []
    for bird in data.birds:
        image = open_image((data.folder / bird.name).read_bytes())
        placed = place_image(*image.size, card())
        boxes.append(map_boxes(np.array([bird.box], float), placed, card()))
        drawn.append(draw(image, placed, card()))
    return np.stack(drawn), boxes


def predict(network: Any, shown: np.ndarray) -> np.ndarray:
    """What the network gives for pictures (n, 224, 224, 3) uint8."""
    parts = (shown[i : i + 50] for i in range(0, len(shown), 50))
    return np.concatenate([network.predict_on_batch(card().prepare(part)) for part in parts])


def mean_features(whole: Any, data: Data) -> np.ndarray:
    """(n, 512) mean over the last feature map of the public network."""
    import keras

    mean = keras.layers.GlobalAveragePooling2D()(whole.get_layer(LAST_FEATURES).output)
    return predict(keras.Model(whole.input, mean), pictures(data)[0])


def fit_head(whole: Any, features: np.ndarray, labels: np.ndarray, seed: int) -> Any:
    """A softmax layer on the mean features: logistic regression on all images, or a bootstrap sample."""
    import keras
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    n = len(labels)
    rows = np.random.default_rng(seed).integers(n, size=n) if seed else np.arange(n)
    scaler = StandardScaler().fit(features[rows])
    fitted = LogisticRegression(C=STRENGTH, max_iter=5000).fit(scaler.transform(features[rows]), labels[rows])
    weights = fitted.coef_[0] / scaler.scale_
    bias = fitted.intercept_[0] - weights @ scaler.mean_
    mean = keras.layers.GlobalAveragePooling2D(name="mean")(whole.get_layer(LAST_FEATURES).output)
    head = keras.layers.Dense(2, activation="softmax", name="head")
    network = keras.Model(whole.input, head(mean))
    # two outputs for one logit: a half of it each, of either sign
    head.set_weights([np.stack([-weights, weights], axis=1) / 2, np.array([-bias, bias]) / 2])
    return network


def networks(
    model: Path, cache: Path, seeds: Sequence[int], train: Data, val: Data, biased: Path | None
) -> dict[str, Path]:
    """Name -> file of every network, its card beside it; made where it is not in the cache."""
    import keras

    whole, paths = keras.saving.load_model(model, compile=False), {}
    if biased:
        paths["fine-tuned, biased"] = cache / "waterbirds-finetuned.keras"
        shutil.copyfile(biased, paths["fine-tuned, biased"])
    for kind, data in (("biased", train), ("balanced", val)):
        files = {seed: cache / f"waterbirds-{kind}-{seed}.keras" for seed in seeds}
        paths |= {f"head, {kind}, seed {seed}": path for seed, path in files.items()}
        if missing := [seed for seed, path in files.items() if not path.is_file()]:
            features, labels = mean_features(whole, data), np.array([b.label for b in data.birds])
            for seed in missing:
                fit_head(whole, features, labels, seed).save(files[seed])
    for path in paths.values():
        card().save(path.with_suffix(".toml"))
    return paths
