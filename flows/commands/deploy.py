"""``hansaudit deploy``: the audit on the schedule of a Prefect server."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands import examples
from flows.options import UNSAFE


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
    cron: Annotated[str, typer.Option(help='When: five fields of cron, e.g. "0 3 * * *".')],
    config: Annotated[str, typer.Option(help="TOML configuration of the audit.")],
    out: Annotated[
        str, typer.Option(help="Run folder; {date} becomes the day (UTC). An unfinished one is resumed.")
    ] = "runs/{date}",
    policy: Annotated[
        str, typer.Option(help="Gate each run by this policy (TOML), against the run before.")
    ] = "",
    keep: Annotated[int, typer.Option(help="Remove all but the newest N run folders; 0: none.", min=0)] = 0,
    address: Annotated[
        str | None, typer.Option(help="The cluster that the configuration names: a file alone cannot.")
    ] = None,
    timezone: Annotated[str, typer.Option(help="Time zone of the schedule.")] = "UTC",
    name: Annotated[str, typer.Option(help="Name of the deployment in Prefect.")] = "hansaudit",
    pool: Annotated[str, typer.Option(help="Work pool of type process; made if missing.")] = "hansaudit",
    file: Annotated[str, typer.Option(help="Where the deployment is written down.")] = "prefect.yaml",
    unsafe: Annotated[bool, typer.Option("--unsafe", help=UNSAFE)] = False,
) -> None:
    """Deploy the audit to the Prefect server of PREFECT_API_URL, whose workers run it when it is due.

    The configuration is tried out first: dataset, model and methods must open. Runs happen in the folder in
    which this command is called.
    """
    from datetime import UTC, datetime

    from flows import terminal
    from flows.deploying import Place, deploy_audit
    from flows.nightly import Night
    from flows.options import named_here, trust
    from flows.schedule import Schedule, next_run
    from pipeline.config import load_config

    schedule = Schedule(cron, timezone, name)
    named = named_here(load_config(config), address)
    deploy_audit(named, Night(out, policy, keep), schedule, Place(pool, file), trust(unsafe))
    due = next_run(schedule, datetime.now(UTC))
    terminal.console.print(
        f"deployed {name!r}, written down in {file}: next run {due:%Y-%m-%d %H:%M} {timezone}\n"
        f"it runs where a worker waits: prefect worker start --pool {pool}",
        markup=False,
        soft_wrap=True,
    )
