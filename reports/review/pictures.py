"""The pictures of a run that has no boxes for them: which there are, and what is stored of each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import InputError
from pipeline.inputs.card import ModelCard
from pipeline.run.parts import Parts
from pipeline.run.store import Store
from pipeline.schema import STATUS_NO_BOX
from reports.review.drawing import SeenImage

_COLUMNS = ("example_id", "shard", "file_name", "label", "width", "height")


class Pictures:
    """Images of ``store`` without a box, by the name of their file; JPEG bytes as the network sees them."""

    def __init__(self, store: Store) -> None:
        self._parts = Parts.whole(store)
        without = pc.field("status").cast(pa.string()) == STATUS_NO_BOX
        rows = store.read("examples", _COLUMNS, without).to_pylist()
        card = _card(store.manifest, store.path)
        whole = [row for row in rows if row["file_name"] and row["width"] and row["height"]]
        self.images: Mapping[str, SeenImage] = {
            row["file_name"]: SeenImage(
                row["example_id"], row["file_name"], row["label"], row["width"], row["height"], card
            )
            for row in whole
        }
        self._shards = {row["example_id"]: row["shard"] for row in whole}
        self._of_shard = lru_cache(maxsize=4)(self._read)

    def jpeg(self, image: SeenImage) -> bytes | None:
        """Its picture; None where the run stores none. Raises :class:`InputError` for a faulty part."""
        return self._of_shard(self._shards[image.example_id]).get(image.example_id)

    def _read(self, shard: str) -> dict[str, bytes]:
        table = self._parts.table("thumbnails", shard, ("example_id", "jpeg"))
        if table is None:
            return {}
        return dict(zip(table["example_id"].to_pylist(), table["jpeg"].to_pylist(), strict=True))


def _card(manifest: Mapping[str, Any], where: str) -> ModelCard:
    """Geometry of the model's input. Raises :class:`InputError` where the run does not say it."""
    stored = manifest["model"].get("card") or {}
    names = ("height", "width", "resize", "shorter_side")
    try:
        return ModelCard(**{name: stored[name] for name in names if name in stored})
    except TypeError:
        raise InputError(f"{where}: the manifest does not say the geometry of the model's input") from None
