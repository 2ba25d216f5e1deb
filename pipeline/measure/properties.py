"""What a picture's file says without any network: rows of table ``properties``, of a sample of the images.

A class that one of these properties tells from the rest can be recognised without looking at the object. They
are measured on the way, on bytes and pixels that the audit has at hand, and only of as many images as a check
of the classes takes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.inputs.card import ModelCard
from pipeline.inputs.geometry import place_image
from pipeline.schema import PROPERTIES
from pipeline.seeds import ImageChoice
from pipeline.terms import FileProperty

SAMPLED: Final = 2000  # images, about, of a run
PER_CLASS: Final = 10  # images of a class, about, where there are many classes
_CELLS: Final = 56  # rows and columns of pixels, about, that brightness and colours are taken from
_LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601
# sum of the luminance table for quality 50, ITU-T T.81, table K.1
_TABLE_SUM: Final = 3688
_JPEG = b"\xff\xd8\xff"


def sampled_share(images: int, classes: int) -> float:
    """Share of the images whose properties are measured."""
    return min(1.0, max(SAMPLED, PER_CLASS * classes) / max(images, 1))


def is_sampled(example_id: str, seed: int, share: float) -> bool:
    """Whether the image is one of them: it depends on nothing but itself."""
    return share >= 1 or ImageChoice.PROPERTIES.takes(seed, example_id, share)


def file_properties(
    data: bytes, picture: np.ndarray, size: tuple[int, int], card: ModelCard
) -> dict[str, float | None]:
    """The properties of one image that table ``properties`` has a column for.

    ``data``: its file; ``picture`` (h, w, 3) uint8: what the network sees; ``size``: width and height of the
    original.
    """
    if card.resize == "pad":  # the black around a picture says its shape, which is a property of its own
        left, top, right, bottom = place_image(*size, card).paste
        picture = picture[max(top, 0) : bottom, max(left, 0) : right]
    step = max(1, min(picture.shape[:2]) // _CELLS)
    red, green, blue = picture[::step, ::step].transpose(2, 0, 1).astype(np.float32) / 255
    luminance = _LUMINANCE[0] * red + _LUMINANCE[1] * green + _LUMINANCE[2] * blue
    range_ = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return {
        FileProperty.JPEG_QUALITY: jpeg_quality(data),
        FileProperty.IS_JPEG: float(data.startswith(_JPEG)),
        FileProperty.BYTES_PER_PIXEL: len(data) / (size[0] * size[1]),
        FileProperty.BRIGHTNESS: float(luminance.mean()),
        FileProperty.CONTRAST: float(luminance.std()),
        FileProperty.SATURATION: float(range_.mean()),
        FileProperty.RED_CAST: float(red.mean() - green.mean()),
        FileProperty.BLUE_CAST: float(blue.mean() - green.mean()),
        FileProperty.SHARPNESS: laplacian_variance(picture),
    }


def properties_table(ids: Sequence[str], rows: Sequence[Mapping[str, float | None]]) -> pa.Table:
    """Rows of table ``properties``."""
    columns = {name: [row[name] for row in rows] for name in PROPERTIES.names if name != "example_id"}
    return pa.table({"example_id": list(ids)} | columns, schema=PROPERTIES)


def laplacian_variance(picture: np.ndarray) -> float | None:
    """Variance of ``4 g - g_up - g_down - g_left - g_right`` over every other pixel of the green channel.

    ``picture`` (h, w, 3) uint8. The usual measure of focus (Pech-Pacheco et al. 2000); None below 3 x 3.
    """
    if min(picture.shape[:2]) < 3:
        return None
    green = picture[:, :, 1].astype(np.int16)
    middle = green[1:-1, 1:-1][::2, ::2]
    around = green[:-2, 1:-1][::2, ::2] + green[2:, 1:-1][::2, ::2]
    around = around + green[1:-1, :-2][::2, ::2] + green[1:-1, 2:][::2, ::2]
    return float((4 * middle - around).astype(np.float32).var())


def jpeg_quality(data: bytes) -> float | None:
    """Quality 1 to 100 that a JPEG's luminance table stands for; None for what is no JPEG.

    The tables of the Independent JPEG Group's encoder are those of ITU-T T.81, annex K, times ``s`` per cent,
    ``s = 5000 / q`` for ``q < 50``, else ``200 - 2 q``: the sum of a table gives ``s``. Tables of other
    encoders are read as the quality whose table has the same sum. Entries end at 255, so qualities below 20
    read as 11 to 20, in their order.
    """
    if not data.startswith(_JPEG):
        return None
    try:
        tables = Image.open(io.BytesIO(data), formats=("JPEG",)).quantization  # type: ignore[attr-defined]
        scale = 100 * sum(tables[min(tables)]) / _TABLE_SUM
    except Exception:  # Pillow raises many types on damaged headers; such a file says nothing of its quality
        return None
    return float(np.clip((200 - scale) / 2 if scale <= 100 else 5000 / scale, 1, 100))
