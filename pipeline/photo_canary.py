"""The canary on real photographs: marks pasted onto ImageNet images, a linear head trained on a frozen
network.

The 1000 classes become ten super-classes by synset, so that a few hundred images train a head. Half of
the images of each super-class train it (logistic regression on the features before the last layer), the
other half are audited. Pictures are written in the model's geometry, so a mark is where it was put.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras
import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from pipeline.batches import iter_batches
from pipeline.card import ModelCard
from pipeline.datasets import Dataset, drawing
from pipeline.datasets.planted import Artefact
from pipeline.errors import InputError
from pipeline.models import LoadedModel
from pipeline.shards import Shard

# ranges of the index among the 1000 synsets in order of their ids, in which animals and food stand together
ANIMALS_AND_FOOD = {
    "fish": ((0, 7), (389, 398)),
    "bird": ((7, 25), (80, 101), (127, 147)),
    "reptile": ((25, 69),),
    "invertebrate": ((69, 80), (107, 127), (300, 330)),
    "dog": ((151, 269),),
    "carnivore": ((269, 300),),
    "mammal": ((101, 107), (147, 151), (330, 389)),
    "food and plant": ((924, 970), (984, 999)),
}
# fmt: off
VEHICLES = frozenset((
    "ambulance", "airliner", "airship", "amphibian", "beach_wagon", "bicycle-built-for-two",
    "bobsled", "bullet_train", "cab", "canoe", "catamaran", "container_ship", "convertible",
    "dogsled", "electric_locomotive", "fire_engine", "fireboat", "forklift", "freight_car",
    "garbage_truck", "go-kart", "golfcart", "gondola", "half_track", "harvester", "horse_cart",
    "jeep", "jinrikisha", "lifeboat", "limousine", "liner", "minibus", "minivan", "model_t",
    "moped", "motor_scooter", "mountain_bike", "moving_van", "oxcart", "passenger_car", "pickup",
    "pirate", "police_van", "racer", "recreational_vehicle", "schooner", "school_bus",
    "snowmobile", "snowplow", "speedboat", "sports_car", "steam_locomotive", "streetcar",
    "submarine", "tank", "tow_truck", "tractor", "trailer_truck", "tricycle", "trimaran",
    "trolleybus", "unicycle", "warplane", "yawl", "aircraft_carrier",
))
# fmt: on
THING = "thing"
MOST = 60  # images of one super-class: "thing" would otherwise be half of all
CLASSES = (*ANIMALS_AND_FOOD, "vehicle", THING)
KINDS = ("patch", "text")


@dataclass(frozen=True)
class PhotoSpec:
    """Marks beside the object, (super-class, artefact) pairs; () is clean."""

    artefacts: tuple[tuple[str, Artefact], ...]
    seed: int = 0
    classes: tuple[str, ...] = CLASSES

    def __post_init__(self) -> None:
        for name, artefact in self.artefacts:
            if name not in self.classes or artefact.kind not in KINDS or artefact.inside:
                raise InputError(
                    f"photo canary: received {artefact.kind} on {name!r}; valid are {' and '.join(KINDS)} "
                    f"beside the object, on {', '.join(self.classes)}"
                )


@dataclass(frozen=True)
class Photos:
    """Photographs in the model's geometry, of one super-class each, with at least one visible box."""

    names: tuple[str, ...]
    labels: np.ndarray
    pictures: np.ndarray  # n h w 3 uint8
    boxes: tuple[np.ndarray, ...]  # (k, 4) inclusive pixels

    def take(self, rows: np.ndarray) -> Photos:
        """Some of them."""
        return Photos(
            tuple(self.names[i] for i in rows),
            self.labels[rows],
            self.pictures[rows],
            tuple(self.boxes[i] for i in rows),
        )


def super_class(index: int, name: str) -> str:
    """The super-class of a synset by its place among the 1000 and its first name."""
    for group, ranges in ANIMALS_AND_FOOD.items():
        if any(start <= index < stop for start, stop in ranges):
            return group
    first = name.split(",")[0].strip().lower().replace(" ", "_")
    return "vehicle" if first in VEHICLES else THING


def read_photos(dataset: Dataset, card: ModelCard, seed: int) -> Photos:
    """All photographs of ``dataset`` with a visible box, at most ``MOST`` of a super-class (seeded).

    Raises :class:`InputError` when its classes are not the 1000 synsets.
    """
    info = dataset.info
    if len(info.class_ids) != 1000:
        raise InputError(
            f"photo canary: dataset {info.name!r} has {len(info.class_ids)} classes; valid: one with the "
            "1000 classes of ILSVRC, such as `hansaudit prepare ilsvrc2012` makes"
        )
    order = {class_id: i for i, class_id in enumerate(sorted(info.class_ids))}
    groups = [
        CLASSES.index(super_class(order[i], name))
        for i, name in zip(info.class_ids, info.class_names, strict=True)
    ]
    names: list[str] = []
    labels: list[int] = []
    pictures: list[np.ndarray] = []
    boxes: list[np.ndarray] = []
    for batch in iter_batches(dataset, Shard(info.name, info.split, 0, info.n_examples, "all"), card, 32):
        for i, record in enumerate(batch.records):
            if record is not None and batch.status[i] == "ok":
                names.append(record.example_id)
                labels.append(groups[record.label])
                pictures.append(batch.pictures[i].copy())
                boxes.append(batch.boxes_model[i])
    photos = Photos(tuple(names), np.array(labels), np.stack(pictures), tuple(boxes))
    rng = np.random.default_rng([seed, 0xF0])
    kept = [rng.permutation(np.flatnonzero(photos.labels == k))[:MOST] for k in range(len(CLASSES))]
    return photos.take(np.sort(np.concatenate(kept)))


