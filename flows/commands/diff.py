"""``hansaudit diff``: what changed between two runs on the same images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands import examples

if TYPE_CHECKING:
    from pipeline.statistics.comparison import Comparison

Before = Annotated[str, typer.Argument(help="Run folder to compare with.", show_default=False)]
Now = Annotated[str, typer.Argument(help="Run folder that is compared.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        no_args_is_help=True,
        epilog=examples(
            "diff runs/last runs/tonight",
            "diff runs/epoch-10 runs/epoch-20 --html changes.html --csv changes.csv",
            "diff runs/today runs/today --baseline-method lrp.preset_a --method gradient",
        ),
    )(diff)


def diff(
    baseline: Before,
    run: Now,
    method: Annotated[str, typer.Option(help="Explanation method of RUN; default the one it ranks by.")] = "",
    baseline_method: Annotated[str, typer.Option(help="The same for BASELINE; default METHOD.")] = "",
    top: Annotated[int, typer.Option(help="Changed classes to print.", min=1)] = 30,
    csv: Annotated[str | None, typer.Option(help="Write all classes as CSV.")] = None,
    as_json: Annotated[str | None, typer.Option("--json", help="Write everything as JSON.")] = None,
    figure: Annotated[str | None, typer.Option(help="Write the figure (SVG).")] = None,
    html: Annotated[str | None, typer.Option(help="Write a self-contained page.")] = None,
) -> None:
    """Compare two runs class by class on the images that both use: two models, epochs, nights or methods.

    Says which classes are new, worse, better, gone or unchanged, with intervals and the false discovery rate
    controlled. Refuses runs that cannot be compared (other images, geometry, method) and says what differs.
    """
    from reports.changes import page, tables
    from reports.gate.outcome import write

    comparison = _compare(baseline, run, method, baseline_method)
    outputs = (
        (csv, tables.changes_csv),
        (as_json, tables.changes_json),
        (figure, page.changes_figure),
        (html, page.changes_page),
    )
    for path, made in outputs:
        if path:
            write(path, made(comparison))
    _print(comparison, top)


def _compare(baseline: str, run: str, method: str, baseline_method: str) -> Comparison:
    from pipeline.run.ranking_settings import ranking_method
    from reports.gate.gated_run import GatedRun, compare_runs

    before, now = GatedRun(baseline), GatedRun(run)
    before.refuse_faulty()
    now.refuse_faulty()
    methods = None
    if method or baseline_method:
        named = method or ranking_method(now.manifest)
        methods = (baseline_method or method, named)
    return compare_runs(now, before, methods)


def _print(comparison: Comparison, top: int) -> None:
    from flows import terminal
    from reports.changes import tables

    changed = tables.changed(comparison)
    rows = [
        (terminal.class_name(row.class_name), row.change.words, *tables.row_words(row))
        for row in changed[:top]
    ]
    if rows:
        terminal.print_list("class", rows, ("change", "verdict", "adjusted lift", "effect"), ("change",))
    if len(changed) > top:
        terminal.print_line(f"... and {len(changed) - top} more classes")
    terminal.print_line(tables.headline(comparison))
    terminal.print_line(tables.about(comparison))
