"""Pictures and maps of a run, shard by shard, as other tools want them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import InputError
from pipeline.run.parts import Parts
from pipeline.run.ranking_settings import ranking_method
from pipeline.run.store import Store

_COLUMNS = (
    "example_id", "file_name", "label", "group", "prediction", "confidence", "label_probability", "correct",
    "target", "boxes_model", "status",
)  # fmt: skip
_MAP = ("example_id", "method", "height", "width", "signed", "signed_scale")


@dataclass(frozen=True)
class Pictured:
    """An image of a run: its row in ``examples``, the picture that the network saw, the ranking's map of it.

    Attributes:
        jpeg: the model's input before normalisation.
        map: row of the table ``maps``; None where none is stored.
    """

    row: Mapping[str, Any]
    jpeg: bytes
    map: Mapping[str, Any] | None

    def pixels(self) -> NDArray[np.uint8]:
        """(h, w, 3)."""
        return np.asarray(Image.open(io.BytesIO(self.jpeg)).convert("RGB"))

    def heat(self, height: int, width: int) -> NDArray[np.float32]:
        """Signed relevance (height, width), each cell repeated; zero where there is no map."""
        return np.zeros((height, width), np.float32) if self.map is None else heat(self.map, height, width)


def heat(row: Mapping[str, Any], height: int, width: int) -> NDArray[np.float32]:
    """Signed relevance (height, width) of a row of ``maps``: every pixel has the value of its cell."""
    cells = np.asarray(row["signed"], np.float32).reshape(row["height"], row["width"]) * row["signed_scale"]
    y = np.arange(height) * row["height"] // height
    x = np.arange(width) * row["width"] // width
    return cells[y[:, None], x]


def method_of(run: Store) -> str:
    """Key of the method by which the run's classes are ranked."""
    return ranking_method(run.manifest)


def pictured(run: Store, method: str) -> Iterator[Pictured]:
    """Every image of ``run`` that has a stored picture, in order; memory holds one shard.

    Raises :class:`InputError` where no pictures are stored, and for a part that cannot be read.
    """
    if "thumbnails" not in run.tables:
        raise InputError(f"{run.path}: stores no pictures; run the audit with `thumbnails = true`")
    parts = Parts.whole(run)
    for key in parts.keys:
        rows = _by_id(parts.table("examples", key, _COLUMNS))
        maps = _by_id(_of(parts.table("maps", key, _MAP), method))
        for example_id, picture in _by_id(parts.table("thumbnails", key, ("example_id", "jpeg"))).items():
            yield Pictured(rows[example_id], picture["jpeg"], maps.get(example_id))


def _by_id(table: pa.Table | None) -> dict[str, dict[str, Any]]:
    return {} if table is None else {row["example_id"]: row for row in table.to_pylist()}


def _of(table: pa.Table | None, method: str) -> pa.Table | None:
    if table is None:
        return None
    names: Sequence[str] = table["method"].cast(pa.string()).to_pylist()
    return table.filter(pa.array([name == method for name in names], pa.bool_()))
