"""A run as a COCO dataset (https://cocodataset.org/#format-data) that FiftyOne and others import as it is.

The pictures are what the network saw, so boxes are those of the model's input: a crop is a crop here, too.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.followup.exports.stored import Pictured, method_of, pictured
from pipeline.run.store import Store
from pipeline.statistics.ranking import rank

_KEPT = ("example_id", "label", "prediction", "confidence", "label_probability", "correct", "group", "status")
LABELS, PICTURES, MAPS = "labels.json", "data", "maps"


def export(run: Store, out: str) -> str:
    """Write ``run`` into the folder ``out``; returns how FiftyOne opens it.

    Raises :class:`InputError` where the run stores no pictures.
    """
    folder, method = Path(out), method_of(run)
    (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    (folder / MAPS).mkdir(exist_ok=True)
    verdicts = dict(rank(run).table.set_index("label")["verdict"].astype(str))
    images: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    for k, image in enumerate(pictured(run, method), 1):
        (folder / PICTURES / f"{k:08d}.jpg").write_bytes(image.jpeg)
        if image.map is not None:
            Image.fromarray(_grey(image)).save(folder / MAPS / f"{k:08d}.png")
        images.append(_image(k, image, verdicts))
        boxes += _boxes(image, k, len(boxes) + 1)
    content = {
        "info": {"description": f"hansaudit run {run.manifest['run_id']}, maps by {method}"},
        "categories": _categories(run, verdicts),
        "images": images,
        "annotations": boxes,
    }
    (folder / LABELS).write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    return (
        "fiftyone.Dataset.from_dir(dataset_type=fiftyone.types.COCODetectionDataset, "
        f"data_path={str(folder / PICTURES)!r}, labels_path={str(folder / LABELS)!r})"
    )


def _image(k: int, image: Pictured, verdicts: Mapping[int, str]) -> dict[str, Any]:
    width, height = Image.open(io.BytesIO(image.jpeg)).size
    return {
        "id": k,
        "file_name": f"{k:08d}.jpg",
        "width": width,
        "height": height,
        **{name: image.row[name] for name in _KEPT},
        "verdict": verdicts.get(image.row["label"]),
        "map": f"{MAPS}/{k:08d}.png" if image.map is not None else None,
    }


def _boxes(image: Pictured, image_id: int, first: int) -> list[dict[str, Any]]:
    """Boxes with corners that belong to them become x, y, width and height."""
    out = []
    for k, box in enumerate(image.row["boxes_model"] or []):
        width, height = box["xmax"] - box["xmin"] + 1, box["ymax"] - box["ymin"] + 1
        out.append(
            {
                "id": first + k,
                "image_id": image_id,
                "category_id": image.row["label"] + 1,
                "bbox": [box["xmin"], box["ymin"], width, height],
                "area": width * height,
                "iscrowd": 0,
            }
        )
    return out


def _categories(run: Store, verdicts: Mapping[int, str]) -> list[dict[str, Any]]:
    """COCO counts classes from 1; ``supercategory`` is the verdict, by which tools group them."""
    names = run.manifest["dataset"]["class_names"]
    return [{"id": k + 1, "name": n, "supercategory": verdicts.get(k, "")} for k, n in enumerate(names)]


def _grey(image: Pictured) -> np.ndarray:
    """The map's positive part as 8-bit grey, 255 the highest."""
    width, height = Image.open(io.BytesIO(image.jpeg)).size
    positive = np.maximum(image.heat(height, width), 0)
    return np.rint(255 * positive / max(float(positive.max()), 1e-12)).astype(np.uint8)
