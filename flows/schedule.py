"""When a served audit runs: checked before anything is served, and the moment of the next run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from string import Formatter
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipeline.config import ConfigError
from pipeline.urls import refuse_url


@dataclass(frozen=True)
class Schedule:
    """When a served audit runs: five fields of cron in a time zone; ``name`` of the deployment."""

    cron: str
    timezone: str = "UTC"
    name: str = "hansaudit"


def check_schedule(out: str, schedule: Schedule) -> None:
    """Refuse what could never run, and credentials in ``out``, which a server would keep.

    Raises:
        InputError: what is wrong, and what is valid.
    """
    from cronsim import CronSim, CronSimError  # a dependency of Prefect, which reads the same dialect

    fields = schedule.cron.split()
    try:
        if len(fields) != 5:
            raise CronSimError(f"{len(fields)} fields")
        CronSim(schedule.cron, datetime.now(UTC))
    except CronSimError as error:
        raise ConfigError(
            f'cron {schedule.cron!r}: {error}; expected minute, hour, day, month, weekday, e.g. "0 3 * * *"'
        ) from None
    try:
        next_run(schedule, datetime.now(UTC))
    except (ZoneInfoNotFoundError, ValueError):
        raise ConfigError(f"time zone {schedule.timezone!r} is unknown; e.g. UTC or Europe/Berlin") from None
    refuse_url(out)
    unknown = [name for _, name, _, _ in Formatter().parse(out) if name not in (None, "date")]
    if unknown:
        raise ConfigError(f"out {out!r}: unknown place holder {{{unknown[0]}}}; valid: {{date}}")


def next_run(schedule: Schedule, after: datetime) -> datetime:
    """When ``schedule`` is due next, in its own time zone; ``after`` knows its own."""
    from cronsim import CronSim

    return next(CronSim(schedule.cron, after.astimezone(ZoneInfo(schedule.timezone))))
