"""How a picture gets into the model's input (resize, crop, pad), and its boxes through the same map.

A point of the original image lies at ``x_model = x * scale - offset`` (continuous coordinates: pixel ``i``
covers ``[i, i+1)``). Three geometries:

- ``shorter_side``: the shorter side becomes ``shorter_side``, the other ``int(shorter_side * long / short)``,
  then the centre crop at ``int(round((n - size) / 2))``: the protocol of ImageNet evaluation;
- ``stretch``: both sides to the input's size;
- ``pad``: the whole picture fits, centred, the rest is black.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.errors import InputError
from pipeline.inputs.card import ModelCard
from pipeline.inputs.limits import MAX_PIXELS
from pipeline.inputs.objects.faults import StoreFault, Unreadable
from pipeline.inputs.objects.places import place

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")


@dataclass(frozen=True)
class Placement:
    """The map from one original image to the model's input; ``crop_*`` is what is seen, in original pixels.

    ``paste``: left, top, right, bottom of the picture in the input (all of it unless padded).
    """

    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float
    crop: tuple[float, float, float, float]
    paste: tuple[int, int, int, int]


def place_image(width: int, height: int, card: ModelCard) -> Placement:
    """Where a ``width`` x ``height`` image lies in the input that ``card`` describes."""
    if card.resize == "stretch":
        resized, paste = (card.width, card.height), (0, 0, card.width, card.height)
        left = top = 0
    elif card.resize == "pad":
        fit = min(card.width / width, card.height / height)
        resized = (max(1, round(width * fit)), max(1, round(height * fit)))
        left, top = (resized[0] - card.width) // 2, (resized[1] - card.height) // 2
        paste = (-left, -top, resized[0] - left, resized[1] - top)
    else:
        resized = shorter_side_size(width, height, card.shorter_side)
        left, top = round((resized[0] - card.width) / 2), round((resized[1] - card.height) / 2)
        paste = (0, 0, card.width, card.height)
    scale_x, scale_y = resized[0] / width, resized[1] / height
    crop = (
        max(0.0, (paste[0] + left) / scale_x),
        max(0.0, (paste[1] + top) / scale_y),
        min(float(width), (paste[2] + left) / scale_x),
        min(float(height), (paste[3] + top) / scale_y),
    )
    return Placement(scale_x, scale_y, left, top, crop, paste)


def shorter_side_size(width: int, height: int, side: int) -> tuple[int, int]:
    """Width and height after the shorter side became ``side``."""
    if width <= height:
        return side, int(side * height / width)
    return int(side * width / height), side


def open_image(data: bytes) -> Image.Image:
    """The picture of an image file, header read only. Raises :class:`InputError`."""
    if not data:
        raise InputError("the image file is empty")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise InputError(
            f"not an image file (first bytes {data[:4]!r}); valid formats: {', '.join(FORMATS)}"
        ) from None
    except Exception as error:  # Pillow raises many types on hostile headers
        raise InputError(f"the image's header cannot be read: {type(error).__name__}: {error}") from None
    if image.width * image.height > MAX_PIXELS:
        raise InputError(f"image of {image.width} x {image.height} pixels exceeds the limit of {MAX_PIXELS}")
    return image


def read_image(path: str | Path) -> Image.Image:
    """The picture of the image file at ``path``, header read only. Raises :class:`InputError`."""
    try:
        return open_image(place(path).read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot read the image: {error.strerror}") from None
    except (StoreFault, Unreadable):  # which say where
        raise
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


_ORIENTATION = 0x0112  # the EXIF tag
_TURNED = (5, 6, 7, 8)  # orientations that exchange width and height


def upright(image: Image.Image, annotated: tuple[int, int] | None) -> Image.Image:
    """The picture as every viewer shows it, turned by its EXIF orientation.

    ``annotated``: width and height as the annotations state them. Where only the stored picture has that
    size, the boxes were drawn on it as it is stored, and it is not turned.

    Raises :class:`InputError` when neither has the annotated size, or the data are damaged.
    """
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception as error:  # Pillow raises many types on damaged metadata
        raise InputError(f"the image's EXIF data cannot be read: {error or type(error).__name__}") from None
    shown = image.size[::-1] if orientation in _TURNED else image.size
    if annotated not in (None, shown, image.size):
        turned = (
            f", {shown[0]} x {shown[1]} when turned as its EXIF orientation says"
            if shown != image.size
            else ""
        )
        raise InputError(
            f"the annotations are of an image of {annotated[0]} x {annotated[1]} pixels, the file has "
            f"{image.width} x {image.height}{turned}: its boxes cannot be placed"
        )
    if annotated is not None and annotated != shown:
        return image
    try:
        return ImageOps.exif_transpose(image)
    except Exception as error:
        raise InputError(f"the image cannot be decoded: {error or type(error).__name__}") from None


def image_size(data: bytes) -> tuple[int, int]:
    """Width and height from the header. Raises :class:`InputError`."""
    return open_image(data).size


def draw(image: Image.Image, placed: Placement, card: ModelCard) -> np.ndarray:
    """What the model sees, as h w 3 uint8 RGB.

    Antialiased bilinear (triangle of the width of an output pixel), computed on the crop only: within one
    grey level of resizing the whole image with Pillow and cropping afterwards. Colour profiles are ignored,
    as by everyone who trained on ImageNet.

    Raises :class:`InputError` when the data are damaged.
    """
    try:
        image.load()
        image = to_rgb(image)
    except InputError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error ... on damaged data
        raise InputError(f"the image cannot be decoded: {error or type(error).__name__}") from None
    left, top, right, bottom = placed.paste
    size = (right - left, bottom - top)
    if card.antialias:
        seen = image.resize(size, Image.Resampling.BILINEAR, box=placed.crop)
    else:
        to_original = (1 / placed.scale_x, 0, placed.crop[0], 0, 1 / placed.scale_y, placed.crop[1])
        seen = image.transform(size, Image.Transform.AFFINE, to_original, Image.Resampling.BILINEAR)
    if size == (card.width, card.height):
        return np.asarray(seen)
    canvas = np.zeros((card.height, card.width, 3), np.uint8)
    canvas[top:bottom, left:right] = np.asarray(seen)
    return canvas


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB, 8 bits: grayscale repeated, CMYK converted, 16 bits cut to 8, transparency dropped.

    Raises :class:`InputError` for pixels whose range is not known: 32-bit integers and floating point.
    """
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16") or (
        image.mode == "I" and image.format == "PNG"
    ):  # PNG has 16 bits at most
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    elif image.mode[0] in "IF":
        low, high = image.getextrema()
        kind = "32-bit integers" if image.mode[0] == "I" else "floating-point numbers"
        raise InputError(
            f"its pixels are {kind} from {low:g} to {high:g}, of which black and white are not known; "
            "valid: 8 or 16 bits per channel"
        )
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


