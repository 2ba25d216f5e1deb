"""The audit on Keras' JAX back-end: the tables of TensorFlow, from a process that has no TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows import cli
from pipeline.config_sections import DatasetConfig
from pipeline.errors import InputError
from pipeline.inputs.datasets import open_dataset
from pipeline.inputs.datasets.planted import PlantedDataset
from pipeline.inputs.shards import Shard
from pipeline.run.provenance import differing
from pipeline.run.store import Store

ROOT = Path(__file__).parents[2]
WITHOUT_TENSORFLOW = """
import sys
sys.modules |= dict.fromkeys(["tensorflow", "tensorflow_datasets"])  # importing them fails
from flows import cli
from pipeline.config_sections import DatasetConfig
from pipeline.errors import InputError
from pipeline.inputs.datasets import open_dataset
sys.exit(cli.run(sys.argv[1:]))
"""


def on_jax(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def photographs(tiny_planted: PlantedDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The audited images of ``tiny_planted`` in a folder per class; ``boxes.csv`` beside it."""
    folder, info = tmp_path_factory.mktemp("folder") / "images", tiny_planted.info
    rows = ["file,xmin,ymin,xmax,ymax"]
    for record in tiny_planted.read(Shard("planted", info.split, 0, info.n_examples, "all")):
        name = f"{info.class_names[record.label]}/{record.index}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(record.image)
        rows += [",".join([name, *map(str, box)]) for box in record.boxes]
    (folder.parent / "boxes.csv").write_text("\n".join(rows) + "\n")
    return folder


def tables(run: Path) -> dict[str, pa.Table]:
    return {str(part.relative_to(run)): pq.read_table(part) for part in sorted(run.rglob("part-*.parquet"))}


def apart(a: list[Any], b: list[Any]) -> float:
    """Largest difference of two columns, numbers or lists of them; infinite for other kinds."""
    if a == b:
        return 0.0
    try:
        difference = np.abs(np.array(a, float) - np.array(b, float))
    except (TypeError, ValueError):
        return np.inf
    return float(np.nanmax(difference))


def test_the_audit_on_jax_writes_the_tables_of_tensorflow(
    photographs: Path, tiny_cnn_file: Path, prefect_api: str, tmp_path: Path
):
    line = ["run", "--dataset", str(photographs), "--annotations", str(photographs.parent / "boxes.csv")]
    line += ["--model", str(tiny_cnn_file), "--method", "lrp.preset_a", "--shard-size", "12", "--no-report"]
    line += ["--config", str(tmp_path / "audit.toml")]
    (tmp_path / "audit.toml").write_text("[sanity]\nimages = 0\n")
    assert cli.run([*line, "--out", str(tmp_path / "tensorflow")]) == cli.DONE
    done = on_jax([*line, "--out", str(tmp_path / "jax")])
    assert done.returncode == cli.DONE, done.stderr[-3000:]

    ours, theirs = tables(tmp_path / "tensorflow"), tables(tmp_path / "jax")
    assert ours.keys() == theirs.keys()
    assert {name.split("/")[0] for name in ours} >= {
        "examples",
        "scores",
        "curves",
        "interventions",
        "transfer",
    }
    # maps are stored in 16 bits
    far = {
        (name, column): apart(table[column].to_pylist(), theirs[name][column].to_pylist())
        for name, table in ours.items()
        for column in table.column_names
        if name.split("/")[0] != "maps"
    }
    assert {where: distance for where, distance in far.items() if distance > 1e-4} == {}

    begun, other = (Store(tmp_path / engine).manifest for engine in ("tensorflow", "jax"))
    assert differing(begun, other) == ['  engine: this folder has "tensorflow", asked for "jax"']


def test_what_only_tensorflow_reads_is_said_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, tiny_planted: PlantedDataset
):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    monkeypatch.delitem(sys.modules, "pipeline.inputs.datasets.tfds")
    with pytest.raises(InputError, match="source 'tfds': the package tensorflow_datasets is not installed"):
        open_dataset(DatasetConfig(source="tfds", path=tiny_planted.config.path))
