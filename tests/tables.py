"""Synthetic run folders with a known truth: no images are explained, every number is drawn.

``lift = g(A, d) + shift[class] + noise``: ``g`` depends on the area of the box and its distance from
the centre (the same for all classes), the noise is heavy-tailed and wider for very small and large boxes,
and ``shift`` is 0 but for the classes in ``effect``. Classes differ in how large their objects are, so that a
ranking by the raw ratio is confounded by box size, as on ILSVRC. The maps carry exactly the drawn mass inside
the boxes; what lies outside is diffuse, and for a class with an effect it sits on a mark in a corner.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from pipeline import schema
from pipeline.config import Config, parse_config
from pipeline.run.folder import INVENTORY, MANIFEST, SCHEMA_VERSION, part_name
from pipeline.run.hashes import HASH, hashed
from pipeline.run.store import Store

INPUT = 64  # side of the model's input, pixel
CELLS = 32  # side of the stored maps, cell
MARK = 10  # side of the drawn mark of a class with an effect, pixel
METRICS = ("relevance_in", "relevance_out", "ratio", "mass", "lift", "pointing", "rank_accuracy")


def expected_lift(area: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """``g(A, d)``: what any class's map achieves for a box of this area and place."""
    z = np.log(area / (1 - area))
    return 0.9 - 0.45 * z - 0.04 * z**2 - 0.8 * distance


def _boxes(rng: np.random.Generator, centre: np.ndarray) -> np.ndarray:
    """One box (n, 4) per image, inclusive pixels; ``centre`` (n,): typical logit of its class's areas."""
    n = len(centre)
    area = 1 / (1 + np.exp(-(centre + 0.8 * rng.standard_normal(n))))
    aspect = np.exp(0.35 * rng.standard_normal(n))
    side = np.sqrt(area) * INPUT
    width = np.clip(np.rint(side * aspect), 3, INPUT - 1)
    height = np.clip(np.rint(side / aspect), 3, INPUT - 1)
    x = np.floor(rng.beta(2, 2, n) * (INPUT - width + 1))
    y = np.floor(rng.beta(2, 2, n) * (INPUT - height + 1))
    return np.stack([x, y, x + width - 1, y + height - 1], axis=1)


def draw_examples(
    n_classes: int,
    per_class: int | Sequence[int],
    seed: int,
    effect: Mapping[int, float] | None = None,
    failures: float = 0.0,
) -> pd.DataFrame:
    """One row per image, vectorised: label, box, area, distance, correct, lift, mass, status.

    ``failures`` is the share of images that get each of the four statuses other than ``ok``.
    """
    rng = np.random.default_rng([seed, n_classes])
    counts = np.broadcast_to(np.asarray(per_class), (n_classes,))
    label = np.repeat(np.arange(n_classes, dtype=np.int32), counts)
    label = label[rng.permutation(len(label))]
    n = len(label)
    box = _boxes(rng, rng.normal(-0.4, 0.7, n_classes)[label])
    area = (box[:, 2] - box[:, 0] + 1) * (box[:, 3] - box[:, 1] + 1) / INPUT**2
    offset = (box[:, :2] + box[:, 2:] + 1) / 2 - INPUT / 2
    distance = np.hypot(offset[:, 0], offset[:, 1]) / (INPUT / np.sqrt(2))
    shift = np.zeros(n_classes)
    for key, value in (effect or {}).items():
        shift[key] = value
    width = 0.6 + 0.12 * np.abs(np.log(area / (1 - area)))
    lift = expected_lift(area, distance) + shift[label] + width * rng.standard_t(6, n)
    mass = 1 / (1 + np.exp(-(lift + np.log(area / (1 - area)))))
    correct = rng.random(n) < rng.beta(6, 2, n_classes)[label]
    confidence = np.clip(rng.beta(4, 1.5, n), 0.05, 0.999)
    status = rng.choice(
        np.array(schema.STATUSES, dtype=object), size=n, p=[1 - 4 * failures, *[failures] * 4]
    )
    return pd.DataFrame(
        {
            "example_id": [f"image-{i:09d}" for i in range(n)],
            "label": label,
            "correct": correct,
            "prediction": np.where(correct, label, (label + 1) % max(n_classes, 2)).astype(np.int32),
            "confidence": confidence,
            "xmin": box[:, 0],
            "ymin": box[:, 1],
            "xmax": box[:, 2],
            "ymax": box[:, 3],
            "box_area": area,
            "box_distance": distance,
            "lift": lift,
            "mass": mass,
            "status": status,
        }
    )


