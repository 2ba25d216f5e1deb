"""Rows of the tables for one batch: predictions, scores, pooled maps, thumbnails."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.config_sections import AuditConfig
from pipeline.measure.metrics import channel_sum, measure, pool
from pipeline.measure.properties import file_properties, is_sampled, properties_table
from pipeline.schema import EXAMPLES, MAPS, SCORES, STATUS_FAILED, THUMBNAILS

if TYPE_CHECKING:
    from explainers import Explanation
    from pipeline.inputs.batches import Batch
    from pipeline.inputs.card import ModelCard

THUMBNAIL_QUALITY = 85
_SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Recipe:
    """What the rows of one shard are made with, apart from the batch.

    Attributes:
        class_ids, class_names: the dataset's, by its own class index.
        methods: keys, in the order of the explanations.
        card: of the network; its ``output`` says what the outputs are.
        sampled: share of the images whose files' properties are measured.
    """

    shard: str
    class_ids: tuple[str, ...]
    class_names: tuple[str, ...]
    methods: tuple[str, ...]
    card: ModelCard
    audit: AuditConfig
    sampled: float

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables that a shard gets."""
        optional = {"maps": self.audit.maps > 0, "thumbnails": self.audit.thumbnails}
        return ("examples", "scores", "properties", *(name for name, asked in optional.items() if asked))


def batch_tables(batch: Batch, explanations: Sequence[Explanation], recipe: Recipe) -> dict[str, pa.Table]:
    """The rows of one batch, padding left out: table name to table."""
    real = np.array([r is not None for r in batch.records])
    seen = np.flatnonzero(real & batch.valid)
    rows = np.flatnonzero(real)
    explained = list(zip(recipe.methods, explanations, strict=True))
    tables = {
        "examples": _examples(batch, explanations[0], rows, recipe),
        "scores": pa.concat_tables(
            [_scores(batch, rows, method, e, recipe.audit) for method, e in explained]
        ),
    }
    tables["properties"] = _properties(batch, seen, recipe)
    ids = _ids(batch, seen)
    if "maps" in recipe.tables:
        tables["maps"] = pa.concat_tables(
            [_maps(ids, method, _take(e.relevance, seen), recipe.audit) for method, e in explained]
        )
    if "thumbnails" in recipe.tables:
        jpegs = [_jpeg(batch.pictures[i]) for i in seen]
        tables["thumbnails"] = _table(THUMBNAILS, {"example_id": ids, "jpeg": jpegs})
    return tables


def _properties(batch: Batch, seen: np.ndarray, recipe: Recipe) -> pa.Table:
    """Of the sampled ones among the ``seen`` images."""
    ids, rows = [], []
    for i in seen:
        record = batch.records[i]
        if record.image and is_sampled(record.example_id, recipe.audit.seed, recipe.sampled):
            width, height = map(int, batch.sizes[i])
            ids.append(record.example_id)
            rows.append(file_properties(record.image, batch.pictures[i], (width, height), recipe.card))
    return properties_table(ids, rows)


