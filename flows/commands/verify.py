"""``hansaudit verify``: is a run folder what was written?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.arguments import Run
from flows.commands import examples

if TYPE_CHECKING:
    from pipeline.run.verify import Verification


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        no_args_is_help=True,
        epilog=examples("verify runs/squeezenet", "verify runs/squeezenet --repair"),
    )(verify)


def verify(
    run: Run,
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove what is at fault, so that the next run makes it anew.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Check every file of a run against what was written; exit code 1 when something is at fault."""
    from flows.exit_codes import ExitCode
    from pipeline.run import verify as verifying
    from pipeline.run.store import Store

    store = Store(run)
    verification = verifying.verify(store)
    if repair:
        verifying.repair(store, verification)
    if as_json:
        typer.echo(verifying.as_json(verification))
    else:
        _print(verification, verifying.advice(store, verification, repair))
    if verification.faults:
        raise typer.Exit(ExitCode.BREACH)


def _print(verification: Verification, advice: list[str]) -> None:
    """The faults, a line each, and what to do about them."""
    from flows import terminal
    from pipeline.errors import plain

    finished, planned = verification.shards
    lines = [str(fault) for fault in verification.faults]
    lines += [f"shard to drop: {key}" for key in verification.shards_to_drop]
    lines += [*advice, *verification.lacking]
    ending = f"{len(verification.faults)} faults" if verification.faults else "no fault"
    lines.append(f"{ending}; {finished} of {planned} planned shards are finished")
    for line in lines:
        terminal.console.print(plain(line), markup=False, soft_wrap=True)
