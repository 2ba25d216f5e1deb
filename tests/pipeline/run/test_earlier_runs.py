"""Run folders that earlier versions wrote still open, and say what they said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.run.store import Store
from pipeline.schema import TABLES
from pipeline.statistics.ranking import rank
from reports.gate.evaluate import evaluate
from reports.page.html import write_report

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


def test_the_ranking_is_the_one_that_was_stored(run: Path) -> None:
    stored = json.loads((run / "ranking.json").read_text(encoding="utf-8"))["classes"]
    table = rank(run).table
    assert list(table["class_name"]) == [row["class_name"] for row in stored]
    assert list(table["verdict"]) == [row["verdict"] for row in stored]
    lifts = np.array([row["adjusted_lift"] for row in stored], float)
    np.testing.assert_allclose(table["adjusted_lift"].to_numpy(float), lifts, atol=1e-6)


def test_the_report_shows_what_lies_in_the_folder(run: Path) -> None:
    page = Path(write_report(run, rank(run))).read_text(encoding="utf-8")
    for section in ("confirm", "strategies", "canary", "perturbation", "sanity"):  # beside the tables
        assert f'<section id="{section}"' in page, section


def test_the_gate_judges_it(run: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[[check]]\nstatistic = 'n_suspicious'\nmax = 3\n", encoding="utf-8")
    verdict = evaluate(str(run), str(policy))
    # four classes are suspicious in the stored ranking
    assert not verdict.passed
