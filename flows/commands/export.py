"""``hansaudit export``: a run for other tools."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.arguments import Run
from flows.commands import examples


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        no_args_is_help=True,
        epilog=examples(
            "export runs/squeezenet --to coco --out squeezenet-coco",
            "export runs/squeezenet --to duckdb --out squeezenet.sql",
            "export runs/squeezenet --to mlflow --out sqlite:///mlflow.db",
            "export runs/squeezenet --to virelay --out virelay-project",
        ),
    )(export)


def export(
    run: Run,
    to: Annotated[str, typer.Option(help="Format: arrays, coco, duckdb, mlflow or virelay.")],
    out: Annotated[str, typer.Option(help="Folder or file to write; of mlflow its tracking store.")],
) -> None:
    """Write a run for another tool, and say what to type there.

    arrays: pictures, maps and masks for Quantus. coco: pictures, boxes, verdicts and maps, for FiftyOne.
    duckdb: SQL views of the tables. mlflow: metrics, ranking and report. virelay: clusters of strategies.
    """
    from flows import terminal
    from pipeline.followup.exports import export as write
    from pipeline.run.store import Store

    terminal.print_line(f"{to}: {write(Store(run), to, out)}")
