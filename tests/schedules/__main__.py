"""``python -m tests.schedules [--database sqlite postgresql] [--runs 12]``: no schedule lost, no run doubled.

A deployment as ``hansaudit deploy`` writes it, with a small flow in place of the audit and seconds in place
of days, on a real Prefect server with a real ``hansaudit worker``. In between the server is killed, the
worker is killed, the next run is left as by a worker that dies as it takes it, and both are stopped for a
while, as when a machine is started anew. At the end every moment of the schedule must have its run, from when
Prefect's scheduler has seen the deployment, and every run must have happened once. Exit code 1 where one did
not. Some minutes; PostgreSQL is left out, with a line, where it is not installed.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from flows.settings import prepare_prefect

prepare_prefect()

from flows.deploying import SEEN, Place, deploy_file, entry, write_file  # noqa: E402 - Prefect's settings come first
from flows.schedule import Schedule  # noqa: E402
from tests.schedules.machines import (  # noqa: E402
    ROOT,
    Machine,
    free_port,
    postgresql,
    postgresql_folder,
    prefect,
    sqlite,
    wait_for,
)

DATABASES = {"sqlite": sqlite, "postgresql": postgresql}
NAME, POOL = "ticks", "ticking"
PATIENCE = 60  # seconds until a run that was taken and not begun is due again
AWAY = 3  # moments of the schedule that pass while server and worker are both stopped

# `hansaudit worker`, in seconds in place of minutes
_WORK = """
import sys
from datetime import timedelta
from flows import taking_back
taking_back.PATIENCE, taking_back.LOOK = timedelta(seconds={patience}), 5.0
sys.exit(taking_back.work("{pool}", print))
"""


class Night:
    """Server, worker, and what they are to have done."""

    def __init__(self, folder: Path, database: str, every: float) -> None:
        port = free_port()
        self.url, self.lines, self.every = f"http://127.0.0.1:{port}/api", folder / "ticks", every
        self.place = Place(POOL, str(folder / "prefect.yaml"))
        environment = os.environ | {
            "PREFECT_HOME": str(folder),
            "PREFECT_API_URL": self.url,
            "PREFECT_API_DATABASE_CONNECTION_URL": database,
            "PREFECT_SERVER_UI_ENABLED": "false",
            "PYTHONPATH": str(ROOT),
        }
        serve = prefect("server", "start", "--host", "127.0.0.1", "--port", str(port))
        work = [sys.executable, "-c", _WORK.format(patience=PATIENCE, pool=POOL)]
        self.server = Machine(serve, environment, folder / "server.log")
        self.worker = Machine(work, environment, folder / "worker.log")
        os.environ |= {name: environment[name] for name in ("PREFECT_HOME", "PREFECT_API_URL")}

    def begin(self) -> None:
        """Start all and deploy."""
        self.server.start()
        wait_for(self.url)
        first = datetime.now(UTC).replace(microsecond=0)
        made = entry(Schedule("* * * * *", "UTC", NAME), {"log": str(self.lines)}, POOL)
        interval = {"interval": self.every, "anchor_date": first.isoformat(), "active": True}
        made |= {"entrypoint": "tests.schedules.tick.tick", "schedules": [interval]}
        write_file(self.place.file, [made])
        deploy_file(self.place, NAME)
        self.worker.start()

    def ran(self) -> list[tuple[str, str]]:
        """(moment, run) of every run that happened."""
        lines = self.lines.read_text().splitlines() if self.lines.exists() else []
        return [(line.split()[0], line.split()[1]) for line in lines]

    def wait_until(self, count: int, patience: float) -> None:
        """Return when so many runs have happened, or after that many seconds."""
        ends = time.monotonic() + patience
        while len(self.ran()) < count and time.monotonic() < ends:
            time.sleep(1)

    def disturb(self, runs: int) -> None:
        """Kill the server, then the worker, then stop both for a while."""
        patience = 60 + 20 * runs * self.every
        self.wait_until(runs // 4, patience)
        self.server.end(signal.SIGKILL)
        print(f"  server killed after {len(self.ran())} runs", flush=True)
        time.sleep(self.every)
        self.server.start()
        wait_for(self.url)
        self.wait_until(runs // 2, patience)
        self.worker.end(signal.SIGKILL)
        print(f"  worker killed after {len(self.ran())} runs", flush=True)
        print(f"  a run left taken and not begun: {self.take_one(patience)}", flush=True)
        self.worker.start()
        self.wait_until(3 * runs // 4, patience)
        self.worker.end(signal.SIGTERM)
        self.server.end(signal.SIGTERM)
        print(f"  both stopped after {len(self.ran())} runs", flush=True)
        time.sleep(AWAY * self.every)
        self.server.start()
        wait_for(self.url)
        self.worker.start()
        self.wait_until(runs, patience)

    def take_one(self, patience: float) -> str:
        """Say of the next run what a worker says as it takes it, and nothing after that; its moment."""
        from prefect.client.orchestration import get_client
        from prefect.states import Pending

        ends = time.monotonic() + patience
        with get_client(sync_client=True) as client:
            deployment = client.read_deployment_by_name(f"tick/{NAME}")
            while time.monotonic() < ends:  # the one before may run to its end yet
                ahead = _due(client, deployment.id, datetime.now(UTC) + timedelta(seconds=self.every))
                waiting = [run for run in ahead if run.state.is_scheduled()]
                for state in (Pending(), Pending(name="Submitting")):
                    told = waiting and client.set_flow_run_state(waiting[0].id, state).status.value
                if told == "ACCEPT":
                    return f"{waiting[0].expected_start_time:%H:%M:%S}"
                time.sleep(1)
        return "none"

    def finish(self) -> tuple[list[Any], datetime, datetime]:
        """Pause the schedule, let what is due happen; the runs that were due, and from when to when."""
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            deployment = client.read_deployment_by_name(f"tick/{NAME}")
            ended = datetime.now(UTC)
            client.pause_deployment(deployment.id)  # and what is ahead is taken back
            until = time.monotonic() + 300
            while True:
                runs = _due(client, deployment.id, ended)
                if all(run.state.is_final() for run in runs) or time.monotonic() > until:
                    return runs, deployment.created, ended
                time.sleep(2)


def _due(client: Any, deployment: Any, until: datetime) -> list[Any]:
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId

    chosen = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
    runs = client.read_flow_runs(deployment_filter=chosen, limit=200)
    return sorted((r for r in runs if r.expected_start_time <= until), key=lambda r: r.expected_start_time)


def faults(
    span: tuple[datetime, datetime], every: float, due: Sequence[Any], ran: Sequence[tuple[str, str]]
) -> list[str]:
    """What was lost or doubled: every moment of ``span`` has one run, every run has happened once."""
    said = []
    moments = [run.expected_start_time for run in due]
    gaps = [b - a for a, b in pairwise([span[0], *moments, span[1]])]
    step = timedelta(seconds=every)
    if any(gap != step for gap in gaps[1:-1]) or gaps[0] > step + SEEN or gaps[-1] > step:
        said.append(f"moments {', '.join(f'{m:%H:%M:%S}' for m in moments)} between {span[0]} and {span[1]}")
    times = Counter(run for _, run in ran)
    for run in due:
        if times[str(run.id)] != 1 or not run.state.is_completed():
            moment = f"{run.expected_start_time:%H:%M:%S}"
            said.append(f"the run of {moment} happened {times[str(run.id)]} times and is {run.state.name}")
    return said


def try_database(name: str, runs: int, every: float) -> bool:
    """Whether nothing was lost or doubled on this database; says what was."""
    with tempfile.TemporaryDirectory() as text, DATABASES[name](Path(text)) as database:
        night = Night(Path(text), database, every)
        try:
            night.begin()
            night.disturb(runs)
            due, *span = night.finish()
            said = faults((span[0], span[1]), every, due, night.ran())
        finally:
            night.worker.clear()
            night.server.clear()
    print(f"{name}: {len(due)} moments, {len(said)} faults", flush=True)
    for line in said:
        print(f"  {line}")
    return not said and len(due) >= runs


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.schedules", description=__doc__)
    parser.add_argument("--database", nargs="+", choices=tuple(DATABASES), default=list(DATABASES))
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two moments")
    options = parser.parse_args()
    good = True
    for name in options.database:
        if name == "postgresql" and postgresql_folder() is None:
            print("postgresql: left out, it is not installed (Debian: apt install postgresql)")
        elif len(options.database) == 1:
            good &= try_database(name, options.runs, options.every)
        else:  # in a process of its own: Prefect keeps the server that it was first told of
            words = ["--database", name, "--runs", str(options.runs), "--every", str(options.every)]
            good &= (
                subprocess.run([sys.executable, "-m", "tests.schedules", *words], check=False).returncode == 0
            )
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
