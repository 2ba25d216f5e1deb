"""What other tools read of a run, opened by those tools."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import InputError
from pipeline.followup.exports import export
from pipeline.run.folder import RANKING_TABLE
from pipeline.run.store import Store
from pipeline.statistics.ranking import rank
from tests.tables import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A ranked run, in a folder whose name needs quoting."""
    folder = tmp_path_factory.mktemp("exported") / "o'run"
    write_run(folder, 4, 12, seed=5, effect={2: -3.0}, shard_size=20, ranking={"draws": 100})
    store = Store(folder)
    ranking = rank(store)
    store.files.put(RANKING_TABLE, ranking.csv().encode())
    ranking.document().write(store)
    return store


def test_a_format_that_there_is_not_is_one_line() -> None:
    with pytest.raises(InputError, match=r"--to excel: there is no such format; there are arrays, coco"):
        export(Store("nowhere"), "excel", "out")


def test_duckdb_reads_every_finished_part(run: Store, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    export(run, "duckdb", str(tmp_path / "views.sql"))
    with duckdb.connect() as opened:
        opened.execute((tmp_path / "views.sql").read_text())
        images = run.read("examples", ["label", "correct"])
        (counted,) = opened.execute("SELECT count(*), sum(correct::int) FROM examples").fetchall()
        assert counted == (len(images), sum(filter(None, images["correct"].to_pylist())))
        top = opened.execute("SELECT label, verdict FROM ranking ORDER BY rank LIMIT 1").fetchall()
        first = rank(run).table.iloc[0]
        assert top == [(first["label"], first["verdict"])]
        lifts = "SELECT e.label, avg(s.value) FROM scores s JOIN examples e USING (example_id) " \
            "WHERE s.metric = 'lift' GROUP BY 1 ORDER BY 2 LIMIT 1"  # fmt: skip
        assert opened.execute(lifts).fetchall()[0][0] == 2


def test_coco_is_read_by_its_own_tools(run: Store, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    export(run, "coco", str(tmp_path))
    read = coco.COCO(str(tmp_path / "labels.json"))
    rows = {row["example_id"]: row for row in run.read("examples").to_pylist()}
    assert len(read.getImgIds()) == run.read("thumbnails").num_rows
    assert len(read.getCatIds()) == 4
    for image in read.loadImgs(read.getImgIds()):
        row = rows[image["example_id"]]
        with Image.open(tmp_path / "data" / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"])
        boxes = [a["bbox"] for a in read.loadAnns(read.getAnnIds([image["id"]]))]
        corners = [(x, y, x + w - 1, y + h - 1) for x, y, w, h in boxes]
        assert corners == [(b["xmin"], b["ymin"], b["xmax"], b["ymax"]) for b in row["boxes_model"] or []]
        if image["map"]:
            with Image.open(tmp_path / image["map"]) as heat:
                assert heat.size == (image["width"], image["height"])
                assert np.asarray(heat).max() == 255


def test_arrays_are_those_of_the_maps_and_boxes(run: Store, tmp_path: Path) -> None:
    export(run, "arrays", str(tmp_path / "arrays.npz"))
    arrays = np.load(tmp_path / "arrays.npz")
    n, _, height, width = arrays["x_batch"].shape
    assert arrays["a_batch"].shape == arrays["s_batch"].shape == (n, 1, height, width)
    rows = {row["example_id"]: row for row in run.read("examples").to_pylist()}
    maps = {row["example_id"]: row for row in run.read("maps").to_pylist()}
    for k, example_id in enumerate(arrays["example_id"].tolist()):
        row, stored = rows[example_id], maps[example_id]
        assert arrays["y_batch"][k] == row["target"]
        # the share of the picture in the boxes is stored by the audit itself
        assert arrays["s_batch"][k].mean() == pytest.approx(row["box_area"], abs=2 / width)
        cells = np.array(stored["signed"], np.float32) * stored["signed_scale"]
        per_cell = height * width / len(cells)
        assert arrays["a_batch"][k].sum() == pytest.approx(cells.sum() * per_cell, rel=1e-3, abs=1e-3)


def documented(tool: str) -> str:
    """The Python of docs/export.md that uses this tool."""
    page = (Path(__file__).parents[3] / "docs/export.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    (block,) = [block for block in blocks if f"import {tool}" in block]
    return block


@pytest.mark.filterwarnings("ignore")  # other people's
def test_quantus_measures_the_mass_of_the_run(
    run: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("quantus", reason="Quantus is not installed")
    monkeypatch.chdir(tmp_path)
    export(run, "arrays", "arrays.npz")
    given: dict[str, Any] = {}
    exec(compile(documented("quantus"), "docs/export.md", "exec"), given)
    scores = run.read("scores").to_pandas()
    mass = scores[scores["metric"] == "mass"].set_index("example_id")["value"]
    # the stored maps have cells of two pixels, which the sides of a box cut
    expected = mass.loc[given["arrays"]["example_id"].tolist()].to_numpy()
    np.testing.assert_allclose(given["shares"], expected, atol=0.06)


@pytest.mark.filterwarnings("ignore")
def test_fiftyone_imports_boxes_classes_and_verdicts(run: Store, tmp_path: Path) -> None:
    """By its importer, which needs no MongoDB."""
    coco = pytest.importorskip("fiftyone.utils.coco", reason="FiftyOne is not installed")
    export(run, "coco", str(tmp_path))
    files = {"data_path": str(tmp_path / "data"), "labels_path": str(tmp_path / "labels.json")}
    with coco.COCODetectionDatasetImporter(**files) as read:
        samples = list(read)
    rows = [row for row in run.read("examples").to_pylist() if row["status"] != "failed"]
    verdicts = dict(rank(run).table.set_index("label")["verdict"])
    assert len(samples) == len(rows)
    for (file, about, objects), row in zip(samples, rows, strict=True):
        assert Path(file).is_file()
        detections = objects["detections"].detections if objects.get("detections") else []
        assert len(detections) == len(row["boxes_model"])
        for detection, box in zip(detections, row["boxes_model"], strict=True):
            assert (detection.label, detection.supercategory) == (row["class_name"], verdicts[row["label"]])
            corner = box["xmin"] / about.width, box["ymin"] / about.height
            width, height = box["xmax"] - box["xmin"] + 1, box["ymax"] - box["ymin"] + 1
            sides = width / about.width, height / about.height
            assert detection.bounding_box == pytest.approx([*corner, *sides])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(
    "FIFTYONE_DATABASE_URI" not in os.environ, reason="FIFTYONE_DATABASE_URI names no MongoDB"
)
def test_fiftyone_has_verdicts_and_maps(run: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fiftyone", reason="FiftyOne is not installed")
    monkeypatch.chdir(tmp_path)
    export(run, "coco", "coco")
    given: dict[str, Any] = {}
    exec(compile(documented("fiftyone"), "docs/export.md", "exec"), given)
    verdicts = dict(rank(run).table.set_index("class_name")["verdict"])
    for sample in given["dataset"]:
        assert sample.verdict.label in verdicts.values()
        assert {verdicts[d.label] for d in sample.detections.detections} <= {sample.verdict.label}
        assert Path(sample.map.map_path).is_file()
    given["dataset"].delete()


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="MLflow is not installed")
def test_mlflow_has_the_figures_once(run: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # its artifacts lie in the working folder
    from mlflow import MlflowClient

    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    for _ in range(2):
        export(run, "mlflow", store)
    client = MlflowClient(store)
    (logged,) = client.search_runs([client.get_experiment_by_name("hansaudit").experiment_id])
    table = rank(run).table
    assert logged.data.metrics["n_classes"] == 4
    assert logged.data.metrics["n_suspected"] == (table["verdict"] == "suspected").sum()
    assert logged.data.tags["hansaudit.run_id"] == run.manifest["run_id"]
    assert logged.info.status == "FINISHED"
    assert {a.path for a in client.list_artifacts(logged.info.run_id)} == {"ranking.json", "ranking.csv"}


def test_what_is_missing_is_said_in_one_line(tmp_path: Path) -> None:
    write_run(tmp_path, 2, 4, seed=0, maps=False, thumbnails=False)
    without = {"coco": "stores no pictures", "arrays": "stores no pictures", "mlflow": "no ranking"}
    for format_, missing in without.items():
        with pytest.raises(InputError, match=missing):
            export(Store(tmp_path), format_, str(tmp_path / "out"))
