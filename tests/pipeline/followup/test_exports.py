"""What other tools read of a run, opened by those tools."""

from __future__ import annotations

import importlib.util
from pathlib import Path

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
