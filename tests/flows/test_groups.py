"""Groups beside the run's own ranking, and the line that a terminal shows of them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from flows import cli
from pipeline.run.store import Store
from pipeline.run.verify import verify
from tests.tables import draw_examples, with_inventories, write_run

RANKING = {"draws": 200}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Class 2 is always wrong on images of one place, whose name is hostile to a terminal."""
    frame = draw_examples(3, 60, 1)
    place = ["open\x1b[2J\nwater" if i % 3 == 0 else "land" for i in range(len(frame))]
    frame["group"] = pd.Series(place, dtype=object)
    bad = (frame["label"] == 2) & (frame["group"] != "land")
    frame.loc[bad, "correct"] = False
    frame.loc[~bad, "correct"] = True
    frame["prediction"] = frame["label"].where(frame["correct"], 0).astype("int32")
    write_run(tmp_path / "run", 3, 60, 1, ranking=RANKING, examples=frame)
    with_inventories(tmp_path / "run")
    return tmp_path / "run"


def test_rank_writes_the_groups_and_names_the_worst(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["rank", str(run)]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("worst group: "))
    assert line.startswith("worst group: class 002, group open\\x1b[2J\\nwater: 0")
    assert " % right [0 %, " in line
    assert "\x1b" not in line
    table = pd.read_csv(run / "groups.csv")
    assert len(table) == 3 * 2 + 2
    assert table.loc[0, "class_name"] == "class 002"
    assert not verify(Store(run)).faults
    (run / "groups.csv").write_text("label\n1\n")
    (fault,) = verify(Store(run)).faults
    assert fault.file == "groups.csv"


def test_another_ranking_leaves_the_groups_of_the_own(run: Path) -> None:
    assert cli.run(["rank", str(run)]) == 0
    before = (run / "groups.json").read_bytes()
    assert cli.run(["rank", str(run), "--images", "all"]) == 0
    assert (run / "groups.json").read_bytes() == before
