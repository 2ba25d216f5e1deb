"""``hansaudit explain``, ``compare`` and ``sweep``: explanations of single images, as galleries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.arguments import Unsafe
from flows.commands import examples
from reports.gallery.views import names

if TYPE_CHECKING:
    from flows.galleries import Look

Card = Annotated[str | None, typer.Option(help="Model card (TOML): input geometry, preprocessing.")]
Weights = Annotated[
    str | None, typer.Option(help="For keras.applications: imagenet, none, or a weights file.")
]
Methods = Annotated[
    str,
    typer.Option(
        help="Comma-separated, with parameters in brackets: gradient,'smoothgrad(noise_scale=0.2)'."
    ),
]
View = Annotated[
    str,
    typer.Option(help=f"auto, all (a column each), or one of: {', '.join(names())}."),
]
Scope = Annotated[str, typer.Option(help="What shares a colour scale: image, row, column or all.")]
Percentile = Annotated[
    float, typer.Option(help="Where a colour scale ends: this percentile of the values that are not 0.")
]
References = Annotated[
    str, typer.Option(help="Images for methods that estimate from data: a dataset as for `run --dataset`.")
]
Out = Annotated[str, typer.Option(help="Folder for gallery.png and gallery.html.")]
Save = Annotated[str | None, typer.Option(help="npz: the maps as arrays, too.")]

CHAPTER = "gradient,input_x_gradient,deconvnet,guided_backprop,lrp.epsilon,lrp.preset_a"


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        no_args_is_help=True,
        epilog=examples(
            "explain cat.jpg --model squeezenet.keras --targets top5",
            "explain a.jpg b.jpg --model ResNet50 --methods 'gradient,lrp.preset_a,occlusion(size=16)'",
            "explain cat.jpg --model my.h5 --card my.toml --targets 'tabby,tiger cat' --save npz",
        ),
    )(explain)
    app.command(
        no_args_is_help=True,
        epilog=examples("compare cat.jpg --models VGG16,ResNet50 --methods gradient,lrp.preset_a"),
    )(compare)
    app.command(
        no_args_is_help=True,
        epilog=examples(
            "sweep cat.jpg --model squeezenet.keras --method smoothgrad --vary postprocess=none,abs,square "
            "--vary noise_scale=0.05,0.1,0.2",
            "sweep cat.jpg --model squeezenet.keras --method integrated_gradients --vary reference=low,0.0 "
            "--vary steps=8,32 --metric aopc_gap",
        ),
    )(sweep)


def explain(
    images: Annotated[list[str], typer.Argument(help="Image files, also s3://...", show_default=False)],
    model: Annotated[
        str,
        typer.Option(help=".keras or .h5 file, keras.applications name, package.module:function, 'planted'."),
    ],
    methods: Methods = CHAPTER,
    targets: Annotated[
        str, typer.Option(help="topN, true (with --labels), or comma-separated class names, ids or numbers.")
    ] = "top1",
    labels: Annotated[str, typer.Option(help="True classes, one per image, comma-separated.")] = "",
    view: View = "auto",
    scope: Scope = "image",
    percentile: Percentile = 100.0,
    references: References = "",
    card: Card = None,
    weights: Weights = None,
    unsafe: Unsafe = False,
    save: Save = None,
    out: Out = "gallery",
) -> None:
    """Explain images: a row per image and target, a column per method; a figure and a page to zoom in."""
    from flows import galleries
    from flows.options import trust

    look = _look(methods, targets, view, scope, percentile, references, labels)
    config = galleries.model_config(model, card, weights, unsafe)
    made = galleries.explain(images, config, look, trust(unsafe, model))
    galleries.write(made, out, save)


def compare(
    image: Annotated[str, typer.Argument(help="Image file.", show_default=False)],
    models: Annotated[
        str, typer.Option(help="Comma-separated networks; files have their cards beside them.")
    ],
    methods: Methods = CHAPTER,
    targets: Annotated[str, typer.Option(help="top1: what each network predicts; or a class.")] = "top1",
    view: View = "auto",
    scope: Scope = "image",
    percentile: Percentile = 100.0,
    references: References = "",
    weights: Weights = None,
    unsafe: Unsafe = False,
    save: Save = None,
    out: Out = "gallery",
) -> None:
    """Compare networks: a row per network, a column per method, one image."""
    from flows import galleries
    from flows.options import listed, trust

    sources = listed(models) or []
    configs = [galleries.model_config(source, None, weights, unsafe) for source in sources]
    look = _look(methods, targets, view, scope, percentile, references)
    galleries.write(galleries.compare(image, configs, look, trust(unsafe, *sources)), out, save)


def sweep(
    image: Annotated[str, typer.Argument(help="Image file.", show_default=False)],
    model: Annotated[str, typer.Option(help="The network, as for `explain`.")],
    method: Annotated[str, typer.Option(help="One method; fixed parameters in brackets.")],
    vary: Annotated[list[str], typer.Option(help="parameter=value,value,...; the last makes the columns.")],
    targets: Annotated[
        str, typer.Option(help="The class to explain: top1, a name, an id or a number.")
    ] = "top1",
    metric: Annotated[
        str, typer.Option(help="Perturbation metric that chooses the best: aopc_gap, deletion_auc, ...")
    ] = "",
    repeats: Annotated[int, typer.Option(help="Random fills of the perturbation analysis.", min=1)] = 3,
    view: View = "auto",
    scope: Scope = "image",
    percentile: Percentile = 100.0,
    references: References = "",
    card: Card = None,
    weights: Weights = None,
    unsafe: Unsafe = False,
    save: Save = None,
    out: Out = "gallery",
) -> None:
    """Try parameter values of one method: a picture for each, and the best by perturbation analysis."""
    from flows import galleries, sweeps
    from flows.options import trust
    from pipeline.config import parse_method

    axes = tuple(sweeps.parse_axis(text) for text in vary)
    plan = sweeps.Sweep(parse_method(method), axes, metric, repeats)
    config = galleries.model_config(model, card, weights, unsafe)
    look = _look(method, targets, view, scope, percentile, references)
    made = sweeps.sweep(image, config, plan, look, trust(unsafe, model))
    galleries.write(made, out, save)


def _look(
    methods: str,
    targets: str,
    view: str,
    scope: str,
    percentile: float,
    references: str,
    labels: str = "",
) -> Look:
    from flows import galleries
    from pipeline.config import parse_method

    return galleries.Look(
        methods=tuple(parse_method(text) for text in galleries.split_methods(methods)),
        targets=targets,
        view=view,
        scope=scope,
        percentile=percentile,
        references=references,
        labels=tuple(text.strip() for text in labels.split(",")) if labels else (),
    )