def probabilities(logits: np.ndarray, output: str) -> np.ndarray:
    """``b k`` outputs to probabilities, float64: by a sigmoid for ``sigmoid``, as they are for
    ``probabilities``, else by a softmax."""
    z = logits.astype(np.float64)
    if output == "sigmoid":
        return np.exp(-np.logaddexp(0, -z))
    if output == "probabilities":
        return z
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def box_geometry(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Area (fraction) and distance of the centroid from the centre (half diagonals) of masks ``n h w``.

    The distance is nan for an empty mask.
    """
    _, height, width = mask.shape
    size = mask.sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        y = mask.sum(axis=2) @ (np.arange(height) + 0.5) / size
        x = mask.sum(axis=1) @ (np.arange(width) + 0.5) / size
    distance = np.hypot(y - height / 2, x - width / 2) / (np.hypot(height, width) / 2)
    return size / (height * width), distance


def cell_sums(maps: np.ndarray, side: int) -> np.ndarray:
    """``n h w`` to ``n r c``, each cell the sum of its pixels; ``r = min(side, h)``, ``c = min(side, w)``.

    Cell ``i`` of ``r`` holds the rows from ``floor(i h / r)`` on, so sizes differ by at most one pixel.
    """
    _, height, width = maps.shape
    rows = np.arange(min(side, height)) * height // min(side, height)
    columns = np.arange(min(side, width)) * width // min(side, width)
    return np.add.reduceat(np.add.reduceat(maps, rows, axis=1), columns, axis=2)


def _examples(batch: Batch, explanation: Explanation, rows: np.ndarray, recipe: Recipe) -> pa.Table:
    status = [batch.status[i] for i in rows]
    records = [batch.records[i] for i in rows]
    label = batch.labels[rows]
    area, distance = box_geometry(batch.masks[rows])
    boxless = np.array([s == STATUS_FAILED or not len(r.boxes) for s, r in zip(status, records, strict=True)])
    sizes = [
        None if s == STATUS_FAILED else tuple(map(int, batch.sizes[i]))
        for i, s in zip(rows, status, strict=True)
    ]
    own = [r.label if 0 <= r.label < len(recipe.class_ids) else None for r in records]
    columns = {
        "example_id": _ids(batch, rows),
        "shard": [recipe.shard] * len(rows),
        "index": [r.index for r in records],
        "file_name": [r.file_name for r in records],
        "label": label,
        "class_id": [None if k is None else recipe.class_ids[k] for k in own],
        "class_name": [None if k is None else recipe.class_names[k] for k in own],
        "group": [r.group for r in records],
        "width": [s and s[0] for s in sizes],
        "height": [s and s[1] for s in sizes],
        "boxes": [_boxes(r.boxes) for r in records],
        "boxes_model": [_boxes(batch.boxes_model[i]) for i in rows],
        "box_area": pa.array(area, pa.float32(), mask=boxless),
        "box_distance": pa.array(distance, pa.float32(), mask=boxless | np.isnan(distance)),
        "status": status,
        "reason": [batch.reason[i] for i in rows],
    }
    failed = np.array([s == STATUS_FAILED for s in status], dtype=bool)
    return _table(EXAMPLES, columns | _predictions(explanation, rows, label, failed, recipe.card.output))


def _predictions(
    explanation: Explanation, rows: np.ndarray, label: np.ndarray, failed: np.ndarray, output: str
) -> dict[str, Any]:
    """Columns of what the network says; null for ``failed`` rows, whose input was filled in."""
    logits = explanation.output[rows]
    p = probabilities(logits, output)
    k = p.shape[1]
    # by the logits: a saturated float sigmoid or softmax would tie
    order = np.argsort(-logits, axis=1, kind="stable")
    top, has_output = order[:, 0], (label >= 0) & (label < k)
    i = np.arange(len(rows))
    columns = {
        "prediction": (top, failed),
        "confidence": (p[i, top], failed),
        "label_probability": (p[i, label.clip(0, k - 1)], failed | ~has_output),
        "correct": (top == label, failed),
        "correct_top5": ((order[:, :5] == label[:, None]).any(axis=1), failed),
        "target": (explanation.target[rows], failed),
        "target_logit": (logits[i, explanation.target[rows]], failed),
    }
    return {
        name: pa.array(values, EXAMPLES.field(name).type, mask=mask)
        for name, (values, mask) in columns.items()
    }


def _scores(
    batch: Batch, rows: np.ndarray, method: str, explanation: Explanation, audit: AuditConfig
) -> pa.Table:
    """Long rows of one method: image by image, the metrics in the order of the configuration."""
    names = audit.metrics
    blocked = [_blocked(batch, explanation, i) for i in rows]
    measured = measure(
        _take(explanation.relevance, rows), _take(batch.masks, rows), blocked, names, audit.pooling
    )
    n, k = measured.value.shape
    value = measured.value.reshape(-1)
    return _table(
        SCORES,
        {
            "example_id": pa.array(np.repeat(np.array(_ids(batch, rows), dtype=object), k), pa.string()),
            "method": _constant(method, n * k),
            "metric": pa.DictionaryArray.from_arrays(
                pa.array(np.tile(np.arange(k, dtype=np.int32), n)), pa.array(names, pa.string())
            ),
            "value": pa.array(value, pa.float64(), mask=~np.isfinite(value)),
            "reason": pa.array(measured.reason.reshape(-1), pa.string()),
        },
    )


def _blocked(batch: Batch, explanation: Explanation, row: int) -> tuple[str, str | None]:
    """Status of the image, and why there is no map: what was wrong with it, else what the method says."""
    status = batch.status[row]
    return status, batch.reason[row] if status == STATUS_FAILED else explanation.reason[row]


def _maps(ids: Sequence[str], method: str, relevance: np.ndarray, audit: AuditConfig) -> pa.Table:
    """The pooled maps of one method, from relevance ``n h w c``."""
    relevance = np.nan_to_num(relevance, nan=0.0, posinf=0.0, neginf=0.0)
    values = cell_sums(pool(relevance, audit.pooling), audit.maps)
    signed = cell_sums(channel_sum(relevance), audit.maps)
    n, height, width = values.shape
    values, scale = _scaled(values)
    signed, signed_scale = _scaled(signed)
    return _table(
        MAPS,
        {
            "example_id": ids,
            "method": _constant(method, n),
            "height": np.full(n, height, np.int16),
            "width": np.full(n, width, np.int16),
            "values": values,
            "scale": scale,
            "signed": signed,
            "signed_scale": signed_scale,
        },
    )


def _scaled(cells: np.ndarray) -> tuple[pa.Array, pa.Array]:
    """Cells over their largest absolute value as lists of float16, and that value; a zero map stays 0."""
    n, height, width = cells.shape
    scale = np.abs(cells).max(axis=(1, 2), initial=0).astype(np.float32)
    shares = cells / np.where(scale > 0, scale, 1)[:, None, None]
    offsets = np.arange(0, (n + 1) * height * width, height * width, dtype=np.int32)[: n + 1]
    lists = pa.ListArray.from_arrays(offsets, pa.array(shares.astype(np.float16).reshape(-1)))
    return lists, pa.array(scale, pa.float32())


def _jpeg(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    return buffer.getvalue()


def _boxes(boxes: np.ndarray) -> list[dict[str, float]]:
    return [dict(zip(_SIDES, map(float, box), strict=True)) for box in boxes]


def _ids(batch: Batch, rows: np.ndarray) -> list[str]:
    return [batch.records[i].example_id for i in rows]


def _constant(value: str, n: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([value], pa.string()))


def _take(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return array if len(rows) == len(array) else array[rows]


def _table(schema: pa.Schema, columns: dict[str, Any]) -> pa.Table:
    arrays = [
        c if isinstance(c := columns[field.name], pa.Array) else pa.array(c, field.type) for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
