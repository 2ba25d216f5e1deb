"""``hansaudit deploy``: the audit on the schedule of a Prefect server."""

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
            'deploy --cron "0 3 * * *" --config audit.toml',
            'deploy --cron "0 3 * * *" --config audit.toml --policy gate.toml --keep 30 --pool gpu',
        ),
    )(deploy)


def deploy(
    cron: Cron,
    config: Configuration,
    out: DatedOut = "runs/{date}",
    policy: Policy = "",
    keep: Keep = 0,
    address: Address = None,
    timezone: Timezone = "UTC",
    name: DeploymentName = "hansaudit",
    pool: Annotated[str, typer.Option(help="Work pool of type process; made if missing.")] = "hansaudit",
    file: Annotated[str, typer.Option(help="Where the deployment is written down.")] = "prefect.yaml",
    unsafe: Unsafe = False,
) -> None:
    """Deploy the audit to the Prefect server of PREFECT_API_URL, whose workers run it when it is due.

    The configuration is tried out first: dataset, model and methods must open. Runs happen in the folder in
    which this command is called.
    """
    from datetime import UTC, datetime

    from flows import terminal
    from flows.deploying import SEEN, Place, deploy_audit
    from flows.nightly import Night
    from flows.options import named_here, trust
    from flows.schedule import Schedule, next_run
    from pipeline.config import load_config

    schedule = Schedule(cron, timezone, name)
    named = named_here(load_config(config), address)
    deploy_audit(named, Night(out, policy, keep), schedule, Place(pool, file), trust(unsafe))
    due = next_run(schedule, datetime.now(UTC) + SEEN)
    terminal.console.print(
        f"deployed {name!r}, written down in {file}: next run {due:%Y-%m-%d %H:%M} {timezone}\n"
        f"it runs where a worker waits: hansaudit worker --pool {pool}",
        markup=False,
        soft_wrap=True,
    )