@dataclass(frozen=True)
class Truth:
    """What :func:`write_run` planted."""

    class_names: tuple[str, ...]
    effect: dict[int, float]
    examples: pd.DataFrame  # as drawn, in order of the index


def write_run(
    path: str | Path,
    n_classes: int,
    per_class: int | Sequence[int],
    seed: int,
    effect: Mapping[int, float] | None = None,
    maps: bool = True,
    thumbnails: bool = True,
    shard_size: int = 128,
    failures: float = 0.01,
    ranking: Mapping[str, Any] | None = None,
    examples: pd.DataFrame | None = None,
) -> Truth:
    """Write a whole run folder (manifest and parts, as the audit would) and return its truth.

    ``ranking``: the run's own ranking settings. ``effect`` maps a class index to the shift of its lift; those
    classes are the dataset's ``planted`` ones. ``examples``: instead of drawn ones, with their ``group``.
    """
    root = Path(path)
    effect = dict(effect or {})
    frame = draw_examples(n_classes, per_class, seed, effect, failures) if examples is None else examples
    names = tuple(f"class {k:03d}" for k in range(n_classes))
    audit = {"maps": CELLS if maps else 0, "thumbnails": thumbnails, "seed": seed}
    settings = {"audit": audit, "perturbation": False, "ranking": dict(ranking or {})}
    config = parse_config(settings | {"methods": ["lrp.preset_a"]})
    starts = range(0, len(frame), shard_size)
    keys = [f"validation-{s:09d}-{min(s + shard_size, len(frame)):09d}" for s in starts]
    root.mkdir(parents=True, exist_ok=True)
    (root / MANIFEST).write_text(
        json.dumps(_manifest(config, names, effect, keys, len(frame)), indent=1), encoding="utf-8"
    )
    for start, key in zip(starts, keys, strict=True):
        rows = frame.iloc[start : start + shard_size]
        tables = {"scores": _scores(rows, config.methods[0].key)}
        if maps:
            tables["maps"] = _maps(rows, config.methods[0].key, effect, seed)
        if thumbnails:
            tables["thumbnails"] = _thumbnails(rows, effect, n_classes, seed)
        tables["examples"] = _examples(rows, names, key)  # last: the commit marker of the shard
        for name, table in tables.items():
            (root / name).mkdir(exist_ok=True)
            pq.write_table(table, root / part_name(name, key))
    return Truth(names, effect, frame)


def with_inventories(path: str | Path) -> Store:
    """Write the parts of a run folder again, as the store writes them now: with inventories and hashes."""
    store = Store(path)
    tables = {
        key: {
            name: _with_all_columns(pq.read_table(part), schema.TABLES[name])
            for name in schema.TABLES
            if (part := Path(path, part_name(name, key))).exists()
        }
        for key in sorted(store.done)
    }
    content = hashed(store.manifest | {INVENTORY: HASH})
    Path(path, MANIFEST).write_text(json.dumps(content, indent=1), encoding="utf-8")
    for key, of_shard in tables.items():
        store.write_shard(key, of_shard)
    return store


def _with_all_columns(table: pa.Table, wanted: pa.Schema) -> pa.Table:
    """``table`` with nulls in the columns that its schema version had not yet; the store leaves them out."""
    if table.column_names == wanted.names:
        return table
    columns = [
        table[f.name] if f.name in table.column_names else pa.nulls(len(table), f.type) for f in wanted
    ]
    return pa.table(columns, schema=wanted)


