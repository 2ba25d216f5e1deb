"""``hansaudit rank-methods``: which explanation method describes the model best."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flows.commands import examples

Run = Annotated[str, typer.Argument(help="Run folder with perturbation curves.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        name="rank-methods",
        no_args_is_help=True,
        epilog=examples("rank-methods runs/methods", "rank-methods runs/methods --metric insertion_auc"),
    )(rank_methods)


def rank_methods(
    run: Run,
    metric: Annotated[
        str, typer.Option(help="aopc_gap, aopc_morf_random, aopc_morf, deletion_auc, insertion_auc, ...")
    ] = "aopc_gap",
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
) -> None:
    """Rank the methods of a run by their perturbation curves, with paired intervals over the same images.

    The run must have curves: give it several methods and a [perturbation] section. Writes methods.json.
    """
    from flows import terminal
    from pipeline.run.documents import records
    from pipeline.run.folder import METHODS
    from pipeline.run.store import Store
    from pipeline.statistics.method_ranking import rank_methods

    store = Store(run)
    with store.lock_existing():
        ranking = rank_methods(store, metric, seed)
    rows = [
        (
            row["method"],
            "{mean:+.4f} [{low:+.4f}, {high:+.4f}]".format(**row),
            "best" if place == 0 else "{behind:.4f} [{behind_low:+.4f}, {behind_high:+.4f}]".format(**row),
            ", ".join(_remarks(row, place)),
        )
        for place, row in enumerate(records(ranking.table))
    ]
    terminal.print_list("method", rows, (ranking.metric, "behind the best (paired)", ""))
    terminal.print_line(
        f"{ranking.n} images; {ranking.left_out} left out for want of a value. written: {run}/{METHODS}"
    )


def _remarks(row: dict[str, Any], place: int) -> list[str]:
    """What is to be said about a method besides its numbers."""
    from pipeline.run.documents import FAILURES

    remarks = {
        "tied with the best": row["tied"] and place > 0,
        FAILURES["insensitive"]: row["insensitive"],
    }
    return [text for text, holds in remarks.items() if holds]
