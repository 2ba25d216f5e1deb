"""``hansaudit run`` and ``hansaudit demo``."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.arguments import Unsafe
from flows.commands import examples
from flows.options import GROUP, LOG_JSON, METRICS_FILE, TIME


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        no_args_is_help=True,
        epilog=examples(
            "run --dataset data/ilsvrc --model squeezenet.keras --method lrp.preset_a --out runs/squeezenet",
            "run --dataset data/ilsvrc --model ResNet50 --method gradient --method lrp.epsilon --out runs/50",
            "run --dataset photos --annotations boxes.csv --model my.h5 --card my.toml --out runs/photos",
            "run --dataset photos --model new.keras --reference last-release.keras --out runs/new",
            "run --config audit.toml --limit 100 --out runs/trial",
        ),
    )(run)
    app.command(epilog=examples("demo", "demo --out /tmp/demo"))(demo)


def run(
    out: Annotated[str, typer.Option(help="Run folder; an unfinished one is resumed. Local or s3://...")],
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
    method: Annotated[
        list[str] | None,
        typer.Option(help="Explanation method, e.g. lrp.preset_a or 'lrp.epsilon(eps=0.1)'. Repeatable."),
    ] = None,
    config: Annotated[str | None, typer.Option(help="TOML configuration; options given here win.")] = None,
    annotations: Annotated[
        str | None, typer.Option(help="Boxes of an image folder: CSV, COCO JSON, or folder of VOC XML.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of the dataset.")] = None,
    group: Annotated[str | None, typer.Option(help=GROUP)] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            help="Audit only N images: of a folder a seeded choice over its classes, else the first."
        ),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Class to explain: predicted or label.")] = None,
    metrics: Annotated[str | None, typer.Option(help="Comma-separated metrics.")] = None,
    pooling: Annotated[
        str | None, typer.Option(help="Channels to one map: abs_sum, sum or positive.")
    ] = None,
    maps: Annotated[int | None, typer.Option(help="Side of the stored pooled maps; 0 = none.")] = None,
    xla: Annotated[
        bool,
        typer.Option("--xla", help="Compile the passes as a whole by XLA (TensorFlow; JAX always does)."),
    ] = False,
    budget: Annotated[
        int | None,
        typer.Option(help="Perturbation curves of N images per class, a seeded choice; 0 = of all.", min=0),
    ] = None,
    curves: Annotated[
        bool | None,
        typer.Option(
            "--curves/--no-curves",
            help="Perturbation curves of a few images (default: of 1 in 100, 16 to 100 of them), or none.",
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[
        str | None, typer.Option(help="Images at once, or auto: what is fastest here.")
    ] = None,
    shard_size: Annotated[int | None, typer.Option(help="Images per shard: one task, one part.")] = None,
    workers: Annotated[int | None, typer.Option(help="Shards at the same time.")] = None,
    runner: Annotated[
        str | None, typer.Option(help="What runs them with several workers: processes, dask or ray.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Dask scheduler or Ray head of a cluster; default this machine.")
    ] = None,
    max_failed: Annotated[
        float | None, typer.Option(help="Share of images that may fail before the exit code is 2.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="Another network to compare with on the same images: a model, or a finished run."),
    ] = None,
    reference_card: Annotated[str | None, typer.Option(help="Model card of --reference.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    time: Annotated[str | None, typer.Option(help=TIME)] = None,
    unsafe: Unsafe = False,
    report: Annotated[bool, typer.Option(help="Write report.html at the end.")] = True,
    log_json: Annotated[bool, typer.Option("--log-json", help=LOG_JSON)] = False,
    metrics_file: Annotated[str | None, typer.Option(help=METRICS_FILE)] = None,
) -> None:
    """Audit a dataset: explain every image, rank the classes, write the report.

    Running it again on the same folder resumes: only what is missing is done.
    """
    from flows import attended, options

    settings = options.Settings(config)
    settings.dataset(dataset, annotations)
    settings.set("dataset", split=split, limit=limit, group=group)
    settings.set("model", source=model, card=card, weights=weights, unsafe=unsafe or None)
    settings.set("reference", source=reference, card=reference_card, unsafe=unsafe or None)
    settings.methods(method)
    settings.set(
        "audit",
        target=target,
        pooling=pooling,
        maps=maps,
        xla=xla or None,
        seed=seed,
        metrics=options.listed(metrics),
    )
    settings.curves(curves, budget)
    settings.set(
        "execution",
        batch_size=batch_size,
        shard_size=shard_size,
        workers=workers,
        runner=runner,
        address=address,
        max_failed_fraction=max_failed,
    )
    trust = options.trust(unsafe, model, reference)
    config_here = options.named_here(settings.config(), address)
    attended.audit(config_here, out, report, trust, options.seconds(time), metrics_file)


def demo(
    out: Annotated[str, typer.Option(help="Folder for data, network, run and report.")] = "runs/demo",
) -> None:
    """The whole way on planted data: draw a dataset with known artefacts, train on it, audit it.

    Three classes carry a mark outside their box, which the network learns to use: they must come out first.
    """
    from flows import attended

    attended.demo(out)
