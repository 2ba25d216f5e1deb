"""``hansaudit concepts``: which channels of a layer speak for a class, and what they look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.arguments import Classes, MovedBoxes, MovedCard, MovedDataset, MovedModel, Run, Unsafe
from flows.commands import examples

if TYPE_CHECKING:
    from pipeline.run.documents import ClassConcepts


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        no_args_is_help=True,
        epilog=examples(
            "concepts runs/squeezenet --class tench",
            "concepts runs/squeezenet --class tench --class 3 --layer fire8_concat --channels 8",
        ),
    )(concepts)


def concepts(
    run: Run,
    class_: Classes = None,
    layer: Annotated[str, typer.Option(help="Layer by its name; default the last maps of places.")] = "",
    channels: Annotated[int, typer.Option(help="Channels with most relevance.", min=1, max=64)] = 5,
    images: Annotated[int, typer.Option(help="Images of each class.", min=2)] = 24,
    pictures: Annotated[int, typer.Option(help="Crops kept of each channel.", min=1, max=32)] = 6,
    replace: Annotated[
        str, typer.Option(help="What a channel is replaced by: mean (over images of other classes) or zero.")
    ] = "mean",
    method: Annotated[str, typer.Option(help="LRP method; default the run's own.")] = "",
    dataset: MovedDataset = "",
    annotations: MovedBoxes = "",
    model: MovedModel = "",
    card: MovedCard = "",
    unsafe: Unsafe = False,
) -> None:
    """Show which channels of a layer speak for a class (CRP), where they look, and what their loss does.

    Writes concepts.parquet and concepts.json into the run, which the report shows. Re-reads only the images
    it needs.
    """
    from flows import options, terminal
    from flows.settings import load_tensorflow
    from pipeline.inputs.classes import find_class
    from pipeline.measure.beforehand import Moved, glance_run
    from pipeline.run.folder import CONCEPTS, CONCEPTS_TABLE
    from pipeline.run.ranking_settings import ranking_method
    from pipeline.run.store import Store

    store = Store(run)
    trust = options.trust(unsafe, model)
    about = store.manifest["dataset"]
    labels = [find_class(text, about["class_names"], about["class_ids"]) for text in _named(class_, replace)]
    with store.lock_existing():
        config = glance_run(store, trust, Moved(dataset, annotations, model, card))
        load_tensorflow()
        from pipeline.followup.concepts import Asked, find_concepts
        from pipeline.measure.bench import reopen

        with terminal.console.status("loading the model"):
            bench = reopen(store, trust, config)
        asked = Asked(method or ranking_method(store.manifest), layer, channels, images, pictures, replace)
        with terminal.console.status("explaining channels"):
            results = find_concepts(store, bench, list(dict.fromkeys(labels)), asked)
    for result in results:
        _show(result)
    terminal.print_line(f"written: {run}/{CONCEPTS_TABLE}, {run}/{CONCEPTS}; `hansaudit report` shows them")


def _named(classes: list[str] | None, replace: str) -> list[str]:
    """The classes that are asked for. Raises InputError for none, and for what no channel is replaced by."""
    from pipeline.errors import InputError

    if replace not in ("mean", "zero"):
        raise InputError(f"--replace: received {replace!r}; valid: mean, zero")
    if not classes:
        raise InputError("no class was named; valid: --class with a name, id or index, once or more")
    return classes


def _show(result: ClassConcepts) -> None:
    from flows import terminal

    boxes = f", {result.n_boxed} with a box" if result.n_boxed < result.n else ""
    terminal.print_line(
        f"{terminal.class_name(result.class_name)}: {result.n} images{boxes}; {len(result.channels)} of "
        f"{result.n_channels} channels of {result.layer}, replaced by {result.replaced}"
    )
    rows = [
        (
            str(c.channel),
            f"{c.share:.1%}",
            "-" if c.outside is None else f"{c.outside:.0%}",
            f"{c.fall:+.2f}{_between(c.fall_low, c.fall_high)}",
            "-" if c.beyond is None else f"{c.beyond:+.2f}{_between(c.beyond_low, c.beyond_high)}",
            c.said,
        )
        for c in result.channels
    ]
    heads = ("share", "outside", "class falls, log odds", "beyond its share", "the class")
    terminal.print_list("channel", rows, heads, whole=("share", "outside"))
    if result.outside_area is not None:
        terminal.console.print(
            "outside: share of the channel's map outside the boxes, where "
            f"{result.outside_area:.0%} of the pictures lie",
            style="dim",
        )


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:+.2f}, {high:+.2f}]"
