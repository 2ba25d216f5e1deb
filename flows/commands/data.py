"""``hansaudit prepare``, and the lists of datasets, models and methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands import examples

if TYPE_CHECKING:
    from pipeline.inputs.datasets.prepared import Prepared

prepare = typer.Typer(
    help="Make a dataset out of its official archives.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(prepare, name="prepare")
    app.command(epilog=examples("datasets"))(datasets)
    app.command(epilog=examples("models"))(models)
    app.command(epilog=examples("methods"))(methods)


@prepare.callback()
def _prepare() -> None:
    """Make a dataset out of its official archives (TFRecord shards, image bytes untouched)."""


@prepare.command(
    no_args_is_help=True,
    epilog=examples(
        "prepare ilsvrc2012 --images ILSVRC2012_img_val.tar --boxes "
        "ILSVRC2012_bbox_val_v3.tgz --out data/ilsvrc",
        "prepare ilsvrc2012 --images ILSVRC2012_img_val.tar --boxes LOC_val_solution.csv "
        "--mapping LOC_synset_mapping.txt --out data/ilsvrc",
    ),
)
def ilsvrc2012(
    images: Annotated[str, typer.Option(help="ILSVRC2012_img_val.tar, a file or s3://...")],
    boxes: Annotated[str, typer.Option(help="ILSVRC2012_bbox_val_v3.tgz, or Kaggle's LOC_val_solution.csv.")],
    out: Annotated[str, typer.Option(help="Folder of the new dataset.")],
    mapping: Annotated[
        str | None, typer.Option(help="LOC_synset_mapping.txt: readable names of the classes.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="One synset per image number; default the list that comes with TFDS.")
    ] = None,
) -> None:
    """ILSVRC-2012 validation images and boxes, read from the archives without unpacking them."""
    from flows import settings, terminal
    from pipeline.measure.beforehand import refuse_missing

    for path in (images, boxes, mapping, labels):
        if path is not None:
            refuse_missing(path, "file")
    settings.load_tensorflow()
    from pipeline.inputs.datasets.ilsvrc2012 import prepare_ilsvrc2012

    with terminal.console.status("reading the archives, writing TFRecord shards"):
        done = prepare_ilsvrc2012(images, boxes, out, labels, mapping)
    _say(done)


@prepare.command(
    name="tiny-imagenet",
    no_args_is_help=True,
    epilog=examples(
        "prepare tiny-imagenet --archive tiny-imagenet-200.zip --out data/tiny",
        "prepare tiny-imagenet --archive tiny-imagenet-200.zip --split train --out data/tiny-train",
    ),
)
def tiny_imagenet(
    archive: Annotated[
        str,
        typer.Option(help="tiny-imagenet-200.zip, or a part of it in the same layout; a file or s3://..."),
    ],
    out: Annotated[str, typer.Option(help="Folder of the new dataset.")],
    split: Annotated[str, typer.Option(help="val or train.")] = "val",
) -> None:
    """Tiny ImageNet's images and boxes, 200 classes at 64 x 64, read from the zip without unpacking it."""
    from flows import settings, terminal
    from pipeline.measure.beforehand import refuse_missing

    refuse_missing(archive, "file")
    settings.load_tensorflow()
    from pipeline.inputs.datasets.tiny_imagenet import prepare_tiny_imagenet

    with terminal.console.status("reading the archive, writing TFRecord shards"):
        done = prepare_tiny_imagenet(archive, out, split)
    _say(done)


def _say(done: Prepared) -> None:
    from flows import terminal
    from pipeline.inputs.objects.traffic import TRAFFIC

    terminal.console.print(
        f"dataset: {done.path}\n{done.images:,} images, {done.boxes:,} boxes, {len(done.classes):,} classes; "
        f"{len(done.without_boxes):,} images without boxes, "
        f"{done.without_image:,} annotations without an image",
        markup=False,
        soft_wrap=True,
    )
    if told := TRAFFIC.tell().line:
        terminal.print_line(told)


def datasets() -> None:
    """The kinds of datasets that `hansaudit run --dataset` takes."""
    from flows import terminal
    from pipeline.inputs.datasets import list_sources

    terminal.print_list("source", [(source.name, source.about) for source in list_sources()])


def models() -> None:
    """The networks that `hansaudit run --model` takes."""
    from flows import settings, terminal

    settings.load_tensorflow()
    from explainers.model.loading import application_names

    terminal.print_list(
        "model",
        [
            ("*.keras, *.h5", "a file, with its model card (TOML) beside it or given by --card"),
            ("package.module:function", "a function that returns the model, or (model, ModelCard)"),
            ("planted", "the small network of the planted dataset, trained on the spot"),
            *((name, "keras.applications") for name in application_names()),
        ],
    )


def methods() -> None:
    """The explanation methods that `hansaudit run --method` takes."""
    from flows import settings, terminal

    settings.load_tensorflow()
    from explainers import list_methods

    rows = [(m.name, m.family, str(m.cost), str(m.needs), m.paper) for m in list_methods()]
    terminal.print_list("method", rows, ("family", "cost", "needs", "paper"))
