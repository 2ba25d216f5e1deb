"""Runs that a worker took and never began, since it was killed in between, are put back to be taken again.

A worker marks what it takes as pending, then starts it. One that dies between the two leaves a run that
nobody starts and nobody takes. Only its age tells it from one that is just starting, so the patience is many
times what a start takes. Should one begin after all, two never write one folder: it is locked.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from flows.crashes import Crashes, chosen
from flows.settings import prepare_prefect

PATIENCE: Final = timedelta(minutes=10)
LOOK: Final = 60.0  # seconds between two looks, while something waits for runs
_WHY: Final = "a worker took it and never began it"
_LIFELINE = Path(__file__).with_name("lifeline.py")
Say = Callable[[str], None]  # a line for whoever watches


def take_back(pool: str = "", deployment: str = "", now: datetime | None = None) -> list[str]:
    """Put back what has been pending for :data:`PATIENCE` of a work ``pool``, or of a ``deployment``.

    ``now``: what ages are told by; the clock if None. Returns the names of the runs.

    Raises:
        httpx.HTTPError: the server does not answer.
    """
    prepare_prefect()
    from prefect.client.orchestration import get_client
    from prefect.states import Scheduled, State

    now = now or datetime.now(UTC)
    taken: list[str] = []
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(**chosen("PENDING", pool, deployment)):
            if run.state is None or now - run.state.timestamp < PATIENCE:
                continue
            again: State = Scheduled(scheduled_time=datetime.now(UTC), message=_WHY)
            if client.set_flow_run_state(run.id, again).status.value == "ACCEPT":
                taken.append(run.name)
    return taken


def look(say: Say, pool: str = "", deployment: str = "") -> None:
    """:func:`take_back`, and say so; a server that is away is asked again the next time."""
    import httpx

    try:
        taken = take_back(pool, deployment)
    except httpx.HTTPError:
        return
    for name in taken:
        say(f"run {name!r} was taken by a worker that never began it; it is due again")


def work(pool: str, say: Say) -> int:
    """Carry out what is due in ``pool`` by Prefect's worker, until that ends; its exit code.

    Raises:
        InputError: no server is configured, or it does not answer.
    """
    from flows.server import require_server

    require_server()
    begin = ["prefect", "worker", "start", "--pool", pool, "--type", "process"]
    # the worker ends by an interrupt, which a process that a script starts with `&` is born deaf to
    usual = {signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler)}
    worker = subprocess.Popen(
        [sys.executable, "-P", str(_LIFELINE), str(os.getpid()), *begin], stdin=subprocess.PIPE
    )
    crashes = Crashes(say, pool)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from now on a terminal's reaches the worker as well
    usual[signal.SIGTERM] = signal.signal(signal.SIGTERM, lambda *_: worker.terminate())
    try:
        while True:
            look(say, pool)
            crashes.look()
            with suppress(subprocess.TimeoutExpired):
                return worker.wait(LOOK)
    finally:
        for number, answer in usual.items():
            signal.signal(number, answer)