def _manifest(
    config: Config, names: tuple[str, ...], effect: Mapping[int, float], keys: list[str], n: int
) -> dict:
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": config.run_id,
        "config": config.model_dump(mode="json"),
        "canonical": config.canonical_json(),
        "dataset": {
            "name": "synthetic",
            "split": "validation",
            "n_examples": n,
            "class_names": list(names),
            "class_ids": [f"s{k:08d}" for k in range(len(names))],
            "fingerprint": "0" * 64,
            "planted": {names[k]: "mark in the corner" for k in sorted(effect)} or None,
        },
        "model": {
            "name": "synthetic",
            "sha256": "0" * 64,
            "card": {"height": INPUT, "width": INPUT, "channels": 3, "resize": "stretch"},
        },
        "versions": {"hansaudit": "0.1.0"},
        "shards": keys,
        "sessions": [
            {
                "started": "2026-01-01T00:00:00+00:00",
                "ended": "2026-01-01T00:01:00+00:00",
                "images": n,
                "seconds": 60.0,
            }
        ],
        "hansaudit": "0.1.0",
    }


def _box_lists(rows: pd.DataFrame, scale: float = 1.0) -> list[list[dict[str, float]]]:
    """The boxes of every image; ``scale`` > 1 gives the original picture's coordinates."""
    out = []
    for xmin, ymin, xmax, ymax, status in rows[["xmin", "ymin", "xmax", "ymax", "status"]].itertuples(
        index=False, name=None
    ):
        gone = status in (schema.STATUS_NO_BOX, schema.STATUS_FAILED)
        gone |= status == schema.STATUS_NO_VISIBLE_BOX and scale == 1.0
        box = {
            "xmin": xmin * scale,
            "ymin": ymin * scale,
            "xmax": (xmax + 1) * scale - 1,
            "ymax": (ymax + 1) * scale - 1,
        }
        out.append([] if gone else [box])
    return out


def _examples(rows: pd.DataFrame, names: tuple[str, ...], key: str) -> pa.Table:
    ok = (rows["status"] == schema.STATUS_OK).to_numpy()
    failed = (rows["status"] == schema.STATUS_FAILED).to_numpy()
    n = len(rows)
    label = rows["label"].to_numpy()
    confidence = np.where(failed, np.nan, rows["confidence"])
    correct = rows["correct"].to_numpy()

    def known(values: np.ndarray, type_: pa.DataType) -> pa.Array:
        return pa.array(values, type_, mask=failed)

    columns = {
        "example_id": pa.array(rows["example_id"].tolist()),
        "shard": pa.array([key] * n),
        "index": pa.array(rows.index.to_numpy()),
        "file_name": pa.array([f"{i}.JPEG" for i in rows["example_id"]]),
        "label": pa.array(label),
        "class_id": pa.array([f"s{k:08d}" for k in label]),
        "class_name": pa.array([names[k] for k in label]),
        "group": pa.array(rows["group"].tolist() if "group" in rows else [None] * n, pa.string()),
        "prediction": known(rows["prediction"].to_numpy(), pa.int32()),
        "confidence": known(confidence, pa.float32()),
        "label_probability": known(np.where(correct, confidence, (1 - confidence) / 2), pa.float32()),
        "correct": known(correct, pa.bool_()),
        "correct_top5": known(np.ones(n, dtype=bool), pa.bool_()),
        "target": known(rows["prediction"].to_numpy(), pa.int32()),
        "target_logit": known(np.log(confidence / (1 - confidence)) + 8, pa.float32()),
        "width": pa.array(np.full(n, 4 * INPUT), pa.int32()),
        "height": pa.array(np.full(n, 4 * INPUT), pa.int32()),
        "boxes": pa.array(_box_lists(rows, 4.0), schema.EXAMPLES.field("boxes").type),
        "boxes_model": pa.array(_box_lists(rows), schema.EXAMPLES.field("boxes_model").type),
        "box_area": pa.array(rows["box_area"].to_numpy(), pa.float32(), mask=~ok),
        "box_distance": pa.array(rows["box_distance"].to_numpy(), pa.float32(), mask=~ok),
        "status": pa.array(rows["status"].tolist()),
        "reason": pa.array(
            [None if good else f"synthetic {why}" for good, why in zip(ok, rows["status"], strict=True)]
        ),
    }
    arrays = [
        columns[f.name].dictionary_encode().cast(f.type)
        if pa.types.is_dictionary(f.type)
        else columns[f.name].cast(f.type)
        for f in schema.EXAMPLES
    ]
    return pa.Table.from_arrays(arrays, schema=schema.EXAMPLES)


