"""``hansaudit check``: do this dataset and this network fit, before anything is audited."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from flows.arguments import Unsafe
from flows.commands import examples
from flows.options import GROUP

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.run.preflight import Preflight
    from pipeline.trust import Trust


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        no_args_is_help=True,
        epilog=examples(
            "check --dataset data/ilsvrc --model squeezenet.keras",
            "check --dataset photos --annotations boxes.csv --model my.h5 --card my.toml",
            "check --config audit.toml --images 256 --json",
        ),
    )(check)


def check(
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Prepared dataset or image folder (also s3://...), 'planted', or a TFDS catalog name."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help=".keras or .h5 file, keras.applications name, package.module:function, 'planted'."),
    ] = None,
    card: Annotated[
        str | None, typer.Option(help="Model card (TOML): input geometry, preprocessing.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="For keras.applications: imagenet, none, or a weights file.")
    ] = None,
    config: Annotated[str | None, typer.Option(help="TOML configuration; options given here win.")] = None,
    annotations: Annotated[
        str | None, typer.Option(help="Boxes of an image folder: CSV, COCO JSON, or folder of VOC XML.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of the dataset.")] = None,
    group: Annotated[str | None, typer.Option(help=GROUP)] = None,
    images: Annotated[int, typer.Option(help="Images to look at, a seeded choice.", min=1)] = 64,
    unsafe: Unsafe = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Look at a few images before auditing all of them: do dataset, boxes, classes, card and network fit?

    Every `hansaudit run` begins with this. Says what was decided by position, by default or by guess, and
    what looks wrong, such as an accuracy that chance would reach. Exit code 2 when no audit is possible.
    """
    from flows import options, terminal

    settings = options.Settings(config)
    settings.dataset(dataset, annotations)
    settings.set("dataset", split=split, group=group)
    settings.set("model", source=model, card=card, weights=weights, unsafe=unsafe or None)
    try:
        seen = _look(settings.config(), options.trust(unsafe, model), images)
    except ValueError as error:
        if as_json:
            terminal.console.print_json(json.dumps({"usable": False, "error": str(error)}), ensure_ascii=True)
        raise
    if as_json:
        terminal.console.print_json(json.dumps({"usable": True} | seen.to_dict()), ensure_ascii=True)
    else:
        terminal.print_preflight(seen)


def _look(config: Config, trust: Trust, images: int) -> Preflight:
    from flows import settings, terminal
    from pipeline.measure.beforehand import glance

    dataset = glance(config, trust)
    with terminal.errors.status("loading the model, looking at the images"):
        settings.load_tensorflow()
        from pipeline.inputs.datasets import open_dataset
        from pipeline.inputs.models import load_model
        from pipeline.measure.check import look

        dataset = dataset or open_dataset(config.dataset)
        return look(dataset, load_model(config.model, dataset, trust), images)
