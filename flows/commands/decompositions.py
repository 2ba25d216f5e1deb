"""``hansaudit decompositions``: one method on a network taken apart in several ways."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.arguments import Unsafe
from flows.commands import examples
from flows.commands.explain import Card, Out, Percentile, Save, Scope, View, Weights


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        no_args_is_help=True,
        epilog=examples(
            "decompositions cat.jpg dog.jpg --model my.keras --method lrp.preset_b",
            "decompositions --model planted --dataset planted --method lrp.alpha_2_beta_1 --fast",
        ),
    )(decompositions)


def decompositions(
    model: Annotated[str, typer.Option(help="The network, as for `explain`.")],
    images: Annotated[list[str] | None, typer.Argument(help="Image files.", show_default=False)] = None,
    method: Annotated[str, typer.Option(help="An LRP method, with parameters in brackets.")] = "lrp.preset_a",
    dataset: Annotated[
        str, typer.Option(help="In place of files: a dataset as for `run --dataset`; its boxes are used.")
    ] = "",
    count: Annotated[
        int, typer.Option(help="Images of the dataset; of a small one 1 in 20, at least 8.", min=1, max=32)
    ] = 8,
    targets: Annotated[
        str,
        typer.Option(help="The class to explain: top1, true (with --dataset), a name, an id or a number."),
    ] = "top1",
    fast: Annotated[
        bool, typer.Option("--fast", help="No perturbation curves, which are most of the passes.")
    ] = False,
    view: View = "auto",
    scope: Scope = "image",
    percentile: Percentile = 100.0,
    card: Card = None,
    weights: Weights = None,
    unsafe: Unsafe = False,
    save: Save = None,
    out: Out = "gallery",
) -> None:
    """Take a network apart in several ways: BatchNorm folded or not, each canonisation on and off.

    A picture for each way and image, and how far the maps differ. Writes decompositions.csv, too.
    """
    from flows import decomposing, galleries
    from flows.options import trust
    from pipeline.config import parse_method

    asked = decomposing.Asked(tuple(images or ()), dataset, count, not fast)
    look = galleries.Look((parse_method(method),), targets, view, scope, percentile=percentile)
    config = galleries.model_config(model, card, weights, unsafe)
    galleries.write(decomposing.decompositions(config, asked, look, trust(unsafe, model), out), out, save)
