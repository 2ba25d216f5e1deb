"""``hansaudit serve``: the audit on a schedule."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.arguments import (
    Address,
    Configuration,
    Cron,
    DatedOut,
    DeploymentName,
    Keep,
    Policy,
    Timezone,
    Unsafe,
)
from flows.commands import examples


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        no_args_is_help=True,
        epilog=examples(
            'serve --cron "0 3 * * *" --config audit.toml',
            'serve --cron "0 3 * * *" --config audit.toml --policy gate.toml --then ./tell.sh --keep 30',
            'serve --cron "0 3 * * 1" --timezone Europe/Berlin --config audit.toml --out "runs/week-{date}"',
        ),
    )(serve)


def serve(
    cron: Cron,
    config: Configuration,
    out: DatedOut = "runs/{date}",
    policy: Policy = "",
    then: Annotated[
        str,
        typer.Option(help="Command after each run, also a failed one; HANSAUDIT_RUN, _GATE, ... say which."),
    ] = "",
    keep: Keep = 0,
    address: Address = None,
    timezone: Timezone = "UTC",
    name: DeploymentName = "hansaudit",
    unsafe: Unsafe = False,
) -> None:
    """Serve the audit on a schedule, on this machine, until interrupted.

    The configuration is tried out first: dataset, model and methods must open.
    """
    from flows.nightly import Night
    from flows.options import named_here, trust
    from flows.schedule import Schedule
    from flows.serving import serve_audit
    from pipeline.config import load_config

    schedule = Schedule(cron, timezone, name)
    named = named_here(load_config(config), address)
    serve_audit(named, Night(out, policy, keep), schedule, trust(unsafe), then)
