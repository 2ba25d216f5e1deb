"""``hansaudit history``: the course of every class over many runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands import examples

if TYPE_CHECKING:
    from reports.history.course import History


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        no_args_is_help=True,
        epilog=examples(
            "history runs/2027-03-* --html history.html",
            "history runs/epoch-5 runs/epoch-10 runs/epoch-20 --order given --csv history.csv",
            "history runs/* --decisions decisions.toml --html history.html --parquet history.pq",
        ),
    )(history)


def history(
    runs: Annotated[list[str], typer.Argument(help="Run folders, two or more.", show_default=False)],
    order: Annotated[
        str, typer.Option(help="Order of the runs: dates (when they began) or given (as named here).")
    ] = "dates",
    decisions: Annotated[
        str | None, typer.Option(help="Show what people decided: a decisions.toml (docs/gate.md).")
    ] = None,
    top: Annotated[int, typer.Option(help="Classes to print.", min=1)] = 20,
    html: Annotated[str | None, typer.Option(help="Write a self-contained page.")] = None,
    csv: Annotated[str | None, typer.Option(help="Write a row per run, class and figure as CSV.")] = None,
    parquet: Annotated[str | None, typer.Option(help="Write the same rows as Parquet.")] = None,
) -> None:
    """Follow every class over nights or epochs: verdict, effect, adjusted lift, accuracy, background gap.

    Classes that are accused, and those that changed most, come first. Classes are matched by the dataset's
    id; what makes the runs differ is said, and figures that a run does not have stay empty.
    """
    from reports.decisions.file import load_decisions
    from reports.gate.outcome import write
    from reports.history.course import history_of
    from reports.history.page import history_page
    from reports.history.reading import read_runs
    from reports.history.tables import history_csv, write_parquet

    waivers = load_decisions(decisions) if decisions else ()
    course = history_of(read_runs(runs, order))
    if html:
        write(html, history_page(course, waivers))
    if csv:
        write(csv, history_csv(course))
    if parquet:
        write_parquet(course, parquet)
    _print(course, top)


def _print(history: History, top: int) -> None:
    from flows import terminal

    changed = [course for course in history.classes if not course.is_quiet]
    rows = [
        (
            terminal.class_name(course.name),
            " > ".join(verdict.words for verdict in course.path),
            *(_signed(course.change(name)) for name in ("effect", "adjusted_lift", "accuracy")),
        )
        for course in changed[:top]
    ]
    if rows:
        others = ("verdicts", "effect", "adjusted lift", "accuracy")
        terminal.print_list("class, first to last run", rows, others, others[1:])
    if len(changed) > top:
        terminal.print_line(f"... and {len(changed) - top} more classes that were accused, or changed")
    for note in history.notes:
        terminal.print_line(f"note: {note}")
    terminal.print_line(history.headline)


def _signed(change: float) -> str:
    text = f"{change:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text
