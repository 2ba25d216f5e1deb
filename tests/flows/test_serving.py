"""A run that is due is carried out by who serves it; one whose process dies is told all the same."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from flows.crashes import Crashes
from flows.nightly import THEN, Night


@pytest.fixture
def client(prefect_api: str) -> Any:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command that follows a night writes what it was told, a line per call."""
    script = tmp_path / "tell.sh"
    script.write_text(
        f'#!/bin/sh\necho "$HANSAUDIT_STATE|$HANSAUDIT_RUN|$HANSAUDIT_MESSAGE" >> {tmp_path}/told\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv(THEN, str(script))
    return tmp_path / "told"


def test_a_run_that_is_due_is_carried_out_in_a_process_of_its_own(
    client: Any, options: list[str], tmp_path: Path, told: Path
) -> None:
    from flows.audit_runner import AuditRunner
    from flows.options import Settings
    from flows.run import audit_flow

    config = Settings(options[options.index("--config") + 1]).config()
    given = {"config": config.model_dump(mode="json"), "out": f"{tmp_path}/run"}
    given["night"] = Night(given["out"]).to_dict()
    runner = AuditRunner(name="once", limit=1)
    deployment = runner.add_flow(audit_flow, name="once", parameters=given)
    run = client.create_flow_run_from_deployment(deployment)
    asyncio.run(runner.start(run_once=True))
    state = client.read_flow_run(run.id).state
    assert state.is_completed(), state.message
    assert (tmp_path / "run/report.html").is_file()
    assert told.read_text() == f"finished|{tmp_path}/run|\n"


def test_a_run_that_crashed_is_told_once_and_by_one_machine(client: Any, tmp_path: Path, told: Path) -> None:
    from prefect.states import Crashed, Failed, Pending

    flow = client.create_flow_from_name("hansaudit")
    parameters = {"out": f"{tmp_path}/{{date}}", "night": Night(f"{tmp_path}/{{date}}").to_dict()}
    ids = {
        name: client.create_deployment(flow, name, parameters=parameters) for name in ("crashing", "others")
    }
    said: list[str] = []

    def run(name: str, *states: Any) -> Any:
        made = client.create_flow_run_from_deployment(ids[name])
        for state in states:
            client.set_flow_run_state(made.id, state, force=True)
        return made

    run("crashing", Crashed(message="before it looked"))
    crashes = Crashes(said.append, deployment="crashing")
    crashes.look()
    assert said == []
    crashed = run("crashing", Pending(), Crashed(message="exit code -9"))
    run("crashing", Failed(message="said so itself"))
    run("others", Crashed(message="not ours"))
    elsewhere = run("crashing", Pending())
    client.update_flow_run(elsewhere.id, infrastructure_pid="no-host-of-this-name:7")
    client.set_flow_run_state(elsewhere.id, Crashed(message="there"), force=True)
    crashes.look()
    crashes.look()
    why = "its process ended before the run did: exit code -9"
    assert said == [f"run {crashed.name!r} crashed: {why}"]
    (line,) = told.read_text().splitlines()
    state, folder, message = line.split("|")
    assert (state, message) == ("failed", why)
    assert folder.startswith(f"{tmp_path}/20")
    assert socket.gethostname() != "no-host-of-this-name"
