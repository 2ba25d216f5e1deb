"""The command line without a model: help, exit codes, light imports, odd names."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from flows import cli, interrupts, terminal
from flows.exit_codes import ExitCode
from flows.options import Settings
from pipeline.config import Config, ConfigError
from pipeline.config_sections import PerturbationConfig
from pipeline.errors import InputError
from pipeline.inputs.datasets import section_of
from pipeline.run.documents import CanaryDocument
from pipeline.run.store import Store
from pipeline.statistics.ranking import rank
from tests.tables import write_run

ROOT = Path(__file__).parents[2]
HEAVY = ("tensorflow", "keras", "prefect", "pandas", "pyarrow", "matplotlib", "scipy", "numpy")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("synthetic") / "run"
    write_run(path, 6, 40, seed=3, effect={2: -3.0}, ranking={"draws": 100})
    return path


def commands() -> dict[str, object]:
    """Every command by its full name."""
    found = {}

    def walk(group, prefix: str) -> None:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                walk(command, f"{prefix}{name} ")
            else:
                found[f"{prefix}{name}"] = command

    walk(typer.main.get_command(cli.app), "")
    return found


def loaded_by(code: str) -> set[str]:
    """Top-level modules in memory after ``code`` ran in a fresh interpreter."""
    script = (
        f"{code}\nimport sys, json; print(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_issue_s_commands_exist():
    needed = {
        "run",
        "report",
        "rank",
        "gate",
        "serve",
        "demo",
        "datasets",
        "models",
        "methods",
        "prepare ilsvrc2012",
        "prepare tiny-imagenet",
    }
    assert needed <= set(commands())


def test_every_command_shows_examples_that_it_would_take():
    for name, command in commands().items():
        shown = [
            line.partition("hansaudit ")[2]
            for line in (command.epilog or "").splitlines()
            if "[cyan]" in line
        ]
        assert shown, f"{name}: no examples"
        for line in shown:
            words = shlex.split(line.removesuffix("[/]").replace("\\[", "["))
            assert words[: len(name.split())] == name.split(), line
            command.make_context(name, words[len(name.split()) :])  # raises when an option does not exist


def test_help_of_every_command_can_be_printed():
    runner = CliRunner()
    for name in ["", *commands()]:
        result = runner.invoke(cli.app, [*name.split(), "--help"])
        assert result.exit_code == 0, name
        assert name == "" or "Examples" in result.output


def test_help_imports_nothing_heavy():
    loaded = loaded_by("from flows import cli\nassert cli.run(['run', '--help']) == 0")
    assert loaded.isdisjoint(HEAVY)


def test_ranking_reporting_and_gating_never_load_tensorflow(run_folder: Path, tmp_path: Path):
    policy = tmp_path / "gate.toml"
    policy.write_text(LENIENT)
    code = f"""
