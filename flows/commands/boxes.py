"""``hansaudit boxes``: the images on which boxes would decide most, as a CSV to fill."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.arguments import Run
from flows.commands import examples

if TYPE_CHECKING:
    from pipeline.followup.boxes import ClassToDraw
    from pipeline.run.store import Store


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        no_args_is_help=True,
        epilog=examples(
            "boxes runs/photos --top 5",
            "boxes runs/photos --class tench --images 30 --out tench.csv",
        ),
    )(boxes)


def boxes(
    run: Run,
    top: Annotated[int, typer.Option(help="Classes: those with the strongest hints.", min=1)] = 5,
    class_: Annotated[
        list[str] | None,
        typer.Option("--class", help="These classes instead: name, id or index. Repeatable."),
    ] = None,
    images: Annotated[int, typer.Option(help="Images of each class.", min=1)] = 12,
    out: Annotated[str, typer.Option(help="The CSV; beside it the next run's configuration.")] = "boxes.csv",
) -> None:
    """List the images on which boxes would decide most, in a CSV to fill: one row per image.

    Of classes that are not tested yet, those with the strongest hints; of each a dozen correctly classified
    images. Fill xmin, ymin, xmax and ymax, all or some rows, and run what the command prints.
    """
    from flows import terminal
    from pipeline.followup.boxes import classes_to_draw
    from pipeline.inputs.classes import find_class
    from pipeline.run.ranking_settings import own_settings
    from pipeline.run.store import Store
    from pipeline.statistics.ranking import rank

    store = Store(run)
    dataset = store.manifest["dataset"]
    labels = [find_class(text, dataset["class_names"], dataset["class_ids"]) for text in class_ or ()]
    ranking = rank(store, own_settings(store.manifest))
    chosen = classes_to_draw(store, ranking, top, images, labels)
    command = write_files(store, chosen, Path(out))
    rows = [(terminal.class_name(c.name), str(len(c.images)), c.why) for c in chosen]
    terminal.print_list("class", rows, ("images", "why"))
    n = sum(len(c.images) for c in chosen)
    terminal.print_line(
        f"written: {out}: the first {n} rows are to be filled, pixels counted from 0 as a viewer shows the "
        "picture, xmax and ymax included; rows may stay empty, and one image may have several rows"
    )
    boxed = ranking.table.loc[ranking.table["n_boxed"] > 0, "label"]
    if len({c.label for c in chosen}.union(boxed)) < 2:
        terminal.print_line(
            "note: backgrounds are exchanged between classes; boxes of one class alone test nothing"
        )
    terminal.print_line("then, in a new folder, since boxes make it another dataset:")
    terminal.print_line(f"  {command}")


def write_files(store: Store, chosen: tuple[ClassToDraw, ...], out: Path) -> str:
    """Write the CSV and, beside it, the configuration of the next run; returns the command that runs it.

    Raises:
        InputError: there is such a file already, which may be half filled; the run's dataset takes no CSV.
    """
    from pipeline.csv_text import csv_line
    from pipeline.errors import InputError
    from pipeline.followup.boxes import annotation_rows
    from pipeline.followup.next_run import config_text, next_command
    from pipeline.inputs.datasets.annotations import REQUIRED

    config = out.with_suffix(".toml")
    if present := next((path for path in (out, config) if path.exists()), None):
        raise InputError(f"{present}: is there already and may be filled; give another name with --out")
    text = config_text(store, str(out))
    rows = list(annotation_rows(store, chosen))
    columns = [name for name in rows[0] if name in REQUIRED or any(row[name] for row in rows)]
    lines = [csv_line(columns), *(csv_line(row[name] for name in columns) for row in rows)]
    out.write_text("".join(lines), encoding="utf-8")
    config.write_text(text, encoding="utf-8")
    return next_command(store, str(config))