_TOLD = 5  # faults of an image's boxes that are named


def clean_boxes(boxes: np.ndarray, width: int, height: int) -> tuple[np.ndarray, str | None]:
    """The usable boxes, clipped to the image, and what was wrong with the others (None: nothing)."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    faults: list[str] = []
    good = np.ones(len(boxes), bool)
    for i, (xmin, ymin, xmax, ymax) in enumerate(boxes):
        fault = ""
        if not np.isfinite(boxes[i]).all():
            fault = "is not finite"
        elif xmax < xmin or ymax < ymin:
            fault = f"is inverted ({xmin:g}, {ymin:g}, {xmax:g}, {ymax:g})"
        elif xmin >= width or ymin >= height or xmax < 0 or ymax < 0:
            fault = f"({xmin:g}, {ymin:g}, {xmax:g}, {ymax:g}) lies outside the {width} x {height} image"
        if fault:
            good[i] = False
            faults.append(f"box {i} {fault}")
    limit = np.array([width - 1, height - 1, width - 1, height - 1])
    more = [f"{len(faults) - _TOLD} more"] if len(faults) > _TOLD else []
    return np.clip(boxes[good], 0, limit), "; ".join(faults[:_TOLD] + more) or None


def map_boxes(boxes: np.ndarray, placed: Placement, card: ModelCard) -> np.ndarray:
    """(n, 4) original inclusive boxes -> (m, 4) int32 inclusive boxes in the input, visible ones only.

    A pixel of the input belongs to a box when its centre does; a box thinner than a pixel keeps one.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    scale = np.array([placed.scale_x, placed.scale_y])
    offset = np.array([placed.offset_x, placed.offset_y])
    low, high = boxes[:, :2] * scale - offset, (boxes[:, 2:] + 1) * scale - offset
    first, last = np.ceil(low - 0.5), np.ceil(high - 0.5) - 1
    thin = last < first
    middle = np.floor((low + high) / 2)
    first, last = np.where(thin, middle, first), np.where(thin, middle, last)
    left, top, right, bottom = placed.paste
    first = np.maximum(first, [left, top])
    last = np.minimum(last, [right - 1, bottom - 1])
    visible = (last >= first).all(axis=1)
    return np.concatenate([first, last], axis=1)[visible].astype(np.int32)


def union_mask(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """h w bool: inside any of the inclusive integer boxes."""
    mask = np.zeros((height, width), bool)
    for xmin, ymin, xmax, ymax in np.asarray(boxes, int).reshape(-1, 4):
        mask[ymin : ymax + 1, xmin : xmax + 1] = True
    return mask
