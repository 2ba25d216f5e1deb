"""``hansaudit rank``, ``report`` and ``gate``: they read the tables of a run and never load TensorFlow."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands import examples

Run = Annotated[str, typer.Argument(help="Run folder that `hansaudit run` wrote.", show_default=False)]


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
            "report runs/squeezenet", "report runs/squeezenet --method gradient --out gradient.html"
        ),
    )(report)
    app.command(
        no_args_is_help=True,
        epilog=examples(
            "gate runs/nightly --policy gate.toml",
            "gate runs/nightly --policy gate.toml --junit gate.xml --markdown gate.md",
        ),
    )(gate)


def rank(
    run: Run,
    method: Annotated[str | None, typer.Option(help="Explanation method; default the run's first.")] = None,
    images: Annotated[str | None, typer.Option(help="Images that count: correct or all.")] = None,
    fdr: Annotated[str | None, typer.Option(help="False discovery rate: bh or by.")] = None,
    draws: Annotated[int | None, typer.Option(help="Bootstrap and permutation draws.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the resampling.")] = None,
    top: Annotated[int, typer.Option(help="Classes to print.", min=1)] = 15,
) -> None:
    """Rank the classes of a run again, from its tables; writes ranking.csv and ranking.json."""
    from flows import terminal
    from flows.report import rank_run

    ranking = rank_run(
        run, _ranking_config(run, method=method, images=images, fdr=fdr, draws=draws, seed=seed)
    )
    terminal.print_ranking(ranking, top)
    terminal.console.print(f"written: {run}/ranking.csv, {run}/ranking.json", markup=False, soft_wrap=True)


def report(
    run: Run,
    out: Annotated[str | None, typer.Option(help="HTML file; default report.html in the run.")] = None,
    method: Annotated[str | None, typer.Option(help="Explanation method; default the run's first.")] = None,
    images: Annotated[str | None, typer.Option(help="Images that count: correct or all.")] = None,
) -> None:
    """Write the self-contained HTML report of a run again, from its tables."""
    from flows import terminal
    from flows.report import rank_run, write_report_file

    ranking = rank_run(run, _ranking_config(run, method=method, images=images))
    path = write_report_file(run, ranking, out)
    terminal.print_path("report", path)


def gate(
    run: Run,
    policy: Annotated[str, typer.Option(help="Policy (TOML): thresholds on metrics and ranking statistics.")],
    junit: Annotated[str | None, typer.Option(help="Write the checks as JUnit XML.")] = None,
    markdown: Annotated[str | None, typer.Option(help="Write the checks as Markdown.")] = None,
) -> None:
    """Check a run against a policy; exit code 1 when it is breached, missing data included."""
    from flows import terminal
    from reports.gate import junit as as_junit
    from reports.gate import markdown as as_markdown
    from reports.gate.evaluate import evaluate
    from reports.gate.outcome import write

    outcome = evaluate(run, policy)
    if junit:
        write(junit, as_junit.junit_xml(outcome))
    if markdown:
        write(markdown, as_markdown.markdown(outcome))
    terminal.print_outcome(outcome)
    if not outcome.passed:
        raise typer.Exit(1)


def _ranking_config(run: str, **given: str | int | None):
    """The run's own ranking settings with the options laid over them."""
    from flows.report import stored_config
    from pipeline.config import parse_config

    stored = stored_config(run).model_dump()
    changed = {name: value for name, value in given.items() if value is not None}
    return parse_config({"ranking": stored | changed}, "options").ranking
