"""What follows a night: the gate against the run before, old runs that go, a command that is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from flows import cli
from flows.nightly import THEN, Night, follow_up
from pipeline.config import ConfigError
from pipeline.errors import InputError
from pipeline.run.folder import RANKING_TABLE
from pipeline.run.store import Store
from pipeline.statistics.ranking import rank
from tests.tables import write_run

POLICY = '[[check]]\nstatistic = "n_new"\nmax = 0\n'


def a_run(path: Path, effect: Mapping[int, float]) -> Path:
    write_run(path, 4, 40, seed=3, effect=effect, maps=False, thumbnails=False, ranking={"draws": 100})
    ranking = rank(Store(path))
    Store(path).files.put(RANKING_TABLE, ranking.csv().encode())
    ranking.document().write(Store(path))
    return path


@pytest.fixture
def nights(tmp_path: Path) -> Path:
    """Three nights, a folder that is no run, and one that only looks like a date."""
    for day, effect in (("2026-11-01", {}), ("2026-11-02", {}), ("2026-11-03", {1: -3.0})):
        a_run(tmp_path / "runs" / day, effect)
    (tmp_path / "runs" / "2026-10-01").mkdir()
    shutil.copytree(tmp_path / "runs/2026-11-01", tmp_path / "runs/kept-2026-11-01")
    (tmp_path / "gate.toml").write_text(POLICY)
    return tmp_path


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a command of the user's writes what it was told."""
    script = tmp_path / "tell.sh"
    script.write_text(f"#!/bin/sh\nenv | grep ^HANSAUDIT_ > '{tmp_path}/told.txt'\n")
    script.chmod(0o755)
    monkeypatch.setenv(THEN, str(script))
    return tmp_path / "told.txt"


def read(told: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in told.read_text().splitlines())


def test_the_gate_compares_with_the_night_before_and_the_command_is_told(nights: Path, told: Path) -> None:
    run = nights / "runs/2026-11-03"
    follow_up(Night(f"{nights}/runs/{{date}}", str(nights / "gate.toml")), str(run), print)
    said = read(told)
    assert said["HANSAUDIT_GATE"] == "fail"  # class 1 is new since the second night
    assert said["HANSAUDIT_LAST"] == str(nights / "runs/2026-11-02")
    assert (said["HANSAUDIT_STATE"], said["HANSAUDIT_RUN"]) == ("finished", str(run))
    assert json.loads((run / "gate.json").read_text())["state"] == "fail"
    assert "class 001: new" in (run / "gate.md").read_text()


def test_only_dated_runs_beyond_the_newest_go(nights: Path) -> None:
    follow_up(Night(f"{nights}/runs/{{date}}", keep=2), str(nights / "runs/2026-11-03"), print)
    left = {path.name for path in (nights / "runs").iterdir()}
    assert left == {"2026-11-02", "2026-11-03", "2026-10-01", "kept-2026-11-01"}


def test_the_baseline_of_the_policy_stays(nights: Path) -> None:
    first = nights / "runs/2026-11-01"
    spelt = nights / "runs" / "kept-2026-11-01" / ".." / "2026-11-01"
    (nights / "gate.toml").write_text(f'baseline = "{spelt}/"\n{POLICY}')
    night = Night(f"{nights}/runs/{{date}}", str(nights / "gate.toml"), keep=1)
    follow_up(night, str(nights / "runs/2026-11-03"), print)
    assert first.is_dir()
    assert not (nights / "runs/2026-11-02").exists()


def test_a_policy_that_was_spoilt_since_is_said_and_removes_nothing(nights: Path, told: Path, capsys) -> None:
    (nights / "gate.toml").write_text("[[check]]\nnonsense = 1\n")
    night = Night(f"{nights}/runs/{{date}}", str(nights / "gate.toml"), keep=1)
    follow_up(night, str(nights / "runs/2026-11-03"), print)
    assert "nonsense" in capsys.readouterr().out
    assert (nights / "runs/2026-11-01").is_dir()
    assert read(told)["HANSAUDIT_GATE"] == ""


def test_a_failed_night_is_told_and_removes_nothing(nights: Path, told: Path) -> None:
    follow_up(
        Night(f"{nights}/runs/{{date}}", keep=1), str(nights / "runs/2026-11-04"), print, "disk is full"
    )
    said = read(told)
    assert (said["HANSAUDIT_STATE"], said["HANSAUDIT_MESSAGE"]) == ("failed", "disk is full")
    assert said["HANSAUDIT_GATE"] == ""
    assert (nights / "runs/2026-11-01").is_dir()


def test_a_command_that_fails_is_said(nights: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv(THEN, "false")
    follow_up(Night(f"{nights}/runs/{{date}}"), str(nights / "runs/2026-11-03"), print)
    assert "then 'false': ended with 1" in capsys.readouterr().out


def test_a_served_run_is_followed_up(
    options: list[str], prefect_api: str, tmp_path: Path, told: Path
) -> None:
    from flows.options import Settings
    from flows.run import audit_flow

    settings = Settings(options[options.index("--config") + 1])
    settings.set("report", decisions=str(tmp_path / "decisions.toml"))
    config = settings.config()
    (tmp_path / "gate.toml").write_text('[[check]]\nmetric = "accuracy"\nmin = 0.0\n')
    (tmp_path / "decisions.toml").write_text(
        '[[decision]]\nclass = "ring"\ndecision = "unsure"\nreason = "looked at"\nowner = "me"\n'
    )
    night = Night(f"{tmp_path}/runs/{{date}}", str(tmp_path / "gate.toml"), keep=5)
    result = audit_flow(config.model_dump(mode="json"), night.out, night=night.to_dict())
    said = read(told)
    assert said["HANSAUDIT_RUN"] == result.out
    page = Path(said["HANSAUDIT_REPORT"]).read_text()
    assert "looked at" in page  # what the configuration names
    assert said["HANSAUDIT_GATE"] in ("pass", "inconclusive")
    gone = config.model_copy(update={"model": config.model.model_copy(update={"source": "gone.keras"})})
    with pytest.raises(InputError):
        audit_flow(gone.model_dump(mode="json"), night.out, night=night.to_dict())
    assert read(told)["HANSAUDIT_STATE"] == "failed"


@pytest.mark.parametrize(
    ("night", "then", "message"),
    [
        (
            Night("runs/nightly", keep=3),
            "",
            r"keep = 3 .*: old runs are told by \{date\}",
        ),
        (Night("s3://bucket/{date}", keep=3), "", "a local path"),
        (Night("runs/{date}"), "no-such-command --now", "there is no command 'no-such-command'"),
    ],
)
def test_what_could_not_be_done_is_refused_before_serving(night: Night, then: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        night.check(then)


def test_a_policy_that_is_not_valid_is_refused_before_serving(tmp_path: Path, capsys) -> None:
    (tmp_path / "gate.toml").write_text("[[check]]\nnonsense = 1\n")
    (tmp_path / "audit.toml").write_text('[dataset]\nsource = "planted"\n[model]\nsource = "planted"\n')
    arguments = ["serve", "--cron", "0 3 * * *", "--config", str(tmp_path / "audit.toml")]
    assert cli.run([*arguments, "--policy", str(tmp_path / "gate.toml")]) == cli.WRONG_INPUT
    assert "nonsense" in capsys.readouterr().err
