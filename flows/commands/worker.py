"""``hansaudit worker``: carries out what a Prefect server has scheduled."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands import examples


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(epilog=examples("worker", "worker --pool gpu"))(worker)


def worker(
    pool: Annotated[str, typer.Option(help="Work pool that `hansaudit deploy` named.")] = "hansaudit",
) -> None:
    """Carry out, on this machine, the audits that `hansaudit deploy` has scheduled, until interrupted.

    It is Prefect's worker; beside it, runs that a killed worker had taken and not begun for ten minutes are
    put back, to be taken again.
    """
    from flows import terminal
    from flows.taking_back import work

    if code := work(pool, terminal.print_line):
        raise typer.Exit(code)