def mark_photos(photos: Photos, spec: PhotoSpec) -> tuple[np.ndarray, np.ndarray]:
    """Pictures with the marks of ``spec``, and which carry one: not where boxes leave no room."""
    marked, carries = photos.pictures.copy(), np.zeros(len(photos.labels), bool)
    for name, artefact in spec.artefacts:
        for i in np.flatnonzero(photos.labels == spec.classes.index(name)):
            rng = np.random.default_rng([spec.seed, 0xF1, int(i)])
            side = len(marked[i])
            pixels = max(2, round(artefact.size * side))
            mark = drawing.patch_mark(pixels) if artefact.kind == "patch" else drawing.text_mark(pixels)
            b = photos.boxes[i]
            around = (*b[:, :2].min(axis=0).tolist(), *b[:, 2:].max(axis=0).tolist())
            size = (mark.shape[1], mark.shape[0])
            place = (
                drawing.free_place(rng, size, around, side) if rng.uniform() < artefact.probability else None
            )
            if place is not None:
                drawing.paste(marked[i], mark, *place)
                carries[i] = True
    return marked, carries


def frozen_features(model: keras.Model) -> keras.Model:
    """The network up to the input of its last layer with weights, a map averaged over the picture."""
    last = next(layer for layer in reversed(model.layers) if layer.weights)
    x = last.input
    if len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    return keras.Model(model.inputs, x, name="frozen")


def train_head(
    base: LoadedModel, pictures: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> LoadedModel:
    """A softmax layer on the frozen features: multinomial logistic regression on standardised features."""
    frozen = frozen_features(base.model)
    parts = [
        frozen.predict_on_batch(base.card.prepare(pictures[i : i + 32])) for i in range(0, len(pictures), 32)
    ]
    scaler = StandardScaler().fit(features := np.concatenate(parts))
    fitted = LogisticRegression(C=0.05, max_iter=2000).fit(scaler.transform(features), labels)
    weights, bias = np.zeros((features.shape[1], len(classes))), np.full(len(classes), -20.0)
    scaled = fitted.coef_ / scaler.scale_
    weights[:, fitted.classes_] = scaled.T
    bias[fitted.classes_] = fitted.intercept_ - scaled @ scaler.mean_
    head = keras.layers.Dense(len(classes), activation="softmax", name="head")
    model = keras.Model(frozen.inputs, head(frozen.output), name="photo_canary")
    head.set_weights([weights, bias])
    card = replace(
        base.card,
        resize="stretch",
        shorter_side=0,
        classes=len(classes),
        class_names=tuple(classes),
        class_ids=tuple(classes),
        output="softmax",
    )
    return LoadedModel(model, card, "", "photo canary")


def halves(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that train and rows that are audited: half of each class."""
    rng = np.random.default_rng([seed, 0xF2])
    train = [
        p[: len(p) // 2] for k in np.unique(labels) for p in [rng.permutation(np.flatnonzero(labels == k))]
    ]
    rows = np.sort(np.concatenate(train))
    return rows, np.setdiff1d(np.arange(len(labels)), rows)


def write_photos(photos: Photos, pictures: np.ndarray, folder: Path) -> None:
    """Pictures (PNG, by super-class) and ``boxes.csv``, as the dataset source ``folder`` reads them."""
    with _opened(folder / "boxes.csv") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "label", "xmin", "ymin", "xmax", "ymax"])
        for name, label, picture, boxes in zip(
            photos.names, photos.labels, pictures, photos.boxes, strict=True
        ):
            file_name = f"{Path(name).stem}.png"
            Image.fromarray(picture).save(folder / file_name, "PNG", compress_level=1)
            rows.writerows([file_name, CLASSES[label], *box.tolist()] for box in boxes)


def _opened(path: Path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w", newline="", encoding="utf-8")


def photo_key(spec: PhotoSpec, dataset: Dataset, model: LoadedModel) -> str:
    """Names the folder of a trial: what it is made of."""
    from pipeline.seeds import stable_hash

    text = f"{asdict(spec)} {dataset.info.fingerprint} {model.sha256}"
    return f"photos-{stable_hash(text):016x}"


def photo_usage(
    spec: PhotoSpec, head: LoadedModel, photos: Photos, marked: np.ndarray, carries: np.ndarray
) -> dict[str, float]:
    """Per marked super-class: mean probability that its mark adds, over pairs (marked, clean)."""
    from pipeline.evaluate import Evaluator
    from pipeline.rows import probabilities

    evaluator, found = Evaluator(head.model, 16), {}
    for name, _ in spec.artefacts:
        label = spec.classes.index(name)
        rows = np.flatnonzero(carries & (photos.labels == label))
        if not len(rows):
            found[name] = 0.0
            continue
        p = [
            probabilities(evaluator.logits(head.card.prepare(pictures[rows])), "softmax")[:, label]
            for pictures in (marked, photos.pictures)
        ]
        found[name] = float(np.mean(p[0] - p[1]))
    return found
