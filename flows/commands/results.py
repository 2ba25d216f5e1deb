"""``hansaudit rank``, ``report`` and ``gate``: they read the tables of a run, and load TensorFlow only for
``report --visualize``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.arguments import MovedBoxes, MovedCard, MovedDataset, MovedModel, Run, Unsafe
from flows.commands import examples

if TYPE_CHECKING:
    from pipeline.measure.beforehand import Moved
    from pipeline.statistics.ranking import Ranking


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        no_args_is_help=True,
        epilog=examples(
            "rank runs/squeezenet", "rank runs/squeezenet --method gradient --images all --top 30"
        ),
    )(rank)
    app.command(
        no_args_is_help=True,
        epilog=examples(
            "report runs/squeezenet",
            "report runs/tonight --baseline runs/last --decisions ci/decisions.toml",
            "report runs/squeezenet --method gradient --out gradient.html",
            "report runs/imagenet --folder pages",
            "report runs/squeezenet --visualize",
        ),
    )(report)
    app.command(
        no_args_is_help=True,
        epilog=examples(
            "gate runs/nightly --policy gate.toml",
            "gate runs/nightly --policy gate.toml --junit gate.xml --markdown gate.md",
            "gate runs/tonight --policy gate.toml --baseline runs/last",
        ),
    )(gate)


def rank(
    run: Run,
    method: Annotated[str | None, typer.Option(help="Explanation method; default the run's.")] = None,
    images: Annotated[str | None, typer.Option(help="Images that count: correct or all.")] = None,
    fdr: Annotated[str | None, typer.Option(help="False discovery rate: bh or by.")] = None,
    draws: Annotated[int | None, typer.Option(help="Draws of the absolute test.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of these draws.")] = None,
    top: Annotated[int, typer.Option(help="Classes to print.", min=1)] = 15,
) -> None:
    """Rank the classes of a run again, from its tables; writes ranking.csv and ranking.json.

    With options other than the run's own settings it writes beside them, under a name that says what differs.
    """
    from flows import terminal
    from flows.report import changed_settings, files_of, rank_run
    from pipeline.run.documents import GroupsDocument, ReferenceDocument
    from pipeline.run.folder import RunFolder
    from pipeline.run.store import Store

    options = {"method": method, "images": images, "fdr": fdr, "draws": draws, "seed": seed}
    settings = changed_settings(run, options)
    with Store(run).lock_existing():
        ranking = rank_run(run, settings)
    terminal.print_ranking(ranking, top, files_of(RunFolder(run), ranking).table)
    terminal.print_unboxed(ranking, run)
    terminal.print_groups(GroupsDocument.current(RunFolder(run)))
    terminal.print_reference(ReferenceDocument.current(RunFolder(run)), ranking)
    _print_written(run, ranking)


def report(
    run: Run,
    out: Annotated[str | None, typer.Option(help="HTML file; default a report.html in the run.")] = None,
    folder: Annotated[
        str | None,
        typer.Option(help="Write a folder instead: index.html, and a page per class with all its images."),
    ] = None,
    method: Annotated[str | None, typer.Option(help="Explanation method; default the run's.")] = None,
    images: Annotated[str | None, typer.Option(help="Images that count: correct or all.")] = None,
    decisions: Annotated[
        str | None,
        typer.Option(
            help="Show what people decided: a decisions.toml (docs/gate.md); default the configuration's."
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="Show what changed since this run on the same images; default the configuration's."
        ),
    ] = None,
    visualize: Annotated[
        bool,
        typer.Option(
            "--visualize", help="Draw what the network wants of the confirmed classes, once; needs the model."
        ),
    ] = False,
    dataset: MovedDataset = "",
    annotations: MovedBoxes = "",
    model: MovedModel = "",
    card: MovedCard = "",
    unsafe: Unsafe = False,
) -> None:
    """Write the self-contained HTML report of a run again, from its tables.

    With options other than the run's own settings, report and ranking lie beside the run's own. A baseline
    that cannot be compared is refused: what differs is said.
    """
    from flows import terminal
    from flows.beside import read_beside
    from flows.report import changed_settings, rank_run, write_report_file
    from pipeline.errors import InputError
    from pipeline.measure.beforehand import Moved
    from pipeline.run.store import Store
    from reports.page.folder import write_folder

    if out is not None and folder is not None:
        raise InputError(f"--out {out} and --folder {folder}: give one; a report is a file or a folder")
    moved = Moved(dataset, annotations, model, card)
    if (moved != Moved() or unsafe) and not visualize:
        raise InputError(
            "--dataset, --annotations, --model, --card and --unsafe: only --visualize reads them"
        )
    settings = changed_settings(run, {"method": method, "images": images})
    with Store(run).lock_existing():
        ranking = rank_run(run, settings)
        beside = read_beside(run, ranking, decisions, baseline)
        if visualize:
            _visualize(run, ranking, moved, unsafe)
        if folder is None:
            path = write_report_file(run, ranking, out, beside)
        else:
            path = str(write_folder(run, ranking, folder, beside))
    _print_written(run, ranking)
    terminal.print_path("report", path)


def _visualize(run: str, ranking: Ranking, moved: Moved, unsafe: bool) -> None:
    from flows import options, terminal
    from flows.visualizing import MOST, visualize_confirmed

    confirmed, drawn = visualize_confirmed(run, ranking, moved, options.trust(unsafe, moved.model))
    if not confirmed:
        terminal.print_line("no class is confirmed, so there is nothing to draw")
        return
    shown = min(confirmed, MOST)
    before = ", the others before" if drawn < shown else ""
    more = f"; of {confirmed}, the first {MOST} by rank" if confirmed > MOST else ""
    terminal.print_line(f"drawn: {drawn} of {shown} confirmed classes{before}{more}")


def _print_written(run: str, ranking: Ranking) -> None:
    """Where a ranking was written, and why not in the place of the run's own, if so."""
    from flows import terminal
    from flows.report import files_of
    from pipeline.run.folder import RANKING, RunFolder

    folder = RunFolder(run)
    files = files_of(folder, ranking)
    beside = "" if files.document == RANKING else f"; the run's own {RANKING} stays as it is"
    written = f"written: {run}/{files.table}, {run}/{files.document}{beside}"
    terminal.print_line(written)


