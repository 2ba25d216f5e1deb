"""The audit on a schedule, served by this machine.

With ``PREFECT_API_URL`` the deployment goes to that server. Without one a local server is started for as long
as this process serves: the temporary server of single runs has no scheduler.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from string import Formatter
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flows.server import scheduling_server
from flows.settings import load_tensorflow
from pipeline.config import Config, ConfigError, parse_config
from pipeline.errors import InputError
from pipeline.trust import NOTHING, Trust


@dataclass(frozen=True)
class Schedule:
    """When a served audit runs: five fields of cron in a time zone; ``name`` of the deployment."""

    cron: str
    timezone: str = "UTC"
    name: str = "hansaudit"


def serve_audit(config: Config, out: str, schedule: Schedule, trust: Trust = NOTHING) -> None:
    """Try the configuration out, then serve it until interrupted, which is no failure.

    ``trust``: what its runs may execute for the model; it goes with the deployment.

    Raises:
        ConfigError, InputError: the schedule or something in the configuration cannot be used; nothing is
            served then.
    """
    check_schedule(out, schedule)
    trust.check(config.model)
    try_out(config, trust)
    with scheduling_server():
        from prefect.flows import EntrypointType
        from prefect.schedules import Cron

        from flows.run import audit_flow

        try:
            audit_flow.serve(
                name=schedule.name,
                schedule=Cron(schedule.cron, timezone=schedule.timezone),
                parameters={"config": config.model_dump(mode="json"), "out": out, "trust": trust.to_dict()},
                description="hansaudit: audit, ranking and report",
                limit=1,  # two audits at once would only share the machine
                entrypoint_type=EntrypointType.MODULE_PATH,
            )
        except* KeyboardInterrupt:
            pass  # how serving ends


def check_schedule(out: str, schedule: Schedule) -> None:
    """Refuse what could never run. Raises :class:`ConfigError`."""
    from cronsim import CronSim, CronSimError  # a dependency of Prefect, which reads the same dialect

    fields = schedule.cron.split()
    try:
        if len(fields) != 5:
            raise CronSimError(f"{len(fields)} fields")
        CronSim(schedule.cron, _midnight())
    except CronSimError as error:
        raise ConfigError(
            f'cron {schedule.cron!r}: {error}; expected minute, hour, day, month, weekday, e.g. "0 3 * * *"'
        ) from None
    try:
        ZoneInfo(schedule.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        raise ConfigError(f"time zone {schedule.timezone!r} is unknown; e.g. UTC or Europe/Berlin") from None
    unknown = [name for _, name, _, _ in Formatter().parse(out) if name not in (None, "date")]
    if unknown:
        raise ConfigError(f"out {out!r}: unknown place holder {{{unknown[0]}}}; valid: {{date}}")


def try_out(config: Config, trust: Trust) -> None:
    """Open dataset, model and methods in a process of its own, whose memory is given back."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pool.submit(_open, config.model_dump(mode="json"), trust).result()


def _open(config: dict, trust: Trust) -> None:
    load_tensorflow()
    from pipeline.measure.bench import bench_for

    try:
        bench_for(parse_config(config), trust)
    except ValueError as error:  # ExplainError's own constructors do not survive the way between processes
        if type(error).__name__ in ("ConfigError", "InputError"):
            raise
        raise InputError(str(error)) from None


def _midnight() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
