"""``hansaudit visualize``: pictures that a class, or a channel of a layer, answers to most."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.arguments import Unsafe
from flows.commands import examples

Model = Annotated[
    str,
    typer.Argument(help="The network, as for `run --model`.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        no_args_is_help=True,
        epilog=examples(
            "visualize squeezenet.keras --class tench --class goldfish",
            "visualize ResNet50 --layer conv4_block6_out --channel 12 --channel 80 --out channels.png",
        ),
    )(visualize)


def visualize(
    model: Model,
    class_: Annotated[
        list[str] | None, typer.Option("--class", help="Class: name, id or number. Repeatable.")
    ] = None,
    layer: Annotated[str, typer.Option(help="With --channel: a layer by its name.")] = "",
    channel: Annotated[
        list[int] | None, typer.Option(help="Channel of the layer, from 0. Repeatable.")
    ] = None,
    pictures: Annotated[int, typer.Option(help="Pictures of each, from different noise.", min=1, max=16)] = 3,
    steps: Annotated[int, typer.Option(help="Steps of gradient ascent.")] = 256,
    jitter: Annotated[int, typer.Option(help="Pixels by which the picture moves in each step, at most.")] = 8,
    total_variation: Annotated[float, typer.Option(help="How much smoothness counts; 0: not at all.")] = 0.1,
    norm: Annotated[
        float, typer.Option(help="How much colours stay away from the ends of their range; 0: not at all.")
    ] = 0.2,
    frequency: Annotated[
        float, typer.Option(help="How much low frequencies lead: 1 as in photographs, 0 not at all.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    card: Annotated[
        str | None, typer.Option(help="Model card (TOML): input geometry, preprocessing.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="For keras.applications: imagenet, none, or a weights file.")
    ] = None,
    unsafe: Unsafe = False,
    out: Annotated[str, typer.Option(help="Picture to write (PNG).")] = "visualize.png",
) -> None:
    """Draw what a class or a channel of a layer wants to see: activation maximisation.

    Gradient ascent from noise. It shows what the network could answer to, not what it saw in your data.
    """
    from flows import galleries, visualizing
    from flows.options import trust

    asked = visualizing.Asked(tuple(class_ or ()), layer, tuple(channel or ()), pictures)
    prior = {
        "steps": steps,
        "jitter": jitter,
        "total_variation": total_variation,
        "norm": norm,
        "frequency": frequency,
        "seed": seed,
    }
    config = galleries.model_config(model, card, weights, unsafe)
    visualizing.visualize(config, asked, prior, trust(unsafe, model), out)
