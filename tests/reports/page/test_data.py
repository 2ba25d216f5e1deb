"""What the report reads from a run folder, against the tables themselves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest

from pipeline.errors import InputError
from pipeline.statistics.ranking import Ranking, rank
from reports.page.data import RunData, load_run
from tests.reports.page.pages import QUICK, planted_run
from tests.tables import write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def ranking(folder: Path) -> Ranking:
    return planted_run(folder)


@pytest.fixture(scope="module")
def run(folder: Path, ranking: Ranking) -> RunData:
    return load_run(folder, ranking)


def stored(folder: Path, table: str) -> list[dict]:
    return ds.dataset(folder / table).to_table().to_pylist()


def test_there_is_a_row_per_image_with_its_metrics(folder, run):
    rows = {r["example_id"]: r for r in stored(folder, "examples")}
    assert len(run.images) == len(rows) == 360
    lifts = {r["example_id"]: r["value"] for r in stored(folder, "scores") if r["metric"] == "lift"}
    for image in run.images.to_dict("records"):
        row, lift = rows[image["example_id"]], lifts.get(image["example_id"])
        assert image["label"] == row["label"]
        assert image["status"] == row["status"]
        assert image["correct"] == bool(row["correct"])
        assert np.isnan(image["lift"]) if lift is None else image["lift"] == lift


def test_used_are_the_images_of_the_ranking_with_its_adjusted_lift(run, ranking):
    used = run.used.set_index("index").sort_index()
    assert used.index.tolist() == sorted(ranking.images["index"])
    expected = ranking.images.set_index("index")["adjusted_lift"].sort_index()
    np.testing.assert_array_equal(used["excess"], expected)
    assert (used["correct"] & (used["status"] == "ok")).all()


def test_of_class_is_sorted_by_suspicion(run):
    rows = run.of_class(7)
    assert set(rows["label"]) == {7}
    assert rows["excess"].is_monotonic_increasing


def test_thumbnails_and_maps_are_those_asked_for(folder, run):
    ids = run.used["example_id"].sample(5, random_state=0).tolist()
    jpegs = {r["example_id"]: r["jpeg"] for r in stored(folder, "thumbnails")}
    maps = {r["example_id"]: r for r in stored(folder, "maps")}
    assert run.thumbnails([*ids, "nobody"]) == {i: jpegs[i] for i in ids}
    found = run.maps([*ids, "nobody"])
    assert sorted(found) == sorted(ids)
    for key, heat in found.items():
        shape = maps[key]["height"], maps[key]["width"]
        assert heat.values.tolist() == np.array(maps[key]["values"], np.float32).reshape(shape).tolist()
        assert heat.scale == maps[key]["scale"]
        assert not heat.is_zero
    assert run.thumbnails([]) == run.maps([]) == {}


def test_only_the_parts_that_hold_the_pictures_are_read(tmp_path, ranking, folder):
    shutil.copytree(folder, tmp_path / "run")
    run = load_run(tmp_path / "run", ranking)
    first = run.images.iloc[0]
    for part in (tmp_path / "run" / "maps").glob("part-*.parquet"):
        if first["shard"] not in part.name:
            part.write_bytes(b"not parquet")
    assert list(run.maps([first["example_id"]])) == [first["example_id"]]


def test_the_band_holds_half_of_the_images(run):
    rows = run.used
    low, high = (
        np.interp(rows["box_area"], run.expected.area, edge) for edge in (run.expected.low, run.expected.high)
    )
    inside = ((low < rows["lift"]) & (rows["lift"] < high)).mean()
    assert 0.4 < inside < 0.6  # distance from the centre, which the plot does not show, moves a few
    assert (run.expected.low <= run.expected.middle + 1.0).all()


def test_an_unfinished_shard_does_not_count(tmp_path):
    write_run(tmp_path, 4, 20, 1, shard_size=40)
    (tmp_path / "examples" / "part-validation-000000040-000000080.parquet").unlink()
    run = load_run(tmp_path, rank(tmp_path, QUICK))
    assert len(run.images) == 40
    assert run.images["index"].max() == 39


def test_a_folder_that_is_no_run_is_named(tmp_path, ranking):
    with pytest.raises(InputError, match=r"no manifest\.json"):
        load_run(tmp_path, ranking)


def test_a_run_without_a_finished_shard_is_named(tmp_path, ranking, folder):
    shutil.copy(folder / "manifest.json", tmp_path)
    with pytest.raises(InputError, match="no finished shard yet"):
        load_run(tmp_path, ranking)


def test_settings_come_from_the_run_and_rules_from_the_ranking(folder, run):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert run.setting("audit", "pooling") == manifest["config"]["audit"]["pooling"]
    assert run.setting("audit", "nothing", 3) == 3
    assert run.rule("draws") == QUICK.draws
    assert run.size == (64, 64)
