"""``hansaudit confirm``: interventions on the images of suspicious classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands import examples
from flows.options import UNSAFE

if TYPE_CHECKING:
    from pipeline.config import ConfirmConfig
    from pipeline.followup.confirm import Confirmed
    from pipeline.followup.judgement import Effect
    from pipeline.measure.beforehand import Moved
    from pipeline.run.store import Store
    from pipeline.trust import Trust

Run = Annotated[str, typer.Argument(help="Run folder that `hansaudit run` wrote.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        no_args_is_help=True,
        epilog=examples(
            "confirm runs/squeezenet", "confirm runs/squeezenet --top 20 --controls 20 --images 50"
        ),
    )(confirm)


def confirm(
    run: Run,
    top: Annotated[int, typer.Option(help="Classes from the top of the ranking.", min=1)] = 10,
    controls: Annotated[int, typer.Option(help="Random other classes to compare with.", min=0)] = 10,
    images: Annotated[int, typer.Option(help="Images per class, a seeded choice.", min=2)] = 25,
    pairs: Annotated[int, typer.Option(help="Pairs of exchanged backgrounds per image.", min=1)] = 3,
    seed: Annotated[int, typer.Option(help="Seed of all choices.")] = 0,
    dataset: Annotated[str, typer.Option(help="Where the run's dataset is now, if it was moved.")] = "",
    annotations: Annotated[str, typer.Option(help="The same for the boxes of an image folder.")] = "",
    model: Annotated[str, typer.Option(help="The same for the model's file.")] = "",
    card: Annotated[str, typer.Option(help="The same for its model card.")] = "",
    unsafe: Annotated[bool, typer.Option("--unsafe", help=UNSAFE)] = False,
) -> None:
    """Ask the network itself: remove the object, exchange the background, and see whether the class stays.

    Verdicts: confirmed (the maps and the network agree that the evidence lies beside the object), hidden
    (only the network says so), attribution_only (only the maps), clean, undecided. Writes confirm.json and
    confirm.parquet into the run; re-reads only the images it needs.
    """
    from flows import terminal
    from flows.options import trust
    from pipeline.config import parse_config
    from pipeline.measure.beforehand import Moved
    from pipeline.run.documents import sanity_failures
    from pipeline.run.folder import CONFIRMATION, CONFIRMATION_TABLE
    from pipeline.run.store import Store

    given = {"top": top, "controls": controls, "images": images, "pairs": pairs, "seed": seed}
    plan = parse_config({"confirm": given}, "options").confirm
    assert plan is not None
    store = Store(run)
    with store.lock_existing():
        result = _confirm(store, plan, trust(unsafe, model), Moved(dataset, annotations, model, card))
    from pipeline.measure.interventions.kinds import all_contrasts

    deciding = [contrast for contrast in all_contrasts().values() if contrast.decides]
    rows = [
        (
            terminal.class_name(result.class_names[label]),
            result.roles[label],
            judgement.verdict,
            str(judgement.needed or ""),
            *(_shown(judgement.effects[contrast.name]) for contrast in deciding),
        )
        for label, judgement in result.judgements.items()
    ]
    heads = ("role", "verdict", "needs", *(contrast.heading for contrast in deciding))
    terminal.print_list("class", rows, heads, whole=("role", "verdict"))
    terminal.console.print(
        "background alone, object alone: probability that the own class's background adds over another "
        "class's, without the object and with it; 95 % intervals"
        + ("" if all(r[3] == "" for r in rows) else "; needs: images for a statement"),
        style="dim",
    )
    terminal.print_failures(result.method, sanity_failures(store, result.method))
    terminal.print_line(f"written: {run}/{CONFIRMATION}, {run}/{CONFIRMATION_TABLE}")


def _confirm(store: Store, plan: ConfirmConfig, trust: Trust, moved: Moved) -> Confirmed:
    """Look whether data and model are there, then edit images, with progress."""
    from rich.progress import Progress

    from flows import terminal
    from flows.settings import load_tensorflow
    from pipeline.measure.beforehand import glance_run

    config = glance_run(store, trust, moved)
    load_tensorflow()
    from pipeline.followup.confirm import confirm
    from pipeline.measure.bench import reopen
    from pipeline.run.ranking_settings import own_settings
    from pipeline.statistics.ranking import rank

    with terminal.console.status("loading the model"):
        bench = reopen(store, trust, config)
    ranking = rank(store, own_settings(store.manifest))
    with Progress(console=terminal.console, transient=True) as progress:
        task = progress.add_task("images edited and evaluated", total=None)

        def told(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        return confirm(store, plan, ranking, bench, told)


def _shown(effect: Effect) -> str:
    """Mean and interval, as far as they are known."""
    if effect.n == 0:
        return "-"
    interval = f" [{effect.low:+.2f}, {effect.high:+.2f}]" if effect.low == effect.low else ""
    return f"{effect.mean:+.2f}{interval}"
