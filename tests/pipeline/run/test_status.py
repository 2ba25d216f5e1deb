"""How far a run is, told from folders whose shards, failures and sessions are counted by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline import schema
from pipeline.config import parse_config
from pipeline.errors import InputError
from pipeline.run.folder import RunFolder
from pipeline.run.provenance import Provenance
from pipeline.run.status import Status, status_of
from pipeline.run.store import Session, Store
from pipeline.schema import STATUS_FAILED, STATUS_OK

KEYS = tuple(f"validation-{start:09d}-{start + 10:09d}" for start in range(0, 40, 10))
STARTED = datetime.fromisoformat("2026-01-01T03:00:00+00:00")
FORECAST = [
    {"stage": name, "seconds": seconds}
    for name, seconds in (("audit", 99.0), ("curves", 5.0), ("sanity", 8.0), ("interventions", 12.0))
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Four shards of ten images, none finished."""
    made = Store(tmp_path / "run")
    dataset = {"name": "d", "split": "validation", "n_examples": 40, "fingerprint": "f" * 64}
    model = {"name": "m", "sha256": "a" * 64, "card": {}}
    config = parse_config({"audit": {"maps": 0, "thumbnails": False}, "perturbation": False})
    made.open_or_create(config, Provenance(dataset, model, {"hansaudit": "0"}, KEYS))
    return made


def finish(store: Store, key: str, failed: int) -> None:
    columns = {f.name: pa.nulls(10, f.type) for f in schema.TABLES["examples"]}
    columns["example_id"] = pa.array([f"{key} {i}" for i in range(10)])
    status = pa.array([STATUS_FAILED] * failed + [STATUS_OK] * (10 - failed))
    columns["status"] = status.cast(schema.TABLES["examples"].field("status").type)
    scores = pa.table(
        {f.name: pa.nulls(10, f.type) for f in schema.TABLES["scores"]}
        | {"example_id": columns["example_id"]},
        schema=schema.TABLES["scores"],
    )
    examples = pa.table(columns, schema=schema.TABLES["examples"])
    store.write_shard(key, {"examples": examples, "scores": scores})


def seen(store: Store, seconds: float) -> Status:
    """Its status so long after the start of the session."""
    return status_of(RunFolder(store.path), STARTED + timedelta(seconds=seconds))


def states(status: Status) -> dict[str, str]:
    return {stage.name: stage.state for stage in status.stages}


def test_a_run_under_way_says_what_is_done_and_how_long_the_rest_takes(store: Store) -> None:
    finish(store, KEYS[0], failed=0)  # by an earlier session
    store.record(Session(STARTED.isoformat(), finished_before=10, forecast=FORECAST))
    finish(store, KEYS[1], failed=3)
    finish(store, KEYS[2], failed=0)
    with store.lock():
        status = seen(store, 10.0)
    assert (status.shards_done, status.shards, status.images_done, status.images) == (3, 4, 30, 40)
    assert (status.failed, status.failed_of) == (3, 30)
    assert status.rate == pytest.approx(20 / 10.0)  # of this session
    assert status.seconds_left == pytest.approx(10 / 2.0 + 8.0 + 12.0)  # ten images, sanity, interventions
    assert states(status) == {
        "audit": "under way",
        "sanity": "to come",
        "interventions": "to come",
        "ranking": "to come",
        "report": "to come",
    }
    assert "time left: about 25 s" in status.lines
    assert status.writer.startswith("process ")


def test_nothing_is_said_of_a_rate_before_there_is_one_or_after_the_clock_was_set_back(store: Store) -> None:
    store.record(Session(STARTED.isoformat(), forecast=FORECAST))
    with store.lock():
        first = seen(store, 10.0)
        finish(store, KEYS[0], failed=0)
        back = seen(store, -3600.0)
    assert (first.rate, first.seconds_left, back.rate, back.seconds_left) == (None, None, None, None)
    assert "time left: not known yet" in back.lines


def test_after_the_audit_what_follows_is_left(store: Store) -> None:
    for key in KEYS:
        finish(store, key, failed=0)
    spent = {"audit": 20.0, "sanity": 7.0}
    ended = (STARTED + timedelta(seconds=20)).isoformat()
    store.record(Session(STARTED.isoformat(), ended, 40, 20.0, spent=spent, forecast=FORECAST))
    with store.lock():
        status = seen(store, 500.0)
    assert status.rate == pytest.approx(2.0)
    assert status.seconds_left == pytest.approx(12.0)
    assert states(status)["interventions"] == "under way"


def test_a_run_that_nobody_works_on_says_so(store: Store) -> None:
    finish(store, KEYS[0], failed=1)
    store.record(Session(STARTED.isoformat(), forecast=FORECAST))
    status = seen(store, 10.0)
    assert status.writer == ""
    assert states(status)["audit"] == "stopped"
    assert "nobody is seen at work on it" in status.lines[0]
    assert not any(line.startswith("time left") for line in status.lines)


_DIES = """
import os, sys
from pipeline.run.store import Store
with Store(sys.argv[1]).lock():
    os._exit(9)
"""


def test_the_lock_of_a_dead_process_is_nobodys(store: Store) -> None:
    died = subprocess.run([sys.executable, "-c", _DIES, store.path], cwd=Path(__file__).parents[3])
    assert died.returncode == 9
    assert Path(store.path, ".lock").read_text().startswith("id "), "it had no time to take its name away"
    assert seen(store, 1.0).writer == ""


def test_asking_neither_takes_the_lock_nor_disturbs_who_holds_it(store: Store) -> None:
    with store.lock():
        before = Path(store.path, ".lock").read_text()
        assert seen(store, 1.0).writer
        assert Path(store.path, ".lock").read_text() == before
        with pytest.raises(InputError, match=r"another process \(id \d+ on [^\s]+\) is writing this run"):
            Store(store.path).files.lock().__enter__()
    assert seen(store, 1.0).writer == ""


def test_a_part_that_cannot_be_read_is_left_out_of_the_count(store: Store) -> None:
    finish(store, KEYS[0], failed=2)
    finish(store, KEYS[1], failed=0)
    Path(store.path, "examples", f"part-{KEYS[1]}.parquet").write_bytes(b"PAR1")
    status = seen(store, 1.0)
    assert (status.failed, status.failed_of) == (2, 10)
    assert "failed images: 2 of the last 10" in status.lines


def test_it_is_json_for_programs_and_loads_no_framework(store: Store) -> None:
    finish(store, KEYS[0], failed=2)
    assert json.loads(seen(store, 1.0).to_json())["images_done"] == 10
    code = (
        "import sys; from flows import cli; code = cli.run(['status', sys.argv[1]]);"
        "assert not {'tensorflow', 'prefect', 'pandas', 'explainers'} & set(sys.modules), sys.modules.keys();"
        "sys.exit(code)"
    )
    asked = subprocess.run(
        [sys.executable, "-c", code, store.path],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )
    assert asked.returncode == 0, asked.stderr
    assert "shards: 1 of 4 finished; images: 10 of 40 (25%)" in asked.stdout
