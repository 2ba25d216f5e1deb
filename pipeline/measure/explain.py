"""Single images explained: read, classified, targets chosen, maps made. The galleries are drawn from this."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from explainers import Explanation, Fitted, analyze_many
from pipeline.errors import InputError
from pipeline.inputs.batches import NO_MODEL_BOXES, Batch
from pipeline.inputs.card import ModelCard
from pipeline.inputs.classes import find_class
from pipeline.inputs.datasets import Record
from pipeline.inputs.geometry import draw, place_image, read_image, upright
from pipeline.inputs.models import LoadedModel
from pipeline.measure.rows import probabilities
from pipeline.schema import STATUS_NO_BOX

MOST_TARGETS = 50
MOST_MAPS = 400  # rows times methods: more make no figure that anyone looks at
AT_ONCE = 16  # rows that go through a network together


@dataclass(frozen=True)
class Photo:
    """An image file as the network sees it: ``picture`` h w 3 uint8, ``inputs`` h w c float32.

    ``label``: the true class, where it is known.
    """

    name: str
    picture: np.ndarray
    inputs: np.ndarray
    label: int | None = None


@dataclass(frozen=True)
class Explained:
    """One photo, one target: the maps of all methods, in order.

    Attributes:
        probability, logit: of the target; place: 1 for the predicted class, 2 for the next ...
    """

    photo: Photo
    target: int
    probability: float
    logit: float
    place: int
    predicted: int
    explanations: tuple[Explanation, ...]


def read_photo(path: str | Path, card: ModelCard) -> Photo:
    """The image at ``path``, resized, cropped and prepared as the card says.

    Raises:
        InputError: it cannot be read or decoded, or is too large to be decoded safely.
    """
    image = read_image(path)
    try:
        image = upright(image, None)
        picture = draw(image, place_image(*image.size, card), card)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return Photo(Path(path).name, picture, card.prepare(picture[None])[0])


def as_batch(photos: Sequence[Photo]) -> Batch:
    """Photos as a batch without boxes; those of one name are told apart by their places."""
    names = [photo.name for photo in photos]
    n, (h, w) = len(photos), photos[0].picture.shape[:2]
    ids = [name if names.count(name) == 1 else f"{i}: {name}" for i, name in enumerate(names, 1)]
    labels = [-1 if photo.label is None else photo.label for photo in photos]
    return Batch(
        records=tuple(Record(i, 0, i, None, 0, np.zeros((0, 4)), None) for i in ids),
        pictures=np.stack([photo.picture for photo in photos]),
        inputs=np.stack([photo.inputs for photo in photos]),
        valid=np.ones(n, bool),
        labels=np.array(labels, np.int32),
        masks=np.zeros((n, h, w), bool),
        boxes_model=(NO_MODEL_BOXES,) * n,
        sizes=np.array([[w, h]] * n, np.int32),
        status=(STATUS_NO_BOX,) * n,
        reason=(None,) * n,
    )


def class_name(card: ModelCard, index: int) -> str:
    """Readable name of an output."""
    names = card.class_names or card.class_ids
    return names[index].split(",")[0] if index < len(names) else f"output {index}"


def find_output(card: ModelCard, text: str, outputs: int) -> int:
    """The output that a number, a class id or a class name means.

    Raises:
        InputError: there is none, or a name fits several.
    """
    text = text.strip()
    if card.class_names or card.class_ids:
        return find_class(text, card.class_names or card.class_ids, card.class_ids)
    if not text.isdecimal():
        raise InputError(
            f"target {text!r}: the model's card names no classes; valid: topN or an output's number, "
            f"0 to {outputs - 1}"
        )
    if int(text) >= outputs:
        raise InputError(f"target {text}: the network has {outputs} outputs; valid: 0 to {outputs - 1}")
    return int(text)


def choose_targets(text: str, logits: np.ndarray, card: ModelCard, label: int | None = None) -> list[int]:
    """``topN``, ``true`` or comma-separated classes -> outputs, for one image's logits (k,) and true class.

    Raises:
        InputError: a class is not known, or N is not sensible.
    """
    if text == "true":
        if label is None:
            raise InputError("targets 'true': the image's true class is not known; give --labels")
        return [label]
    if text.startswith("top") and text[3:].isdigit():
        count = int(text[3:])
        if not 1 <= count <= MOST_TARGETS:
            raise InputError(f"targets {text!r}: valid: top1 to top{MOST_TARGETS}")
        return [int(i) for i in np.argsort(-logits, kind="stable")[:count]]
    targets = [find_output(card, name, len(logits)) for name in text.split(",") if name.strip()]
    if not targets:
        raise InputError(f"targets {text!r}: valid: topN, or comma-separated class names, ids or numbers")
    return list(dict.fromkeys(targets))


def check_size(rows: int, methods: int) -> None:
    """Refuse what would be more maps than a figure can show. Raises InputError."""
    if rows * methods > MOST_MAPS:
        raise InputError(
            f"{rows} rows of {methods} methods are more than {MOST_MAPS} pictures; give fewer images, "
            "targets or methods"
        )


def explain_photos(
    photos: Sequence[Photo], model: LoadedModel, methods: Mapping[str, Fitted], targets: str
) -> list[Explained]:
    """Every photo for every target, in order.

    Raises:
        InputError: a target is not known, or there would be more than ``MOST_MAPS`` maps.
    """
    from explainers.network import network

    check_size(len(photos), len(methods))
    net, card = network(model.model), model.card
    inputs = np.stack([photo.inputs for photo in photos])
    logits = np.concatenate([net.logits((inputs[rows],))[:count] for rows, count in pieces(len(photos))])
    pairs = [
        (i, target)
        for i, photo in enumerate(photos)
        for target in choose_targets(targets, logits[i], card, photo.label)
    ]
    check_size(len(pairs), len(methods))
    share = probabilities(logits.astype(np.float64), card.output)
    return [
        Explained(
            photo=photos[i],
            target=t,
            probability=float(share[i, t]),
            logit=float(logits[i, t]),
            place=int((logits[i] > logits[i, t]).sum()) + 1,
            predicted=int(logits[i].argmax()),
            explanations=made,
        )
        for (i, t), made in zip(pairs, _explanations(inputs, pairs, list(methods.values())), strict=True)
    ]


def _explanations(
    inputs: np.ndarray, pairs: Sequence[tuple[int, int]], methods: Sequence[Fitted]
) -> Iterator[tuple[Explanation, ...]]:
    """The maps of all methods for each pair of image and target, a few at once."""
    which, target = np.array(pairs, np.int32).T
    for rows, count in pieces(len(pairs)):
        made = analyze_many(methods, inputs[which[rows]], target[rows])
        yield from (tuple(row_of(e, n) for e in made) for n in range(count))


def pieces(total: int) -> Iterator[tuple[np.ndarray, int]]:
    """Row numbers in pieces of one size, at most ``AT_ONCE``, and how many of a piece are no repetition."""
    size = -(-total // -(-total // AT_ONCE))
    for begin in range(0, total, size):
        count = min(size, total - begin)
        yield begin + np.minimum(np.arange(size), count - 1), count


def first(e: Explanation, n: int) -> Explanation:
    """The first ``n`` images of an explanation, without its ledger."""
    return Explanation(e.relevance[:n], e.output[:n], e.target[:n], e.reason[:n])


def joined(parts: Sequence[Explanation]) -> Explanation:
    """Explanations of several batches, one after the other."""
    if len(parts) == 1:  # the usual case of an audit: nothing is copied
        return parts[0]
    return Explanation(
        np.concatenate([e.relevance for e in parts]),
        np.concatenate([e.output for e in parts]),
        np.concatenate([e.target for e in parts]),
        tuple(reason for e in parts for reason in e.reason),
    )


def row_of(e: Explanation, row: int) -> Explanation:
    """One image of an explanation, still as a batch."""
    rows = slice(row, row + 1)
    return Explanation(e.relevance[rows], e.output[rows], e.target[rows], (e.reason[row],))
