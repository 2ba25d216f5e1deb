"""A run's clusters as a ViRelAy project: pictures, heat maps and analyses in its HDF5 layout.

Anders et al. 2021, "Software for dataset-wide XAI"; the layout is the one that ViRelAy 0.4 reads: per
category (class) ``index``, ``embedding/<name>`` with the attribute ``eigenvalue``, ``cluster/<name>`` with
the attributes ``embedding``, ``k`` and ``index``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from pipeline.errors import InputError
from pipeline.followup.exports.stored import heat
from pipeline.run.documents import ClassStrategies, ClustersDocument
from pipeline.run.folder import CLUSTERS_TABLE
from pipeline.run.store import Store

PROJECT = "project.yaml"


def export(run: Store, out: str) -> str:
    """Write the clustered classes of ``run`` into the folder ``out``; returns how to open them.

    Raises :class:`InputError` when nothing has been clustered yet, or the run stores no thumbnails.
    """
    return f"python -m virelay {export_virelay(run, out)}"


def export_virelay(run: Store, folder: str | Path) -> Path:
    """Write every clustered class of ``run`` below ``folder``; returns the project file to open with ViRelAy.

    Raises :class:`InputError` when nothing has been clustered yet, or the run stores no thumbnails.
    """
    clusters, places = ClustersDocument.current(run), run.read_side_table(CLUSTERS_TABLE)
    if clusters is None or places is None or "thumbnails" not in run.tables:
        missing = "thumbnails" if clusters and places else "clusters yet; run `hansaudit clusters`"
        raise InputError(f"{run.path}: has no {missing}, so there is nothing to export")
    if not len(places):
        raise InputError(f"{run.path}: no class has clusters (too few images), so there is nothing to export")
    rows = places.to_pandas()
    method = str(rows["method"].iloc[0])
    rows = rows[rows["method"].astype(str) == method].reset_index(drop=True)
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    manifest = run.manifest
    ids = rows["example_id"].tolist()
    pictures = _pictures(run, ids)
    predictions = _predictions(run, ids, len(manifest["dataset"]["class_names"]))
    labels = rows["label"].to_numpy(np.uint32)
    with h5py.File(path / "dataset.h5", "w") as file:
        file["data"], file["label"] = pictures, labels
    with h5py.File(path / "attribution.h5", "w") as file:
        file["index"] = np.arange(len(rows), dtype=np.uint32)
        file["attribution"] = _heat(run, ids, method, pictures.shape[1:3])
        file["label"], file["prediction"] = labels, predictions
    names = _category_names(manifest["dataset"])
    with h5py.File(path / "analysis.h5", "w") as file:
        for entry in clusters.classes:
            if entry.clusters and entry.method == method:
                _write_category(file.create_group(names[entry.label]), rows, entry)
    _write_project(path, manifest, method, pictures.shape)
    return path / PROJECT


def _category_names(dataset: dict) -> list[str]:
    """How ViRelAy finds a class: by its id (WordNet), else by its index in 8 digits."""
    ids = dataset.get("class_ids") or []
    return (
        list(ids)
        if len(set(ids)) == len(ids) > 0
        else [f"{k:08d}" for k in range(len(dataset["class_names"]))]
    )


def _write_category(group: h5py.Group, rows: pd.DataFrame, entry: ClassStrategies) -> None:
    mine = rows[rows["label"] == entry.label]
    group["index"] = mine.index.to_numpy(np.uint32)
    place = group.create_dataset("embedding/tsne", data=mine[["x", "y"]].to_numpy(np.float32))
    place.attrs["eigenvalue"] = np.asarray(entry.eigenvalues, np.float32)
    cluster = group.create_dataset("cluster/spectral", data=mine["cluster"].to_numpy(np.int64))
    cluster.attrs["embedding"], cluster.attrs["k"] = "tsne", len(entry.clusters)
    cluster.attrs["index"] = np.arange(2, dtype=np.uint32)


def _by_id(run: Store, table: str, columns: Sequence[str], ids: list[str], method: str = "") -> list[dict]:
    """One row per id, in that order."""
    chosen = pc.field("example_id").isin(ids)
    if method:
        chosen &= pc.field("method").cast(pa.string()) == method
    rows = {row["example_id"]: row for row in run.read(table, ["example_id", *columns], chosen).to_pylist()}
    return [rows[i] for i in ids]


def _pictures(run: Store, ids: list[str]) -> np.ndarray:
    jpegs = _by_id(run, "thumbnails", ["jpeg"], ids)
    return np.stack([np.asarray(Image.open(io.BytesIO(j["jpeg"])).convert("RGB")) for j in jpegs])


def _heat(run: Store, ids: list[str], method: str, size: tuple[int, int]) -> np.ndarray:
    """Signed maps, each cell repeated to the size of the picture: (n, h, w, 1) float32."""
    columns = ["height", "width", "signed", "signed_scale"]
    return np.stack([heat(row, *size)[..., None] for row in _by_id(run, "maps", columns, ids, method)])


def _predictions(run: Store, ids: list[str], n_classes: int) -> np.ndarray:
    """(n, k): the stored probabilities of the top class and of the true one; the others were not kept: 0."""
    out = np.zeros((len(ids), n_classes), np.float32)
    columns = ["label", "label_probability", "prediction", "confidence"]
    for i, row in enumerate(_by_id(run, "examples", columns, ids)):
        for k, p in (("label", "label_probability"), ("prediction", "confidence")):
            if 0 <= row[k] < n_classes:
                out[i, row[k]] = row[p]
    return out


def _write_project(path: Path, manifest: dict, method: str, shape: tuple[int, ...]) -> None:
    dataset = manifest["dataset"]
    ids = dataset.get("class_ids") or [""] * len(dataset["class_names"])
    label_map = [
        {"index": k, "word_net_id": i, "name": name}
        for k, (i, name) in enumerate(zip(ids, dataset["class_names"], strict=True))
    ]
    strategy = f"{manifest['config']['audit']['target']}_label".replace("label_label", "true_label")
    project = {
        "name": f"{dataset['name']} {dataset['split']}",
        "model": manifest["model"]["name"],
        "label_map": "label-map.json",
        "dataset": {
            "name": dataset["name"],
            "type": "hdf5",
            "path": "dataset.h5",
            "input_width": shape[2],
            "input_height": shape[1],
            "up_sampling_method": "none",
            "down_sampling_method": "none",
        },
        "attributions": {
            "attribution_method": method,
            "attribution_strategy": strategy,
            "sources": ["attribution.h5"],
        },
        "analyses": [{"analysis_method": "SpRAy", "sources": ["analysis.h5"]}],
    }
    (path / "label-map.json").write_text(json.dumps(label_map, indent=1), encoding="utf-8")
    # JSON is YAML: no writer is needed, and every name is quoted
    (path / PROJECT).write_text(json.dumps({"project": project}, indent=1), encoding="utf-8")
