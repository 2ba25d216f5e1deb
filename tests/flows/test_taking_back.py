"""Runs that a worker took and never began: on a real server they are due again, once, and nothing else is."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from flows import cli, taking_back
from flows.schedule import Schedule
from flows.taking_back import PATIENCE, take_back

_WORK = "import sys; from flows.taking_back import work; sys.exit(work(sys.argv[1], print))"


class Nights:
    """A deployment, one run at a time as `hansaudit deploy` asks for it, and its runs."""

    def __init__(self, client: Any, name: str) -> None:
        from prefect.client.schemas.actions import WorkPoolCreate

        self.client, self.name, self.pool = client, name, f"pool-of-{name}"
        client.create_work_pool(WorkPoolCreate(name=self.pool, type="process", base_job_template={}))
        flow = client.create_flow_from_name("hansaudit")
        self.id = client.create_deployment(flow, name, work_pool_name=self.pool, concurrency_limit=1)

    def run(self, *states: Any) -> Any:
        """A run that is due, then said to be in each of these states."""
        run = self.client.create_flow_run_from_deployment(self.id)
        for state in states:
            assert self.told(run, state) == "ACCEPT"
        return run

    def told(self, run: Any, state: Any) -> str:
        """What the server answers to whoever says that ``run`` is in ``state``."""
        return str(self.client.set_flow_run_state(run.id, state).status.value)

    def state(self, run: Any) -> str:
        return str(self.client.read_flow_run(run.id).state.name)


@pytest.fixture
def client(prefect_api: str) -> Iterator[Any]:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield client


def later() -> datetime:
    """When what is taken now has been waiting for too long."""
    return datetime.now(UTC) + PATIENCE + timedelta(seconds=5)


@pytest.mark.parametrize("chosen", ["deployment", "pool"])
def test_a_run_that_was_taken_and_never_begun_is_due_again(client: Any, chosen: str) -> None:
    from prefect.states import Pending, Running

    nights, others = Nights(client, f"nights-{chosen}"), Nights(client, f"others-{chosen}")
    stuck, due, foreign = nights.run(Pending()), nights.run(), others.run(Pending())
    assert nights.told(stuck, Pending(name="Submitting")) == "ACCEPT"  # the worker's last word
    begun = nights.run(Running())
    assert nights.told(due, Pending()) != "ACCEPT"  # what is stuck keeps the others waiting
    where = {chosen: nights.name if chosen == "deployment" else nights.pool}
    assert take_back(**where) == []  # it may be about to begin
    assert take_back(**where, now=later()) == [stuck.name]
    assert nights.state(stuck) == "Scheduled"
    assert (nights.state(begun), others.state(foreign)) == ("Running", "Pending")
    assert take_back(**where, now=later()) == []
    assert nights.told(stuck, Pending()) == "ACCEPT"  # one worker takes it
    assert nights.told(stuck, Pending()) == "ABORT"  # and no other


def test_what_is_put_back_is_said_and_a_server_that_is_away_is_no_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(taking_back, "take_back", lambda pool, deployment: [f"{pool}{deployment}-run"])
    taking_back.look(said.append, pool="gpu")
    assert said == ["run 'gpu-run' was taken by a worker that never began it; it is due again"]

    def away(pool: str, deployment: str) -> list[str]:
        raise httpx.ConnectError("no server")

    monkeypatch.setattr(taking_back, "take_back", away)
    taking_back.look(said.append, pool="gpu")
    assert len(said) == 1


def test_who_serves_looks_again_and_again_for_runs_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.audit_runner import AuditRunner

    looked: list[str] = []
    monkeypatch.setattr(taking_back, "LOOK", 0.01)
    monkeypatch.setattr(taking_back, "look", lambda say, deployment: looked.append(deployment))

    async def until_looked_twice(self: AuditRunner) -> None:
        async with asyncio.timeout(30):
            while len(looked) < 2:
                await asyncio.sleep(0.01)

    monkeypatch.setattr(AuditRunner, "start", until_looked_twice)
    asyncio.run(AuditRunner(name="nights").serve(Schedule("0 3 * * *", name="nights")))
    assert looked[:2] == ["nights", "nights"]


def test_a_worker_without_a_server_that_stays_is_refused(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("flows.server._is_configured", lambda: False)
    assert cli.run(["worker"]) == cli.WRONG_INPUT
    assert "no Prefect server is configured" in capsys.readouterr().err


def test_a_worker_that_a_script_started_ends_when_told(client: Any, prefect_api: str) -> None:
    pool = Nights(client, "ended").pool
    worker = subprocess.Popen(
        # as a shell starts what stands before an `&`: deaf to interrupts
        ["sh", "-c", f"trap '' INT; exec {sys.executable} -c '{_WORK}' {pool}"],
        env=os.environ | {"PREFECT_API_URL": prefect_api, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert worker.stdout is not None
        assert any("started!" in line for line in worker.stdout)
        worker.terminate()
        worker.communicate(timeout=20)
    finally:
        worker.kill()
