"""Waiting for a schedule's next run, and ending when told so: the part of `serve` that runs in a loop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from flows.settings import prepare_prefect

prepare_prefect()

from prefect.flows import EntrypointType  # noqa: E402 - its settings are read at import
from prefect.runner import Runner  # noqa: E402
from prefect.schedules import Cron  # noqa: E402

from flows import taking_back, terminal  # noqa: E402
from flows.crashes import Crashes  # noqa: E402
from flows.lifeline import be_followed  # noqa: E402
from flows.run import audit_flow  # noqa: E402
from flows.schedule import Schedule, next_run  # noqa: E402

_LOOK = timedelta(minutes=1)  # between two looks at the clock, which may be set meanwhile


class AuditRunner(Runner):
    """Prefect's runner of the audit; a signal ends it as cancelling ends any task.

    Prefect's own way with SIGTERM forgets to await its coroutine, and ends the process from inside a signal.
    """

    _waiting: asyncio.Task[None] | None = None

    async def serve(self, schedule: Schedule) -> None:
        """Run what is due, until a signal comes."""
        self._waiting = asyncio.create_task(self.start())
        beside = [asyncio.create_task(_tell_next(schedule)), asyncio.create_task(_look_back(schedule))]
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self.handle_sigterm)
        try:
            with suppress(asyncio.CancelledError):
                await self._waiting
        finally:
            for task in beside:
                task.cancel()

    def handle_sigterm(self, *args: Any, **kwargs: Any) -> None:
        """Called by Prefect's signal handler, and by the loop."""
        if self._waiting is not None:
            self._waiting.get_loop().call_soon_threadsafe(self._waiting.cancel)


def serve(parameters: Mapping[str, Any], schedule: Schedule) -> None:
    """Deploy the audit and run it when it is due, until a signal comes."""
    be_followed()
    runner = AuditRunner(name=schedule.name, limit=1)  # two audits at once would only share the machine
    runner.add_flow(
        audit_flow,
        name=schedule.name,
        schedule=Cron(schedule.cron, timezone=schedule.timezone),
        parameters=dict(parameters),
        description="hansaudit: audit, ranking and report",
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    asyncio.run(runner.serve(schedule))
    terminal.console.print("serving ended")


async def _tell_next(schedule: Schedule) -> None:
    """Say when the next run is due, again after each."""
    while True:
        due = next_run(schedule, datetime.now(UTC))
        terminal.console.print(
            f"serving {schedule.name!r}: next run {due:%Y-%m-%d %H:%M} {schedule.timezone}; Ctrl-C ends it",
            markup=False,
            soft_wrap=True,
        )
        while (left := due - datetime.now(UTC)) > timedelta(0):
            await asyncio.sleep(min(left, _LOOK).total_seconds())


async def _look_back(schedule: Schedule) -> None:
    """Put back what an earlier process had taken and never began, as soon as that is certain; tell of what
    crashed."""
    crashes = Crashes(terminal.print_line, deployment=schedule.name)
    while True:
        await asyncio.to_thread(taking_back.look, terminal.print_line, deployment=schedule.name)
        await asyncio.to_thread(crashes.look)
        await asyncio.sleep(taking_back.LOOK)
