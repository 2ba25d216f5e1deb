"""The images of a class averaged in the frame of its object's box.

A mark that moves with the object, or lies beside it now left, now right, vanishes in the average over the
picture. Here every image is moved and scaled until its box is the middle of the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from reports.page.data import Heat
from reports.page.pictures import decode, overlay, picture_uri

SIDE: Final = 96  # of the frame, pixel
BOX: Final = (SIDE / 4, SIDE / 4, SIDE / 2, SIDE / 2)  # x, y, width, height of the box in it
_SEEN: Final = 0.25  # share of the images that must reach a pixel of the frame

Rect = tuple[float, float, float, float]


@dataclass(frozen=True)
class Seen:
    """One image: photograph, map, and its box as (x, y, width, height) in the model's input, pixel."""

    jpeg: bytes | None
    heat: Heat
    box: Rect


def framed_uri(images: Sequence[Seen], size: tuple[int, int]) -> str | None:
    """Average map over average photograph in the frame of the box; None without maps.

    ``size``: width, height of the model's input. What few images reach is dark."""
    maps = [i for i in images if not i.heat.is_zero and i.heat.values.shape == images[0].heat.values.shape]
    if not maps:
        return None
    heat, reached = framed_mean(
        [i.heat.values / i.heat.values.sum() for i in maps], [i.box for i in maps], size
    )
    photos = [(p, i.box) for i in images if (p := decode(i.jpeg, size)) is not None]
    ground = None
    if photos:
        boxes = [box for _, box in photos]
        channels = [framed_mean([p[..., c] for p, _ in photos], boxes, size)[0] for c in range(3)]
        ground = np.stack(channels, axis=2) * reached[..., None]
    return picture_uri(overlay(ground, heat * reached, (SIDE, SIDE)))


def framed_mean(
    values: Sequence[np.ndarray], boxes: Sequence[Rect], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The mean of the arrays (rows, columns) over those that reach a pixel, and which are reached
    by enough of them: (SIDE, SIDE) float32 and bool."""
    total, weight = np.zeros((SIDE, SIDE), np.float32), np.zeros((SIDE, SIDE), np.float32)
    for array, box in zip(values, boxes, strict=True):
        total += _framed(array, box, size)
        weight += _framed(np.ones_like(array), box, size)
    return total / np.maximum(weight, 1e-6), weight >= _SEEN * len(values)


def _framed(array: np.ndarray, box: Rect, size: tuple[int, int]) -> np.ndarray:
    """The part of the array that is twice the box, about its centre; 0 beyond the picture."""
    across, down = array.shape[1] / size[0], array.shape[0] / size[1]
    x, y, width, height = box
    left, top = (x - width / 2) * across, (y - height / 2) * down
    extent = (left, top, left + 2 * width * across, top + 2 * height * down)
    image = Image.fromarray(np.ascontiguousarray(array, dtype=np.float32))
    return np.asarray(
        image.transform((SIDE, SIDE), Image.Transform.EXTENT, extent, Image.Resampling.BILINEAR)
    )