def _scores(rows: pd.DataFrame, method: str) -> pa.Table:
    """Long table: a value per image and metric; null with the status as reason where it is not defined."""
    rows = rows[rows["status"] != schema.STATUS_FAILED]
    mass = rows["mass"].to_numpy()
    values = {
        "relevance_in": 10 * mass,
        "relevance_out": 10 * (1 - mass),
        "ratio": mass / (1 - mass),
        "mass": mass,
        "lift": rows["lift"].to_numpy(),
        "pointing": (mass > 0.5).astype(float),
        "rank_accuracy": np.clip(mass, 0, 1),
    }
    bad = (rows["status"] != schema.STATUS_OK).to_numpy()
    n, k = len(rows), len(METRICS)
    flat = np.stack([values[m] for m in METRICS], axis=1).reshape(-1)
    mask = np.repeat(bad, k)
    reason = np.repeat(np.where(bad, rows["status"], None), k)
    return pa.Table.from_arrays(
        [
            pa.array(np.repeat(rows["example_id"].to_numpy(dtype=object), k), pa.string()),
            pa.DictionaryArray.from_arrays(pa.array(np.zeros(n * k, np.int32)), pa.array([method])),
            pa.DictionaryArray.from_arrays(
                pa.array(np.tile(np.arange(k, dtype=np.int32), n)), pa.array(METRICS)
            ),
            pa.array(flat, pa.float64(), mask=mask),
            pa.array(reason, pa.string()),
        ],
        schema=schema.SCORES,
    )


def _bump(x: float, y: float, sx: float, sy: float) -> np.ndarray:
    """A Gaussian bump on the pixel grid (INPUT, INPUT)."""
    grid = np.arange(INPUT) + 0.5
    return np.outer(np.exp(-0.5 * ((grid - y) / sy) ** 2), np.exp(-0.5 * ((grid - x) / sx) ** 2))


def _corner(label: int) -> tuple[int, int]:
    """Where the mark of class ``label`` sits: top left pixel (x, y)."""
    far = INPUT - MARK - 2
    return ((2, 2), (far, 2), (2, far), (far, far))[label % 4]


def _heat(row: pd.Series, marked: bool, rng: np.random.Generator) -> np.ndarray:
    """A map (INPUT, INPUT) whose share inside the box is exactly ``row.mass``."""
    x0, y0, x1, y1 = (int(row[side]) for side in ("xmin", "ymin", "xmax", "ymax"))
    w, h = x1 - x0 + 1, y1 - y0 + 1
    heat = np.zeros((INPUT, INPUT))
    for _ in range(3):
        heat += _bump(x0 + w * rng.uniform(0.2, 0.8), y0 + h * rng.uniform(0.2, 0.8), w / 6 + 1, h / 6 + 1)
    mask = np.zeros((INPUT, INPUT), dtype=bool)
    mask[y0 : y1 + 1, x0 : x1 + 1] = True
    heat[~mask] *= 0.1
    heat += 0.2 * rng.gamma(0.7, size=(INPUT, INPUT))
    if marked:
        x, y = _corner(int(row["label"]))
        heat += _bump(x + MARK / 2, y + MARK / 2, MARK / 3, MARK / 3)
    heat *= 0.5 + rng.random((INPUT, INPUT))
    heat[mask] *= row["mass"] / heat[mask].sum()
    heat[~mask] *= (1 - row["mass"]) / heat[~mask].sum()
    return heat


