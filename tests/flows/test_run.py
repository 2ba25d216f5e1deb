"""``hansaudit run`` for real: Prefect, TensorFlow, Parquet; resuming, refusing, failing, being killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows import cli
from pipeline.run.edited_parts import EditedParts
from pipeline.run.store import Store
from pipeline.run.transfer_parts import TransferParts, WindowParts

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, prefect_api: str, options: list[str]) -> Path:
    """An audit that ran to its end, from the command line."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    assert cli.run(["run", *options, "--out", str(out)]) == cli.DONE
    return out


def parts(run: Path) -> dict[str, int]:
    return {str(p.relative_to(run)): p.stat().st_mtime_ns for p in sorted(run.rglob("part-*"))}


def test_a_time_limits_the_images_and_a_begun_run_keeps_them(
    prefect_api, options: list[str], tmp_path: Path, monkeypatch
):
    """An image takes 1000 s, nothing else anything: 90 % of 400 minutes are 21 images, so 5 of each class."""
    from pipeline.measure.forecast import Speeds

    speeds = Speeds(image=1000.0, explanation=1e-9, forward=1e-9, fit=0.0, bytes=1.0)
    monkeypatch.setattr("flows.foresight.speeds_of", lambda bench: speeds)
    said: list[str] = []
    monkeypatch.setattr("flows.terminal.print_line", said.append)
    line = ["run", *options, "--no-report", "--out", str(tmp_path / "run"), "--time"]
    assert cli.run([*line, "400m"]) == cli.DONE
    assert "audit of 20 of 24 images" in said[0]
    manifest = Store(tmp_path / "run").manifest
    assert manifest["dataset"]["n_examples"] == 20
    assert (manifest["config"]["dataset"]["limit"], manifest["config"]["dataset"]["choice"]) == (20, "spread")
    assert cli.run([*line, "800m"]) == cli.DONE
    assert any("it keeps its budgets" in line for line in said)
    assert Store(tmp_path / "run").manifest["dataset"]["n_examples"] == 20


def test_what_it_cost_stands_beside_the_forecast(finished: Path):
    (session,) = Store(finished).manifest["sessions"]
    stages = ["audit", "sanity", "interventions", "transfer"]
    assert [of_stage["stage"] for of_stage in session["forecast"]] == stages
    assert session["forecast"][0]["images"] == 24
    assert list(session["spent"]) == [*stages, "ranking", "follow-ups", "report"]
    assert list(session["busy"]) == ["reading", "decoding", "forward and backward", "metrics", "writing"]
    steps = session["start_up"]
    assert list(steps) == [
        "command understood",
        "input looked at",
        "framework loaded",
        "model loaded",
        "methods fitted",
        "methods compiled",
        "images looked at",
        "server answers",
        "forecast made",
        "first images audited",
        "first shard written",
    ]
    assert list(steps.values()) == sorted(steps.values())
    assert 0 <= steps["command understood"] < steps["first shard written"]
    # one thread writes and asks the network; that is part of the audit's time
    assert 0 < session["busy"]["forward and backward"] + session["busy"]["writing"] <= session["seconds"]


def edited_keys(store: Store) -> list[str]:
    """Of the parts that belong to blocks of classes."""
    keys = [*EditedParts(store).keys, *TransferParts(store).keys]
    assert len(EditedParts(store).keys) == len(TransferParts(store).keys) == 1
    return keys


def test_a_run_leaves_parts_ranking_and_report(finished: Path):
    store = Store(finished)
    assert store.missing() == ()
    assert len(parts(finished)) == 3 * 5 + len(edited_keys(store)) + len(WindowParts(store).keys)
    assert WindowParts(store).keys == TransferParts(store).keys
    for name in ("ranking.csv", "ranking.json", "report.html"):
        assert (finished / name).stat().st_size > 0
    session = store.manifest["sessions"][0]
    assert session["images"] == 24
    assert session["ended"] is not None
    assert session["seconds"] > 0
    assert store.manifest["dataset"]["planted"]
    assert store.manifest["versions"]["tensorflow"]


def test_prefect_saw_one_task_per_shard_and_both_artifacts(finished: Path):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName

    with get_client(sync_client=True) as client:
        named = FlowRunFilter(name=FlowRunFilterName(any_=[str(finished)]))
        tasks = client.read_task_runs(flow_run_filter=named)
        flows = client.read_flow_runs(flow_run_filter=named)
        artifacts = client.read_artifacts(flow_run_filter=named)
    store = Store(finished)
    assert sorted(t.name for t in tasks) == sorted([*store.manifest["shards"], *edited_keys(store)])
    assert {t.state_name for t in tasks} == {"Completed"}
    assert [f.state_name for f in flows] == ["Completed"]
    assert {a.key: a.type for a in artifacts} == {"ranking": "table", "verdict": "markdown"}


def test_a_finished_run_is_left_alone(finished: Path, options: list[str], capsys):
    before = parts(finished)
    assert cli.run(["run", *options, "--out", str(finished)]) == cli.DONE
    assert parts(finished) == before
    assert "24 images, 0 of them now" in capsys.readouterr().out


def test_only_what_is_missing_is_done_with_the_shards_of_the_first_time(
    finished: Path, options: list[str], tmp_path: Path, capsys
):
    run = tmp_path / "copy"
    shutil.copytree(finished, run)
    lost = run / "examples" / f"part-{Store(run).manifest['shards'][1]}.parquet"
    expected = pq.read_table(lost).to_pylist()
    lost.unlink()
    before = parts(run)
    assert cli.run(["run", *options, "--shard-size", "5", "--batch-size", "4", "--out", str(run)]) == cli.DONE
    assert "24 images, 8 of them now" in capsys.readouterr().out
    after = parts(run)
    assert {name for name in after if before.get(name) != after[name]} == {
        f"{table}/{lost.name}" for table in ("examples", "scores", "maps", "thumbnails", "properties")
    }
    assert [r["example_id"] for r in pq.read_table(lost).to_pylist()] == [r["example_id"] for r in expected]


