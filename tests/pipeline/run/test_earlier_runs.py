"""Run folders that earlier versions wrote still open, and say what they said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError
from pipeline.run.parts import Parts
from pipeline.run.scores import read_scores
from pipeline.run.store import Store
from pipeline.run.verify import verify
from pipeline.schema import TABLES
from pipeline.statistics.ranking import rank
from pipeline.verdicts import MapVerdict
from reports.gate.evaluate import evaluate
from reports.gate.state import State
from reports.page.html import write_report
from tests.tables import write_run

FOLDERS = sorted((Path(__file__).parents[2] / "fixtures").glob("run-schema-*"))
IMAGES, CLASSES, METHODS = 96, 12, 2  # tests/fixtures/README.md


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copytree(request.param, tmp_path / "run"))


def test_there_is_one_of_every_schema_version() -> None:
    assert FOLDERS


def test_every_table_is_read_whole(run: Path) -> None:
    store = Store(run)
    metrics = len(store.manifest["config"]["audit"]["metrics"])
    rows = {name: store.read(name).num_rows for name in TABLES}
    assert rows["examples"] == rows["thumbnails"] == IMAGES
    assert rows["maps"] == IMAGES * METHODS
    assert rows["scores"] >= IMAGES * METHODS * metrics
    assert rows["curves"] == CLASSES * METHODS * 3
    assert store.missing() == ()


def test_it_is_ranked_anew_from_the_figures_that_were_stored(run: Path) -> None:
    """What is measured is as it was; what it means is judged by today's test, which accuses fewer."""
    stored = {
        c["class_name"]: c for c in json.loads((run / "ranking.json").read_text(encoding="utf-8"))["classes"]
    }
    table = rank(run).table.set_index("class_name")
    for column in ("n", "ratio", "mass", "lift", "box_area", "small_box_rank"):
        expected = [stored[name][column] for name in table.index]
        np.testing.assert_allclose(table[column].to_numpy(float), np.array(expected, float), rtol=1e-6)
    accused = table.index[table["map_verdict"] == MapVerdict.SUSPICIOUS]
    assert set(accused) == {name for name, c in stored.items() if c["planted"]}


def test_the_report_shows_what_lies_in_the_folder(run: Path) -> None:
    page = Path(write_report(run, rank(run))).read_text(encoding="utf-8")
    canary = ("canary",) if (run / "canary.json").exists() else ()
    for section in ("confirm", "strategies", "perturbation", "sanity", *canary):  # beside the tables
        assert f'<section id="{section}"' in page, section


def test_the_gate_judges_it(run: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(
        "[[check]]\nstatistic = 'n_confirmed'\nmax = 2\n[[check]]\nstatistic = 'n_cleared'\nmax = 1\n",
        encoding="utf-8",
    )
    states = [check.state for check in evaluate(str(run), str(policy)).checks[1:]]
    if (run / "confirm.json").exists():  # every class was edited and decided: three are confirmed
        assert states == [State.FAIL, State.PASS]
    else:  # two are confirmed, and others of the few images are open
        assert states[0] == State.INCONCLUSIVE


SCHEMA_1 = next(folder for folder in FOLDERS if folder.name == "run-schema-1")


def test_a_column_that_came_later_is_null(tmp_path: Path) -> None:
    run = Path(shutil.copytree(SCHEMA_1, tmp_path / "run"))
    store = Store(run)
    assert store.read("examples", ["example_id", "group"])["group"].null_count == IMAGES
    assert read_scores(store, ("group",), []).examples["group"].null_count == IMAGES
    assert not verify(store).faults


def test_a_run_that_was_begun_before_ends_as_it_began(tmp_path: Path) -> None:
    run = Path(shutil.copytree(SCHEMA_1, tmp_path / "run"))
    store = Store(run)
    key = sorted(store.done)[1]
    tables = {name: store.read(name) for name in store.tables}
    ids = Parts(store).table("examples", key, ["example_id"])
    assert ids is not None
    of_shard = {n: t.filter(pc.is_in(t["example_id"], ids["example_id"])) for n, t in tables.items()}
    (run / "examples" / f"part-{key}.parquet").unlink()
    assert store.missing() == (key,)
    store.write_shard(key, {name: t.cast(TABLES[name]) for name, t in of_shard.items()})
    part = pq.read_schema(run / "examples" / f"part-{key}.parquet")
    assert part.metadata[b"schema_version"] == b"1"
    assert "group" not in part.names
    assert Store(run).read("examples", ["example_id"]).num_rows == IMAGES


def test_a_present_run_must_have_every_column(tmp_path: Path) -> None:
    write_run(tmp_path, 2, 4, 0, maps=False, thumbnails=False)
    part = next((tmp_path / "examples").glob("*.parquet"))
    pq.write_table(pq.read_table(part).drop_columns(["group"]), part)
    with pytest.raises(InputError, match="column 'group' is missing"):
        Store(tmp_path).read("examples")
