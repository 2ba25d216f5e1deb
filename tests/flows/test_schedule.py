"""``hansaudit serve``: what is refused before serving, and what is handed to Prefect."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from flows import cli, serving
from flows.nightly import Night
from flows.schedule import Schedule, check_schedule, next_run
from pipeline.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("out", "schedule", "message"),
    [
        ("runs/{date}", Schedule("0 3 * *"), "4 fields; expected minute"),
        ("runs/{date}", Schedule("0 25 * * *"), "expected minute"),
        ("runs/{date}", Schedule("0 3 * * *", "Mars/Olympus"), "'Mars/Olympus' is unknown"),
        ("runs/{date}", Schedule("0 3 30 2 *"), "Bad day-of-month; expected minute"),
        ("runs/{day}", Schedule("0 3 * * *"), "place holder {day}"),
        ("s3://key:secret@runs/{date}", Schedule("0 3 * * *"), r"^s3://\*\*\*@runs/{date}: holds"),
    ],
)
def test_a_schedule_that_cannot_run_is_refused(out: str, schedule: Schedule, message: str):
    with pytest.raises(InputError, match=message):
        check_schedule(out, schedule)


def test_a_configuration_that_does_not_open_is_not_served(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(serving, "scheduling_server", lambda: pytest.fail("served all the same"))
    toml = tmp_path / "audit.toml"
    toml.write_text('[dataset]\nsource = "folder"\npath = "nowhere"\n[model]\nsource = "gone.keras"\n')
    assert cli.run(["serve", "--cron", "0 3 * * *", "--config", str(toml)]) == cli.WRONG_INPUT
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize("cron", ["0 3 * * *", "*/15 8-18 * * 1-5", "30 4 1 * *"])
def test_prefect_is_given_the_flow_its_schedule_and_its_parameters(cron: str, prefect_api, monkeypatch):
    from flows.audit_runner import AuditRunner
    from flows.run import audit_flow
    from pipeline.config import parse_config

    served: dict[str, Any] = {}

    async def wait(self: AuditRunner, schedule: Schedule) -> None:
        served["waited for"] = schedule

    monkeypatch.setattr(
        AuditRunner, "add_flow", lambda self, flow, **given: served.update(given, flow=flow, limit=self.limit)
    )
    monkeypatch.setattr(AuditRunner, "serve", wait)
    monkeypatch.setattr(serving, "try_out", lambda config, trust: None)
    config = parse_config({"audit": {"seed": 4}})
    weekly = Schedule(cron, "Europe/Berlin", "weekly")
    night = Night("runs/{date}", keep=30)
    serving.serve_audit(config, night, weekly, then="true")
    assert served["flow"] is audit_flow
    assert (served["name"], served["limit"], served["waited for"]) == ("weekly", 1, weekly)
    assert (served["schedule"].cron, served["schedule"].timezone) == (cron, "Europe/Berlin")
    assert parse_config(served["parameters"]["config"]) == config
    assert served["parameters"]["out"] == "runs/{date}"
    assert Night(**served["parameters"]["night"]) == night
    assert "true" not in str(served["parameters"]["night"])  # commands never go through Prefect


@pytest.mark.parametrize(
    ("cron", "timezone", "after", "due"),
    [
        ("0 3 * * *", "UTC", "2026-11-26T02:59:00+00:00", "2026-11-26T03:00:00+00:00"),
        ("0 3 * * *", "UTC", "2026-11-26T03:00:00+00:00", "2026-11-27T03:00:00+00:00"),
        # Berlin is one hour ahead in winter and two in summer
        ("0 3 * * *", "Europe/Berlin", "2026-11-26T02:30:00+00:00", "2026-11-27T03:00:00+01:00"),
        ("0 3 * * *", "Europe/Berlin", "2026-07-01T00:30:00+00:00", "2026-07-01T03:00:00+02:00"),
        ("15 8 * * 1", "UTC", "2026-11-26T00:00:00+00:00", "2026-11-30T08:15:00+00:00"),  # a Thursday
    ],
)
def test_the_next_run(cron: str, timezone: str, after: str, due: str):
    given = datetime.fromisoformat(after)
    assert next_run(Schedule(cron, timezone), given) == datetime.fromisoformat(due)


_SERVED = """
import sys
from flows import cli, serving
serving.try_out = lambda config, trust: None
sys.exit(cli.run(sys.argv[1:]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serving_ends_with_one_line_when_told_so(number: signal.Signals, prefect_api: str, tmp_path: Path):
    toml = tmp_path / "audit.toml"
    toml.write_text('[dataset]\nsource = "planted"\n[model]\nsource = "planted"\n')
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVED, "serve", "--cron", "0 3 1 1 *", "--config", str(toml)],
        cwd=ROOT,
        env=os.environ | {"PREFECT_API_URL": prefect_api},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    assert re.fullmatch(r"serving 'hansaudit': next run \d{4}-01-01 03:00 UTC; Ctrl-C ends it\n", first), (
        process.communicate()
    )
    process.send_signal(number)
    said, errors = process.communicate()
    assert (process.returncode, said, errors) == (cli.DONE, "serving ended\n", "")
