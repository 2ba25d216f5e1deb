"""``hansaudit status``: how far is a run? From another terminal, from its folder alone."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands import examples

Run = Annotated[str, typer.Argument(help="Run folder that `hansaudit run` writes.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        no_args_is_help=True, epilog=examples("status runs/squeezenet", "status runs/squeezenet --json")
    )(status)


def status(
    run: Run,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """How far a run is: shards, stages, rate, failed images, time left. It reads the run folder only."""
    from pipeline.errors import shown
    from pipeline.run.folder import RunFolder
    from pipeline.run.status import status_of

    state = status_of(RunFolder(run))
    typer.echo(state.to_json() if as_json else "\n".join(shown(line) for line in state.lines))