def _pool(heat: np.ndarray) -> np.ndarray:
    step = INPUT // CELLS
    return heat.reshape(CELLS, step, CELLS, step).sum(axis=(1, 3))


def _maps(rows: pd.DataFrame, method: str, effect: Mapping[int, float], seed: int) -> pa.Table:
    rows = rows[rows["status"] != schema.STATUS_FAILED]
    values, scales, signed, signed_scales = [], [], [], []
    for index, row in rows.iterrows():
        rng = np.random.default_rng([seed, 1, index])
        heat = _heat(row, int(row["label"]) in effect, rng)
        pooled = _pool(heat)
        sign = _pool(heat * np.where(rng.random((INPUT, INPUT)) < 0.15, -1, 1))
        scales.append(pooled.max())
        values.append((pooled / pooled.max()).astype(np.float16).reshape(-1))
        signed_scales.append(np.abs(sign).max())
        signed.append((sign / signed_scales[-1]).astype(np.float16).reshape(-1))
    n = len(rows)
    data = {
        "example_id": pa.array(rows["example_id"].tolist()),
        "method": pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([method])),
        "height": pa.array(np.full(n, CELLS), pa.int16()),
        "width": pa.array(np.full(n, CELLS), pa.int16()),
        "values": pa.array(values, pa.list_(pa.float16())),
        "scale": pa.array(scales, pa.float32()),
        "signed": pa.array(signed, pa.list_(pa.float16())),
        "signed_scale": pa.array(signed_scales, pa.float32()),
    }
    return pa.Table.from_arrays([data[f.name] for f in schema.MAPS], schema=schema.MAPS)


def forge_manifest(run: Path, sections: Mapping[str, Mapping[str, Any]], sha256: str | None = None) -> None:
    """Change sections of a run's configuration (and the model's hash), as who knows how would: ids and
    hashes fit."""
    path = run / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for name, values in sections.items():
        manifest["config"][name] |= values
    config = parse_config(manifest["config"])
    manifest |= {"run_id": config.run_id, "canonical": config.canonical_json()}
    if sha256 is not None:
        manifest["model"]["sha256"] = sha256
    path.write_text(json.dumps(hashed(manifest)), encoding="utf-8")


def _picture(row: pd.Series, marked: bool, n_classes: int, rng: np.random.Generator) -> bytes:
    """A drawn photograph stand-in: sky to ground, an object in its box, the mark where there is one."""
    top, bottom = rng.integers(120, 230, 3), rng.integers(40, 140, 3)
    ramp = np.linspace(0, 1, INPUT)[:, None, None]
    ground = (1 - ramp) * top + ramp * bottom + rng.normal(0, 9, (INPUT, INPUT, 3))
    image = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8), "RGB")
    draw = ImageDraw.Draw(image)
    label = int(row["label"])
    hue = int(360 * label / max(n_classes, 1))
    box = tuple(int(row[side]) for side in ("xmin", "ymin", "xmax", "ymax"))
    shapes = (draw.ellipse, draw.rectangle, lambda b, **k: draw.rounded_rectangle(b, 6, **k))
    shapes[label % 3](box, fill=f"hsl({hue},70%,45%)", outline=f"hsl({hue},70%,20%)")
    if marked:
        x, y = _corner(label)
        draw.rectangle((x, y, x + MARK - 1, y + MARK - 1), fill="white", outline="black")
        draw.line((x, y, x + MARK - 1, y + MARK - 1), fill="red", width=2)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _thumbnails(rows: pd.DataFrame, effect: Mapping[int, float], n_classes: int, seed: int) -> pa.Table:
    rows = rows[rows["status"] != schema.STATUS_FAILED]
    jpegs = [
        _picture(row, int(row["label"]) in effect, n_classes, np.random.default_rng([seed, 2, index]))
        for index, row in rows.iterrows()
    ]
    return pa.Table.from_arrays(
        [pa.array(rows["example_id"].tolist()), pa.array(jpegs, pa.binary())], schema=schema.THUMBNAILS
    )
