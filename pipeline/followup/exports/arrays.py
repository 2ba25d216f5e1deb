"""A run as NumPy arrays, named and shaped as Quantus takes them (Hedström et al. 2023, JMLR 24(34))."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.errors import InputError
from pipeline.followup.exports.stored import Pictured, method_of, pictured
from pipeline.run.store import Store
from pipeline.schema import STATUS_OK

MOST = 5_000  # images in memory at once: 224 x 224 pixels take 2 GB


def export(run: Store, out: str) -> str:
    """Write ``x_batch`` (n, 3, h, w) float32 in [0, 1], ``y_batch`` (n,) explained classes, ``a_batch``
    (n, 1, h, w) relevance, ``s_batch`` (n, 1, h, w) 1.0 inside the boxes, ``example_id`` (n,), to ``out``.

    Images without a map, and those whose localisation is not defined, are left out; how many is said.

    Raises :class:`InputError` where no pictures or no maps are stored, or they are too many.
    """
    images, left_out = [], 0
    for image in pictured(run, method_of(run)):
        usable = image.map is not None and image.row["status"] == STATUS_OK
        images += [image] if usable else []
        left_out += not usable
        if len(images) > MOST:
            raise InputError(
                f"{run.path}: has more than {MOST:,} images with maps, too many for arrays in memory; "
                "`--to coco` writes a file per image, `--to duckdb` none"
            )
    if not images:
        raise InputError(
            f"{run.path}: has no image with a stored map and a usable box; run it with `maps = 56`"
        )
    path = Path(out).with_suffix(".npz")
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.stack([image.pixels() for image in images])
    height, width = pixels.shape[1:3]
    np.savez_compressed(
        path,
        x_batch=np.moveaxis(pixels, -1, 1).astype(np.float32) / 255,
        y_batch=np.array([image.row["target"] for image in images]),
        a_batch=np.stack([image.heat(height, width)[None] for image in images]),
        s_batch=np.stack([_mask(image, height, width)[None] for image in images]),
        example_id=np.array([image.row["example_id"] for image in images]),
    )
    without = f" ({left_out} images without a map or a usable box are left out)" if left_out else ""
    return f"numpy.load({str(path)!r}){without}"


def _mask(image: Pictured, height: int, width: int) -> np.ndarray:
    """(h, w): 1.0 where a box is; both corners of a box belong to it."""
    mask = np.zeros((height, width), np.float32)
    for box in image.row["boxes_model"]:
        x0, y0, x1, y1 = (round(box[side]) for side in ("xmin", "ymin", "xmax", "ymax"))
        mask[y0 : y1 + 1, x0 : x1 + 1] = 1
    return mask
