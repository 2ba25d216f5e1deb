"""``hansaudit confirm``: interventions on the images of suspicious classes."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands import examples

Run = Annotated[str, typer.Argument(help="Run folder that `hansaudit run` wrote.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        no_args_is_help=True,
        epilog=examples(
            "confirm runs/squeezenet", "confirm runs/squeezenet --top 20 --controls 20 --images 50"
        ),
    )(confirm)


def confirm(
    run: Run,
    top: Annotated[int, typer.Option(help="Classes from the top of the ranking.", min=1)] = 10,
    controls: Annotated[int, typer.Option(help="Random other classes to compare with.", min=0)] = 10,
    images: Annotated[int, typer.Option(help="Images per class, a seeded choice.", min=2)] = 25,
    pairs: Annotated[int, typer.Option(help="Pairs of exchanged backgrounds per image.", min=1)] = 3,
    seed: Annotated[int, typer.Option(help="Seed of all choices.")] = 0,
) -> None:
    """Ask the network itself: remove the object, exchange the background, and see whether the class stays.

    Verdicts: confirmed (the maps and the network agree that the evidence lies beside the object), hidden
    (only the network says so), attribution_only (only the maps), clean, undecided. Writes confirm.json and
    confirm.parquet into the run; re-reads only the images it needs.
    """
    from rich.progress import Progress

    from flows import terminal
    from pipeline.confirm import Plan, confirm
    from pipeline.store import Store

    with Progress(console=terminal.console, transient=True) as progress:
        task = progress.add_task("images edited and evaluated", total=None)
        result = confirm(
            Store(run),
            Plan(top, controls, images, pairs, seed),
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    rows = []
    for label, one in result.judgements.items():
        shown = [one.effects[name] for name in ("sufficiency", "necessity", "drop_removed")]
        cells = [f"{e.mean:+.2f} [{e.low:+.2f}, {e.high:+.2f}]" if e.n else "-" for e in shown]
        verdict = one.verdict + (f" (needs {one.needed} images)" if one.needed else "")
        rows.append((result.class_names[label], result.roles[label], verdict, *cells))
    heads = ("role", "verdict", "background alone", "background beside the object", "drop without the object")
    terminal.print_list("class", rows, heads)
    terminal.console.print(
        f"written: {run}/confirm.json, {run}/confirm.parquet", markup=False, soft_wrap=True
    )