def gate(
    run: Run,
    policy: Annotated[
        str, typer.Option(help="Policy (TOML): thresholds on metrics and ranking statistics (docs/gate.md).")
    ],
    baseline: Annotated[
        str, typer.Option(help="Run to compare with, on the same images; default the policy's.")
    ] = "",
    junit: Annotated[str | None, typer.Option(help="Write the checks as JUnit XML.")] = None,
    markdown: Annotated[
        str | None,
        typer.Option(
            help="Write them as Markdown; also appended to $GITHUB_STEP_SUMMARY, where that is set."
        ),
    ] = None,
    as_json: Annotated[str | None, typer.Option("--json", help="Write them as JSON.")] = None,
    sarif: Annotated[str | None, typer.Option(help="Write what does not pass as SARIF.")] = None,
) -> None:
    """Check a run against a policy: pass (exit code 0), fail (1) or inconclusive (4, by default).

    Inconclusive: an interval crosses the threshold, classes are not tested, the run is unfinished, data is
    missing. Names the classes, their numbers, and what to do next; docs/gate.md.
    """
    from flows import terminal
    from flows.exit_codes import ExitCode
    from reports.gate.evaluate import evaluate
    from reports.gate.outputs import write_outputs
    from reports.gate.state import State

    outcome = evaluate(run, policy, baseline=baseline)
    write_outputs(outcome, {"junit": junit, "markdown": markdown, "json": as_json, "sarif": sarif})
    terminal.print_outcome(outcome)
    codes = {
        State.PASS: ExitCode.DONE,
        State.FAIL: ExitCode.BREACH,
        State.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    }
    if code := codes[outcome.counts_as]:
        raise typer.Exit(code)
