"""``hansaudit serve``: what is refused before serving, and what is handed to Prefect."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows import cli, schedule
from flows.schedule import Schedule, check_schedule
from pipeline.config import ConfigError


@pytest.mark.parametrize(
    ("out", "schedule", "message"),
    [
        ("runs/{date}", Schedule("0 3 * *"), "4 fields; expected minute"),
        ("runs/{date}", Schedule("0 25 * * *"), "expected minute"),
        ("runs/{date}", Schedule("0 3 * * *", "Mars/Olympus"), "'Mars/Olympus' is unknown"),
        ("runs/{day}", Schedule("0 3 * * *"), "place holder {day}"),
    ],
)
def test_a_schedule_that_cannot_run_is_refused(out: str, schedule: Schedule, message: str):
    with pytest.raises(ConfigError, match=message):
        check_schedule(out, schedule)


def test_a_configuration_that_does_not_open_is_not_served(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(schedule, "scheduling_server", lambda: pytest.fail("served all the same"))
    toml = tmp_path / "audit.toml"
    toml.write_text('[dataset]\nsource = "folder"\npath = "nowhere"\n[model]\nsource = "gone.keras"\n')
    assert cli.run(["serve", "--cron", "0 3 * * *", "--config", str(toml)]) == cli.WRONG_INPUT
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize("cron", ["0 3 * * *", "*/15 8-18 * * 1-5", "30 4 1 * *"])
def test_prefect_is_given_the_flow_its_schedule_and_its_parameters(cron: str, prefect_api, monkeypatch):
    from flows.run import audit_flow
    from pipeline.config import parse_config

    served = {}
    monkeypatch.setattr(type(audit_flow), "serve", lambda self, **given: served.update(given, flow=self))
    monkeypatch.setattr(schedule, "try_out", lambda config, trust: None)
    config = parse_config({"audit": {"seed": 4}})
    schedule.serve_audit(config, "runs/{date}", Schedule(cron, "Europe/Berlin", "weekly"))
    assert served["flow"] is audit_flow
    assert served["name"] == "weekly"
    assert (served["schedule"].cron, served["schedule"].timezone) == (cron, "Europe/Berlin")
    assert parse_config(served["parameters"]["config"]) == config
    assert served["parameters"]["out"] == "runs/{date}"
