"""``hansaudit serve``: the audit on a schedule."""

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
            'serve --cron "0 3 * * *" --config audit.toml',
            'serve --cron "0 3 * * *" --config audit.toml --policy gate.toml --then ./tell.sh --keep 30',
            'serve --cron "0 3 * * 1" --timezone Europe/Berlin --config audit.toml --out "runs/week-{date}"',
        ),
    )(serve)


def serve(
    cron: Annotated[str, typer.Option(help='When: five fields of cron, e.g. "0 3 * * *".')],
    config: Annotated[str, typer.Option(help="TOML configuration of the audit.")],
    out: Annotated[
        str, typer.Option(help="Run folder; {date} becomes the day (UTC). An unfinished one is resumed.")
    ] = "runs/{date}",
    policy: Annotated[
        str, typer.Option(help="Gate each run by this policy (TOML), against the run before.")
    ] = "",
    then: Annotated[
        str,
        typer.Option(help="Command after each run, also a failed one; HANSAUDIT_RUN, _GATE, ... say which."),
    ] = "",
    keep: Annotated[int, typer.Option(help="Remove all but the newest N run folders; 0: none.", min=0)] = 0,
    address: Annotated[
        str | None, typer.Option(help="The cluster that the configuration names: a file alone cannot.")
    ] = None,
    timezone: Annotated[str, typer.Option(help="Time zone of the schedule.")] = "UTC",
    name: Annotated[str, typer.Option(help="Name of the deployment in Prefect.")] = "hansaudit",
    unsafe: Annotated[bool, typer.Option("--unsafe", help=UNSAFE)] = False,
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