from flows import cli
assert cli.run(["rank", {str(run_folder)!r}]) == 0
assert cli.run(["report", {str(run_folder)!r}, "--out", {str(tmp_path / "r.html")!r}]) == 0
assert cli.run(["gate", {str(run_folder)!r}, "--policy", {str(policy)!r}]) == 0
"""
    assert loaded_by(code).isdisjoint({"tensorflow", "keras", "tensorflow_datasets", "explainers", "prefect"})


LENIENT = '[[check]]\nname = "few suspicious"\nstatistic = "n_suspicious"\nmax = 6\n'


@pytest.mark.parametrize(
    "arguments", [["--nothing"], ["nothing"], ["rank"], ["run", "--limit", "x", "--out", "o"]]
)
def test_wrong_use_is_code_2(arguments, capsys):
    assert cli.run(arguments) == cli.WRONG_INPUT
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "net.keras"], "--model and --card are for --photos"),
        (["--photos", "planted"], "--photos needs --model"),
        (["--sizes", "large"], "--sizes: received 'large'"),
        (["--sizes", "0.5"], "size in (0, 0.18]"),
        (["--kinds", "smell"], "artefact kind 'smell' is unknown; valid: patch"),
    ],
)
def test_the_canary_says_what_it_cannot_plant(arguments, said, tmp_path, capsys):
    assert cli.run(["canary", "--out", str(tmp_path), *arguments]) == cli.WRONG_INPUT
    assert said in " ".join(capsys.readouterr().err.split())


def test_the_canary_s_table_fits_a_terminal(capsys):
    from flows.commands.canary import print_canary

    cell = {"kind": "patch", "size": 0.17, "probability": 1.0, "inside": True, "used": False, "added": -0.125}
    cell |= {"class_name": "x", "visible": True, "rank": 1, "carried": 1.0}
    cells = [
        cell | {"verdict": "unremarkable", "test": "attribution_only"},
        cell | {"probability": 0.5, "carried": 0.625, "verdict": "suspicious", "test": None},
    ]
    alarms = {"classes": 7, "suspicious": 1, "confirmed": 0, "hidden": 0}
    canary = {"about": "x", "networks": 1, "accuracy": 0.5, "figures": {}, "cells": cells}
    canary |= {"false_alarms": alarms, "line": "Canary (x): nothing."}
    print_canary(CanaryDocument.parse(json.dumps(canary), "a test"))
    shown = capsys.readouterr().out
    row = "patch inside 17% 100% -0.12 unused unremarkable unremarkable"
    assert row in " ".join(shown.split())  # nothing is cut
    assert "50% (62%)" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_version(capsys):
    from importlib.metadata import version

    assert cli.run(["--version"]) == cli.DONE
    assert capsys.readouterr().out.strip() == version("hansaudit")


def test_a_folder_that_is_no_run_is_code_2(tmp_path: Path, capsys):
    assert cli.run(["rank", str(tmp_path)]) == cli.WRONG_INPUT
    assert "no manifest.json" in capsys.readouterr().err


def test_an_internal_failure_is_code_3_with_a_log(monkeypatch, run_folder: Path, tmp_path: Path, capsys):
    def broken(*_: object) -> None:
        raise RuntimeError("the moon\nis full")

    monkeypatch.setattr("flows.report.rank_run", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cli.run(["rank", str(run_folder)]) == cli.FAILURE
    said = capsys.readouterr().err
    assert "internal failure: RuntimeError: the moon\n" in said
    assert "Traceback" not in said
    log = Path(said.split("what happened is in ")[1].strip())
    assert "in broken" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0  # of its owner only
    assert cli.run(["rank", str(run_folder), "--debug"]) == cli.FAILURE
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.split("what happened is in ")[1].strip() != str(log)  # no name that can be foreseen


def test_an_interruption_is_code_130(monkeypatch, run_folder: Path, capsys):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flows.report.rank_run", interrupted)
    assert cli.run(["rank", str(run_folder)]) == cli.INTERRUPTED
    assert "interrupted" in capsys.readouterr().err


def in_a_library(*_: object) -> None:
    """What Prefect did once in three times: it fails in its own way where the signal hits it."""
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        raise ValueError("Task run is not set") from None


def swallowed(*_: object) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    interrupts.stop_if_interrupted()


def terminated(*_: object) -> None:
    from prefect.exceptions import TerminationSignal

    raise TerminationSignal(signal.SIGTERM)


@pytest.mark.parametrize("ranking", [in_a_library, swallowed, terminated])
def test_an_interruption_is_code_130_whatever_a_library_makes_of_it(
    ranking: Callable[..., None], monkeypatch, run_folder: Path, capsys
):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("flows.report.rank_run", ranking)
    assert cli.run(["rank", str(run_folder)]) == cli.INTERRUPTED
    said = capsys.readouterr().err
    assert "the same command goes on from there" in said
    assert "internal failure" not in said
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize("command", ["rank", "report", "clusters", "confirm", "rank-methods"])
def test_a_run_that_another_process_writes_is_left_alone(command: str, run_folder: Path, tmp_path, capsys):
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    with Store(run).lock():
        before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
        assert cli.run([command, str(run)]) == cli.WRONG_INPUT
        assert {p: p.stat().st_mtime_ns for p in run.rglob("*")} == before
    assert "is writing this run; wait for it to end" in capsys.readouterr().err


def test_rank_writes_what_it_prints(run_folder: Path, capsys):
    assert cli.run(["rank", str(run_folder), "--top", "2"]) == cli.DONE
    out = capsys.readouterr().out
    assert "class 002" in out
    assert "and 4 more classes" in out
    assert "One of six classes is suspected by its heat maps" in " ".join(out.split())
    table = pd.read_csv(run_folder / "ranking.csv")
    assert table.loc[0, "class_name"] == "class 002"
    assert json.loads((run_folder / "ranking.json").read_text())["classes"][0]["verdict"] == "suspected"


EARLIER = ROOT / "tests" / "fixtures" / "run-schema-1"  # two methods, with its ranking


def test_rank_and_report_with_other_options_write_beside_the_own_ranking(tmp_path: Path, capsys):
    run = Path(shutil.copytree(EARLIER, tmp_path / "run"))
    policy = tmp_path / "gate.toml"
    policy.write_text(LENIENT + '[[check]]\nscope = "class"\nstatistic = "lift"\nmin = 0.5\n')

    def gated() -> tuple[int, str]:
        code = cli.run(["gate", str(run), "--policy", str(policy), "--markdown", str(tmp_path / "g.md")])
        return code, (tmp_path / "g.md").read_text()

    before, own = gated(), (run / "ranking.json").read_bytes()
    capsys.readouterr()
    assert cli.run(["rank", str(run), "--method", "gradient", "--top", "1"]) == cli.DONE
    said = capsys.readouterr().out
    assert "more classes in ranking-method-gradient.csv" in said
    assert f"{run}/ranking-method-gradient.csv, {run}/ranking-method-gradient.json; the run's own" in said
    assert cli.run(["report", str(run), "--images", "all"]) == cli.DONE
    assert str(run / "report-images-all.html") in capsys.readouterr().out
    assert (run / "ranking.json").read_bytes() == own
    assert not (run / "report.html").exists()
    assert json.loads((run / "ranking-method-gradient.json").read_text())["method"] == "gradient"
    assert json.loads((run / "ranking-images-all.json").read_text())["summary"]["config"]["images"] == "all"
    assert (run / "report-images-all.html").exists()
    assert gated() == before
    # by the run's own settings, named or not, it is the run's own ranking that is written
    assert cli.run(["rank", str(run), "--method", "lrp.preset_a", "--images", "correct"]) == cli.DONE
    assert "stays as it is" not in capsys.readouterr().out
    assert json.loads((run / "ranking.json").read_text())["run_id"] is not None
    assert gated() == before


def test_the_gate_refuses_a_ranking_that_is_not_the_run_s_own(tmp_path: Path, capsys):
    run = Path(shutil.copytree(EARLIER, tmp_path / "run"))
    cli.run(["rank", str(run), "--method", "gradient"])
    shutil.copy(run / "ranking-method-gradient.json", run / "ranking.json")
    (tmp_path / "gate.toml").write_text(LENIENT)
    capsys.readouterr()
    assert cli.run(["gate", str(run), "--policy", str(tmp_path / "gate.toml")]) == cli.WRONG_INPUT
    said = " ".join(capsys.readouterr().err.split())
    assert "it was made with method = 'gradient', the run's own is 'lrp.preset_a'" in said
    assert f"`hansaudit rank {run}`" in said


def test_a_run_in_an_object_store_is_ranked_and_reported_there(run_folder: Path, capsys):
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in run_folder.rglob("*"):
        if path.is_file():
            memory.pipe_file(f"/bucket/ranked/{path.relative_to(run_folder)}", path.read_bytes())
    assert cli.run(["rank", "memory://bucket/ranked"]) == cli.DONE
    assert cli.run(["report", "memory://bucket/ranked"]) == cli.DONE
    assert "report: memory://bucket/ranked/report.html" in capsys.readouterr().out
    assert b"class 002" in memory.cat_file("/bucket/ranked/report.html")
    assert b"class 002" in memory.cat_file("/bucket/ranked/ranking.csv")


def test_names_with_markup_are_printed_as_they_are(run_folder: Path, monkeypatch):
    ranking = rank(run_folder)
    names = ["[red]a[/red]", "[/]", "b]c[", ":smile:", "c\\[d", "e"]
    odd = dataclasses.replace(ranking, table=ranking.table.assign(class_name=names), method="m(x=[1])")
    output = io.StringIO()
    monkeypatch.setattr(terminal, "console", Console(file=output, width=120))
    terminal.print_ranking(odd, 10)
    assert all(name in output.getvalue() for name in [*names, "m(x=[1])"])


@pytest.mark.parametrize(("limit", "code"), [("6", 0), ("0", 1)])
def test_gate_decides_the_exit_code(run_folder: Path, tmp_path: Path, limit: str, code: int, capsys):
    policy = tmp_path / "gate.toml"
    policy.write_text(LENIENT.replace("max = 6", f"max = {limit}"))
    arguments = ["--junit", str(tmp_path / "g.xml"), "--markdown", str(tmp_path / "g.md")]
    assert cli.run(["gate", str(run_folder), "--policy", str(policy), *arguments]) == code
    assert ("gate failed: 1 of 2 checks" in capsys.readouterr().out) == (code == 1)
    assert "<testsuite" in (tmp_path / "g.xml").read_text()
    assert (tmp_path / "g.md").read_text().startswith("# Gate")


def test_what_is_not_known_has_an_exit_code_of_its_own(run_folder: Path, tmp_path: Path, monkeypatch, capsys):
    policy, summary = tmp_path / "gate.toml", tmp_path / "summary.md"
    policy.write_text('[[check]]\nstatistic = "n_confirmed"\nmax = 0\n')
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    command = ["gate", str(run_folder), "--policy", str(policy)]
    assert cli.run([*command, "--json", str(tmp_path / "g.json")]) == cli.INCONCLUSIVE == 4
    said = " ".join(capsys.readouterr().out.split())
    assert "n_confirmed is 0 and may become 6 (0 of 6 classes are decided)" in said
    assert f"next: `hansaudit confirm {run_folder} --class s00000002" in said
    assert json.loads((tmp_path / "g.json").read_text())["state"] == "inconclusive"
    assert summary.read_text().startswith("before\n# Gate inconclusive: 1 of 2 checks")
    for word, code in (("fail", cli.BREACH), ("pass", cli.DONE)):
        policy.write_text(f'inconclusive = "{word}"\n' + '[[check]]\nstatistic = "n_confirmed"\nmax = 0\n')
        assert cli.run(command) == code
        assert f"(counts as {word} by the policy)" in " ".join(capsys.readouterr().out.split())


def test_the_documented_exit_codes_are_those_of_the_commands():
    text = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## Exit codes\n(.*?)^## ", text, re.M | re.S)
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", section, re.M)
    assert rows == [(str(int(code)), code.meaning) for code in ExitCode]
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "flows").rglob("*.py"))
    assert not re.search(r"Exit\(\d", sources)  # by name, never by number


# -- options


def test_options_win_over_the_file(tmp_path: Path):
    toml = tmp_path / "a.toml"
    toml.write_text('[dataset]\nsource = "tfds"\nname = "voc"\nsplit = "test"\n[audit]\nseed = 3\nmaps = 7\n')
    settings = Settings(str(toml))
    settings.dataset("planted", None)
    settings.set("audit", seed=5, pooling=None)
    settings.methods(["gradient", "lrp.epsilon(epsilon=0.1)"])
    config = settings.config()
    assert (config.dataset.source, config.dataset.name, config.dataset.split) == ("planted", "", "test")
    assert (config.audit.seed, config.audit.maps) == (5, 7)
    assert [m.key for m in config.methods] == ["gradient", "lrp.epsilon(epsilon=0.1)"]


def test_curves_are_switched_by_options_and_files(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("flows.attended.audit", lambda config, *given: asked.append(config.perturbation))
    (tmp_path / "off.toml").write_text('perturbation = false\n[dataset]\nsource = "planted"\n')
    line = ["run", "--out", "x", "--config", str(tmp_path / "off.toml")]
    for more in ([], ["--curves"], ["--budget", "3"], ["--no-curves", "--budget", "3"]):
        assert cli.run([*line, *more]) == 0
    assert cli.run(["run", "--dataset", "planted", "--out", "x"]) == 0
    off, on, some, none, usual = asked
    assert off is none is None
    assert on == usual == PerturbationConfig()
    # as many per class as were asked for, whatever the size of the dataset
    assert (some.budget, some.images, some.share) == (3, 0, 1.0)


def test_times_are_read_in_the_units_that_people_write():
    from flows.options import seconds

    assert [seconds(t) for t in (None, "90s", "30m", "30 min", "1.5h")] == [None, 90, 1800, 1800, 5400]
    for wrong in ("", "2", "h", "-1h", "0s", "2h30", "1e9s", "inf h"):
        with pytest.raises(ConfigError, match="expected a number with s, m or h, such as 90s, 30m or 2h"):
            seconds(wrong)


def test_a_time_chooses_budgets_once(monkeypatch, tmp_path):
    """Before a run has begun; one that has begun keeps what was chosen for it."""
    from flows import foresight
    from pipeline.config import parse_config

    config = parse_config({"dataset": {"source": "planted"}})
    assert foresight.begun(config, Store(tmp_path / "none")) == config
    write_run(tmp_path / "run", n_classes=2, per_class=3, seed=0)
    kept = foresight.begun(config, Store(tmp_path / "run"))
    assert kept.perturbation is None  # as that run was begun
    assert kept.model_copy(update={"perturbation": config.perturbation}) == config


def test_dataset_and_model_must_be_named():
    settings = Settings(None)
    with pytest.raises(ConfigError, match="options: no dataset; give --dataset"):
        settings.config()
    settings.dataset("planted", None)
    assert settings.config() == Config()  # the planted network goes with the planted data
    settings.dataset("voc/2007", None)
    with pytest.raises(ConfigError, match="options: no model; give --model"):
        settings.config()
    settings.set("model", source="ResNet50")
    assert settings.config().model.source == "ResNet50"


def test_a_section_that_is_no_table_is_refused(tmp_path: Path):
    (tmp_path / "a.toml").write_text("audit = 3")
    with pytest.raises(ConfigError, match="audit: expected a table"):
        Settings(str(tmp_path / "a.toml")).set("audit", seed=1)


def test_what_a_dataset_option_stands_for(tmp_path: Path):
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / "dataset_info.json").write_text("{}")
    (tmp_path / "photos").mkdir()
    assert section_of("planted") == {"source": "planted"}
    assert section_of("voc/2007") == {"source": "tfds", "name": "voc/2007"}
    assert section_of(str(tmp_path / "prepared"))["source"] == "tfds"
    assert section_of(str(tmp_path / "photos")) == {"source": "folder", "path": str(tmp_path / "photos")}
    with pytest.raises(InputError, match="no such folder"):
        section_of(str(tmp_path / "none"))