def test_a_finished_shard_that_lost_a_part_is_made_anew(
    finished: Path, options: list[str], tmp_path: Path, capsys
):
    run = Path(shutil.copytree(finished, tmp_path / "copy"))
    assert cli.run(["verify", str(run)]) == cli.DONE
    before = parts(run)
    key = Store(run).manifest["shards"][2]
    (run / "maps" / f"part-{key}.parquet").unlink()
    assert cli.run(["run", *options, "--out", str(run)]) == cli.DONE
    assert "24 images, 8 of them now" in capsys.readouterr().out
    assert parts(run).keys() == before.keys()
    assert cli.run(["verify", str(run)]) == cli.DONE  # ranking and follow-ups are of the parts that lie there


def test_another_configuration_is_refused_and_named(finished: Path, options: list[str], capsys):
    before = parts(finished)
    code = cli.run(["run", *options, "--seed", "3", "--method", "gradient", "--out", str(finished)])
    said = capsys.readouterr().err
    assert code == cli.WRONG_INPUT
    assert "audit.seed: this folder has 0, asked for 3" in said
    assert "methods: this folder has" in said
    assert "Traceback" not in said
    assert parts(finished) == before


def test_too_many_failed_images_is_code_2_after_everything_is_finished(
    prefect_api, options: list[str], tmp_path: Path, monkeypatch, capsys
):
    from pipeline.inputs.datasets.planted import PlantedDataset

    def torn(self, shard):
        for record in super(PlantedDataset, self).read(shard):
            yield replace(record, image=None, error="torn") if record.index in (3, 9) else record

    monkeypatch.setattr(PlantedDataset, "read", torn, raising=False)
    run = tmp_path / "run"
    arguments = ["run", *options, "--no-report", "--out", str(run)]
    assert cli.run(arguments) == cli.WRONG_INPUT
    shown, said = capsys.readouterr()
    assert shown.count("looked at 24 of 24 images: accuracy") == 1
    assert "decided: split validation, since none was chosen" in shown
    assert "warning: 2 of 24 images cannot be used, e.g.: torn" in shown
    assert "2 of 24 images failed (8.3%, allowed 1.0%)" in said
    assert "torn" in said
    assert Store(run).missing() == ()
    assert (run / "ranking.csv").exists()
    assert cli.run([*arguments, "--max-failed", "0.1"]) == cli.DONE
    assert "decided:" not in capsys.readouterr().out, "what was decided is said once"


_KILLED = """
import os, signal, sys
from pathlib import Path
replace = os.replace
def die(source, target):
    replace(source, target)
    if "examples" in str(target):
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = die
from flows import cli
cli.run(sys.argv[1:])
"""


def test_a_killed_process_resumes_to_the_same_tables(
    finished: Path, prefect_api: str, options: list[str], tmp_path: Path
):
    run = tmp_path / "killed"
    arguments = ["run", *options, "--out", str(run)]
    died = subprocess.run(
        [sys.executable, "-c", _KILLED, *arguments],
        env=os.environ | {"PREFECT_API_URL": prefect_api},
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    assert len(Store(run).missing()) == 2
    assert cli.run(arguments) == cli.DONE
    for table in ("examples", "scores"):
        a, b = (Store(r).read(table).to_pandas() for r in (finished, run))
        assert a["example_id"].tolist() == b["example_id"].tolist()
    sessions = Store(run).manifest["sessions"]
    assert [s["ended"] is None for s in sessions] == [True, False]
    assert sessions[1]["images"] == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "./nowhere"], "no such folder"),
        (["--model", "nothing.keras"], "no such model file"),
        (["--model", "ResNet5"], "'ResNet5' is unknown"),
        (["--method", "lrp.preset_q"], "'lrp.preset_q' is not known"),
        (["--method", "lrp preset"], "expected name or name"),
        (["--metrics", "iou"], "metric 'iou' is unknown"),
        (["--target", "third"], "audit.target"),
        (["--limit", "-1"], "dataset.limit"),
        (["--config", "nowhere.toml"], "cannot read the configuration"),
    ],
)
def test_wrong_input_is_one_clear_message(
    prefect_api, options: list[str], tmp_path: Path, capsys, arguments, message
):
    run = tmp_path / "run"
    assert cli.run(["run", *options, *arguments, "--out", str(run)]) == cli.WRONG_INPUT
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert not run.exists()


def test_plan_shows_the_rules_and_decides_the_exit_code(tiny_cnn_file: Path, monkeypatch, capsys):
    import explainers.preflight as preflight

    assert cli.run(["plan", str(tiny_cnn_file), "--method", "lrp.epsilon_gamma_box"]) == cli.DONE
    assert "can explain" in capsys.readouterr().out
    assert cli.run(["plan", str(tiny_cnn_file), "--json"]) == cli.DONE
    assert json.loads(capsys.readouterr().out)["ok"] is True
    real = preflight.plan
    problem = ("node 'x' has no rule",)
    monkeypatch.setattr(preflight, "plan", lambda *a: replace(real(*a), problems=problem))
    assert cli.run(["plan", str(tiny_cnn_file)]) == cli.WRONG_INPUT
    assert problem[0] in capsys.readouterr().out
    assert cli.run(["plan", "nowhere.keras"]) == cli.WRONG_INPUT
