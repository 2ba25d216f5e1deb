"""The model card: input geometry and preprocessing of a network, as one small TOML file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import InputError
from pipeline.inputs.objects.places import place
from pipeline.toml import read_toml

RESIZES = ("shorter_side", "stretch", "pad")
CHANNEL_ORDERS = ("rgb", "bgr", "gray")
OUTPUTS = ("softmax", "logits", "sigmoid", "probabilities")


@dataclass(frozen=True)
class ModelCard:
    """What a network expects.

    A pixel value ``p`` in [0, 255] enters the network as ``(p * scale - mean) / std``, channels in
    ``channel_order`` (``mean`` and ``std`` too). ``shorter_side`` matters for that resize only.
    ``class_ids`` (synsets) let a dataset's classes find the network's outputs; without them they are taken to
    be in the same order. ``classes``: how many there are, 0 = not stated; one sigmoid unit is two classes.
    ``output``: what the outputs are, "" = not stated: what the network's graph says decides.
    """

    height: int
    width: int
    channels: int = 3
    resize: str = "shorter_side"
    shorter_side: int = 0
    antialias: bool = True
    channel_order: str = "rgb"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    output: str = ""
    classes: int = 0
    class_names: tuple[str, ...] = ()
    class_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for fault in _faults(self):
            raise InputError(f"model card: {fault}")

    @property
    def low(self) -> np.ndarray:
        """(c,) float32: the network's input for a pixel value of 0."""
        return self.prepare(np.zeros((1, 1, 3), np.uint8))[0, 0]

    @property
    def high(self) -> np.ndarray:
        """(c,) float32: the network's input for a pixel value of 255."""
        return self.prepare(np.full((1, 1, 3), 255, np.uint8))[0, 0]

    def prepare(self, pictures: np.ndarray) -> np.ndarray:
        """... h w 3 uint8 RGB -> ... h w c float32, the network's input."""
        std = np.asarray(self.std, np.float64)
        factor = (self.scale / std).astype(np.float32)
        shift = (-np.asarray(self.mean, np.float64) / std).astype(np.float32)
        if self.channel_order == "gray":
            weights = np.array([0.299, 0.587, 0.114], np.float32)
            pictures = np.rint(pictures @ weights)[..., None]
        elif self.channel_order == "bgr":
            pictures = pictures[..., ::-1]
        # rows of w * c values: NumPy is slow on an innermost axis of 3
        *rows, width, channels = pictures.shape
        inputs = pictures.astype(np.float32).reshape(*rows, width * channels)
        inputs *= np.tile(factor, width)
        inputs += np.tile(shift, width)
        return inputs.reshape(pictures.shape)

    def pictures(self, inputs: np.ndarray) -> np.ndarray:
        """The way back: ... h w c, inputs of the network -> ... h w 3 uint8 RGB, clipped to 0..255."""
        low, high = self.low.astype(np.float64), self.high.astype(np.float64)
        pixels = np.rint(255 * (inputs - low) / (high - low)).clip(0, 255).astype(np.uint8)
        if self.channel_order == "gray":
            return np.repeat(pixels, 3, axis=-1)
        return pixels[..., ::-1] if self.channel_order == "bgr" else pixels

    def to_dict(self) -> dict[str, Any]:
        """Plain values, lists for tuples."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def save(self, path: str | Path) -> None:
        """Write the TOML file that :func:`~pipeline.inputs.card_files.read_card` reads."""
        lines = [f"{key} = {json.dumps(value)}" for key, value in self.to_dict().items()]
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _faults(card: ModelCard) -> list[str]:
    faults = []
    if min(card.height, card.width) < 1:
        faults.append(f"height and width must be positive, received {card.height} and {card.width}")
    for key, valid in (("resize", RESIZES), ("channel_order", CHANNEL_ORDERS), ("output", OUTPUTS)):
        if getattr(card, key) not in valid and (key, getattr(card, key)) != ("output", ""):
            faults.append(f"{key} must be one of {', '.join(valid)}, received {getattr(card, key)!r}")
    if card.channels != (1 if card.channel_order == "gray" else 3):
        faults.append(f"channel_order {card.channel_order!r} does not go with channels = {card.channels}")
    for key in ("mean", "std"):
        if len(getattr(card, key)) != card.channels:
            faults.append(f"{key} must have {card.channels} values, received {getattr(card, key)}")
    if 0.0 in card.std or card.scale == 0:
        faults.append("std and scale must not be 0")
    if card.resize == "shorter_side" and card.shorter_side < max(card.height, card.width):
        faults.append(
            f"shorter_side must be at least {max(card.height, card.width)}, the input's longer side, "
            f"received {card.shorter_side}"
        )
    for key in ("class_names", "class_ids"):
        n = len(getattr(card, key))
        if card.classes and n and n != card.classes:
            faults.append(f"{key} has {n} entries for {card.classes} classes")
    return faults


def card_from_dict(data: dict[str, Any], where: str) -> ModelCard:
    """A validated card. Raises :class:`InputError` naming the field."""
    valid = {field.name for field in fields(ModelCard)}
    if unknown := sorted(set(data) - valid - {"classes_file", "sha256", "about"}):
        raise InputError(f"{where}: unknown field {unknown[0]!r}; valid: {', '.join(sorted(valid))}")
    if missing := sorted({"height", "width"} - set(data)):
        raise InputError(f"{where}: field {missing[0]!r} is missing")
    values: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k in valid
    }
    try:
        return ModelCard(**values)
    except InputError as error:
        raise InputError(f"{where}: {str(error).removeprefix('model card: ')}") from None
    except TypeError as error:
        raise InputError(f"{where}: a field has the wrong type: {error}") from None


def card_data(path: str | Path) -> dict[str, Any]:
    """The fields that a card's file states, its list of classes read. Raises :class:`InputError`.

    ``classes_file = "names.txt"`` (beside the card; lines ``id name`` in the order of the outputs) stands for
    ``class_ids`` and ``class_names``.
    """
    path = Path(path)
    data = read_toml(path, "model card")
    if "classes_file" not in data:
        return data
    ids, names = read_class_file(path.parent / str(data["classes_file"]))
    return {**data, "class_ids": list(ids), "class_names": list(names)}


def read_class_file(path: str | Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Lines ``id name`` -> ids, names (the id where there is none). Raises :class:`InputError`."""
    try:
        lines = place(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read the list of classes: {error}") from None
    pairs = [line.strip().partition(" ") for line in lines if line.strip()]
    if not pairs:
        raise InputError(f"{path}: the list of classes is empty")
    ids = tuple(first for first, _, _ in pairs)
    if len(set(ids)) != len(ids):
        raise InputError(f"{path}: a class id occurs twice")
    return ids, tuple(rest.strip() or first for first, _, rest in pairs)
