"""The canary on real photographs: marks pasted onto ImageNet images, a linear head trained on a frozen
network.

The 1000 classes become ten super-classes by synset, so that a few hundred images train a head. Half of
the images of each super-class train it (logistic regression on the features before the last layer), the
other half are audited. Features are the mean and the maximum over the picture of every channel: a mark is
local, and the mean alone dilutes it by its area. Pictures are written in the model's geometry, so a mark is
where it was put.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from pipeline.canary.grid import Grid, Marks, deal_marks
from pipeline.canary.photos import Choice, Photos, free_places
from pipeline.canary.super_classes import SUPER_CLASSES
from pipeline.errors import InputError
from pipeline.inputs.datasets import Dataset, drawing
from pipeline.inputs.datasets.planted import Artefact
from pipeline.inputs.models import LoadedModel
from pipeline.measure.evaluate import Evaluator
from pipeline.measure.rows import probabilities
from pipeline.seeds import Purpose, stable_hash

PHOTO_KINDS = ("patch", "text", "blur")
BLUR = 0.125  # radius of the blur over its size, in shares of the side; as in the planted data
MARKS_PER_NETWORK = 3  # marked super-classes: seven others stay to compare with
DEFAULT_CHOICE = Choice()
STRENGTH = 0.05  # inverse strength of the head's penalty (scikit-learn's C)


@dataclass(frozen=True)
class PhotoSpec:
    """Marks on photographs, (super-class, artefact) pairs; () is clean. ``seed``: marks and halves."""

    artefacts: Marks
    seed: int = 0
    choice: Choice = DEFAULT_CHOICE
    classes: tuple[str, ...] = SUPER_CLASSES

    def __post_init__(self) -> None:
        for name, artefact in self.artefacts:
            if name not in self.classes or artefact.kind not in PHOTO_KINDS:
                raise InputError(
                    f"photo canary: received {artefact.kind} on {name!r}; valid are "
                    f"{', '.join(PHOTO_KINDS)} on {', '.join(self.classes)}"
                )


def plan_photos(grid: Grid, networks: int, choice: Choice) -> list[PhotoSpec]:
    """One specification per network: first a clean one, then ``MARKS_PER_NETWORK`` marks each, seeded."""
    dealt = deal_marks(grid, SUPER_CLASSES, MARKS_PER_NETWORK, networks, choice.seed)
    return [PhotoSpec(artefacts, choice.seed + n, choice) for n, artefacts in enumerate(dealt)]


def mark_photos(photos: Photos, spec: PhotoSpec) -> tuple[np.ndarray, np.ndarray]:
    """Pictures with the marks of ``spec``, and which carry one: not where the boxes leave no room for it."""
    marked, carries = photos.pictures.copy(), np.zeros(len(photos.labels), bool)
    for name, artefact in spec.artefacts:
        for i in np.flatnonzero(photos.labels == spec.classes.index(name)):
            rng = Purpose.PHOTO_MARKS.rng(spec.seed, int(i))
            if rng.uniform() < artefact.probability:
                carries[i] = mark_photo(marked[i], photos.boxes[i], artefact, rng)
    return marked, carries


def mark_photo(picture: np.ndarray, boxes: np.ndarray, artefact: Artefact, rng: np.random.Generator) -> bool:
    """Put a mark into ``picture`` (h w 3, changed in place); whether there was room for it.

    Beside the object: on no box at all. On it: around the middle of its largest box.
    """
    side = min(picture.shape[:2])
    if artefact.kind == "blur":
        picture[:] = drawing.blur(picture, artefact.size * side * BLUR)
        return True
    pixels = max(2, round(artefact.size * side))
    mark = drawing.patch_mark(pixels) if artefact.kind == "patch" else drawing.text_mark(pixels)
    if artefact.inside:
        areas = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
        left, top, right, bottom = boxes[areas.argmax()].tolist()
        place = drawing.inside_place(rng, (mark.shape[1], len(mark)), (left, top, right, bottom))
        place = min(place[0], picture.shape[1] - mark.shape[1]), min(place[1], len(picture) - len(mark))
    else:
        free = free_places(boxes, picture.shape[:2], mark.shape[:2])
        if not len(free):
            return False
        top, left = free[rng.integers(len(free))].tolist()
        place = left, top
    drawing.paste(picture, mark, *place)
    return True


def frozen_features(model: keras.Model) -> keras.Model:
    """The network up to the input of its last layer with weights; of a map the mean and the maximum."""
    last = next(layer for layer in reversed(model.layers) if layer.weights)
    x = last.input
    if len(x.shape) == 4:
        pooled = keras.layers.GlobalAveragePooling2D()(x), keras.layers.GlobalMaxPooling2D()(x)
        x = keras.layers.Concatenate(name="features")(pooled)
    return keras.Model(model.inputs[0], x, name="frozen")


def train_head(
    base: LoadedModel, pictures: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> LoadedModel:
    """A softmax layer on the frozen features: multinomial logistic regression on standardised features."""
    frozen = frozen_features(base.model)
    parts = [
        frozen.predict_on_batch(base.card.prepare(pictures[i : i + 32])) for i in range(0, len(pictures), 32)
    ]
    features = np.concatenate(parts)
    scaler = StandardScaler().fit(features)
    fitted = LogisticRegression(C=STRENGTH, max_iter=2000).fit(scaler.transform(features), labels)
    weights, bias = np.zeros((features.shape[1], len(classes))), np.full(len(classes), -20.0)
    scaled = fitted.coef_ / scaler.scale_
    weights[:, fitted.classes_] = scaled.T
    bias[fitted.classes_] = fitted.intercept_ - scaled @ scaler.mean_
    head = keras.layers.Dense(len(classes), activation="softmax", name="head")
    model = keras.Model(frozen.inputs[0], head(frozen.output), name="photo_canary")
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


def photo_key(spec: PhotoSpec, dataset: Dataset, model: LoadedModel) -> str:
    """Names the folder of a trial: what it is made of."""
    text = f"{asdict(spec)} {STRENGTH} {dataset.info.fingerprint} {model.sha256}"
    return f"photos-{stable_hash(text):016x}"


def photo_usage(
    spec: PhotoSpec, head: LoadedModel, photos: Photos, marked: np.ndarray, carries: np.ndarray
) -> dict[str, float]:
    """Per marked super-class: mean probability that its mark adds, over pairs (marked, clean)."""
    evaluator, added = Evaluator(head.model, 16), {}
    for name, _ in spec.artefacts:
        label = spec.classes.index(name)
        rows = np.flatnonzero(carries & (photos.labels == label))
        if not len(rows):
            added[name] = 0.0
            continue
        p = [
            probabilities(evaluator.logits(head.card.prepare(pictures[rows])), "softmax")[:, label]
            for pictures in (marked, photos.pictures)
        ]
        added[name] = float(np.mean(p[0] - p[1]))
    return added
