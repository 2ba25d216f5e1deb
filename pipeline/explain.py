"""Single images explained: read, classified, targets chosen, maps made. The galleries are drawn from this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from explainers import Explanation, Fitted, analyze_many
from pipeline.card import ModelCard
from pipeline.errors import InputError
from pipeline.geometry import draw, open_image, plan_view
from pipeline.models import LoadedModel
from pipeline.rows import probabilities

MOST_TARGETS = 50


@dataclass(frozen=True)
class Photo:
    """An image file as the network sees it: ``picture`` h w 3 uint8, ``inputs`` h w c float32."""

    name: str
    picture: np.ndarray
    inputs: np.ndarray


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
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot read the image: {error.strerror}") from None
    try:
        image = open_image(data)
        picture = draw(image, plan_view(*image.size, card), card)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return Photo(path.name, picture, card.prepare(picture[None])[0])


def class_name(card: ModelCard, index: int) -> str:
    """Readable name of an output."""
    names = card.class_names or card.class_ids
    return names[index].split(",")[0] if index < len(names) else f"output {index}"


def find_class(card: ModelCard, text: str, classes: int) -> int:
    """The output that a number, a class id or a class name means.

    Raises:
        InputError: there is none, or a name fits several.
    """
    text = text.strip()
    if text.isdigit():
        if int(text) >= classes:
            raise InputError(f"target {text}: the network has {classes} outputs; valid: 0 to {classes - 1}")
        return int(text)
    if text in card.class_ids:
        return card.class_ids.index(text)
    wanted = text.casefold()
    found = [
        i
        for i, names in enumerate(card.class_names)
        if wanted == names.casefold() or wanted in (name.strip().casefold() for name in names.split(","))
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"target {text!r} fits several classes: outputs {', '.join(map(str, found))}; give a number"
        )
    near = [f"{name!r}" for name in card.class_names if wanted in name.casefold()][:5]
    hint = (
        f"; near: {', '.join(near)}"
        if near
        else "; valid: topN, a class name, a class id, or an output's number"
    )
    raise InputError(f"target {text!r}: the network has no such class{hint}")


def choose_targets(text: str, logits: np.ndarray, card: ModelCard) -> list[int]:
    """``topN`` or comma-separated classes -> outputs, for one image's logits (k,).

    Raises:
        InputError: a class is not known, or N is not sensible.
    """
    if text.startswith("top") and text[3:].isdigit():
        count = int(text[3:])
        if not 1 <= count <= MOST_TARGETS:
            raise InputError(f"targets {text!r}: valid: top1 to top{MOST_TARGETS}")
        return [int(i) for i in np.argsort(-logits, kind="stable")[:count]]
    wanted = [find_class(card, one, len(logits)) for one in text.split(",") if one.strip()]
    if not wanted:
        raise InputError(f"targets {text!r}: valid: topN, or comma-separated class names, ids or numbers")
    return list(dict.fromkeys(wanted))


def explain_photos(
    photos: Sequence[Photo], model: LoadedModel, methods: Mapping[str, Fitted], targets: str
) -> list[Explained]:
    """Every photo for every target, in order; one batch for all of them.

    Raises:
        InputError: a target is not known.
    """
    from explainers.network import network

    net = network(model.model)
    logits = net.logits((np.stack([photo.inputs for photo in photos]),))
    pairs = [(i, t) for i, row in enumerate(logits) for t in choose_targets(targets, row, model.card)]
    x = np.stack([photos[i].inputs for i, _ in pairs])
    wanted = np.array([t for _, t in pairs], np.int32)
    made = analyze_many(list(methods.values()), x, wanted)
    share = probabilities(logits.astype(np.float64), model.card.output)
    return [
        Explained(
            photo=photos[i],
            target=t,
            probability=float(share[i, t]),
            logit=float(logits[i, t]),
            place=int((logits[i] > logits[i, t]).sum()) + 1,
            predicted=int(logits[i].argmax()),
            explanations=tuple(row_of(e, n) for e in made),
        )
        for n, (i, t) in enumerate(pairs)
    ]


def row_of(e: Explanation, row: int) -> Explanation:
    """One image of an explanation, still as a batch."""
    one = slice(row, row + 1)
    return Explanation(e.relevance[one], e.output[one], e.target[one], (e.reason[row],))
