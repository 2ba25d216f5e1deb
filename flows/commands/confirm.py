"""``hansaudit confirm``: further images of some classes, edited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.arguments import MovedBoxes, MovedCard, MovedDataset, MovedModel, Run, Unsafe
from flows.commands import examples

if TYPE_CHECKING:
    from pipeline.measure.bench import Bench
    from pipeline.measure.interventions.plan import Block
    from pipeline.run.store import Store
    from pipeline.statistics.ranking import Ranking
    from pipeline.statistics.samples import Effect


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        no_args_is_help=True,
        epilog=examples(
            "confirm runs/squeezenet --top 20 --images 50", "confirm runs/squeezenet --class tench --class 3"
        ),
    )(confirm)


def confirm(
    run: Run,
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", help="Name or label of a class; may be given several times."),
    ] = None,
    top: Annotated[int, typer.Option(help="Without --class: so many first classes.", min=1)] = 10,
    images: Annotated[int, typer.Option(help="Images per class in all.", min=1)] = 50,
    dataset: MovedDataset = "",
    annotations: MovedBoxes = "",
    model: MovedModel = "",
    card: MovedCard = "",
    unsafe: Unsafe = False,
) -> None:
    """Spend more on some classes: edit further images of them, ask the network, and rank again.

    Every run edits some images of every class (`[interventions]`). What stays undecided there can be decided
    by more of them. Writes into the run's table of edited images; re-reads only the images it needs.
    """
    from flows import options, terminal
    from flows.report import files_of, rank_run
    from flows.settings import load_tensorflow
    from pipeline.measure.beforehand import Moved, glance_run
    from pipeline.run.ranking_settings import own_settings
    from pipeline.run.store import Store
    from pipeline.statistics.ranking import rank

    store = Store(run)
    trust = options.trust(unsafe, model)
    with store.lock_existing():
        config = glance_run(store, trust, Moved(dataset, annotations, model, card))
        ranking = rank(store, own_settings(store.manifest))
        labels = _labels(ranking, classes or [], top)
        load_tensorflow()
        from pipeline.measure.bench import reopen

        with terminal.console.status("loading the model"):
            bench = reopen(store, trust, config)
        passes = _edit(store, bench, labels, images)
        ranking = rank_run(run)
    _show(ranking, labels)
    terminal.print_line(f"{passes:,} passes; ranked again: {run}/{files_of(store, ranking).document}")


def _labels(ranking: Ranking, classes: list[str], top: int) -> list[int]:
    """The classes that are meant, in order of the ranking.

    Raises:
        InputError: there is no such class.
    """
    from pipeline.errors import InputError

    table = ranking.table
    if not classes:
        return [int(k) for k in table["label"].head(top)]
    wanted = []
    for text in classes:
        named = table[["class_name", "class_id", "label"]].astype(str) == text
        rows = table[named.any(axis=1)]
        if rows.empty:
            raise InputError(
                f"--class {text!r}: the ranking has no such class; valid: a name, id or label of one of its "
                f"{len(table)} classes, such as {table['class_name'].iloc[0]!r}"
            )
        wanted += [int(k) for k in rows["label"]]
    return wanted


def _edit(store: Store, bench: Bench, labels: list[int], images: int) -> int:
    """Edit what is not edited yet, with progress; returns the forward passes."""
    from rich.progress import Progress

    from flows import terminal
    from pipeline.measure.interventions.more import further_blocks
    from pipeline.measure.interventions.plan import passes_per_image
    from pipeline.measure.interventions.stage import edit_part
    from pipeline.run.edited_parts import EditedParts

    settings = bench.config.interventions
    blocks = further_blocks(store, settings, labels, images)
    before = EditedParts(store).passes
    further = sum(len(block.images[k]) for block in blocks for k in block.edited)
    each = passes_per_image(settings.pairs)
    terminal.print_line(f"{further:,} further images: about {further * each:,} passes")

    def edit(block: Block) -> None:
        edit_part(store, bench, block, lambda rows: sorted(block.edited))

    with Progress(console=terminal.console, transient=True) as progress:
        for block in progress.track(blocks, description="images edited and evaluated"):
            edit(block)
    return EditedParts(store).passes - before


def _show(ranking: Ranking, labels: list[int]) -> None:
    """What the edited images say of these classes."""
    from flows import terminal
    from pipeline.measure.interventions.kinds import all_contrasts

    names = dict(zip(ranking.table["label"], ranking.table["class_name"], strict=True))
    verdicts = dict(zip(ranking.table["label"], ranking.table["verdict"], strict=True))
    deciding = [contrast for contrast in all_contrasts().values() if contrast.decides]
    judged = {k: ranking.judgements[k] for k in labels if k in ranking.judgements}
    rows = [
        (
            terminal.class_name(names[label]),
            str(judgement.n),
            verdicts[label],
            str(judgement.n_needed or ""),
            *(_shown(judgement.effects[contrast.name]) for contrast in deciding),
        )
        for label, judgement in judged.items()
    ]
    heads = ("images", "verdict", "needs", *(contrast.heading for contrast in deciding))
    terminal.print_list("class", rows, heads, whole=("images", "verdict"))
    terminal.console.print(
        "background alone, object alone: probability that the own class's background adds over another "
        "class's, without the object and with it; 95 % intervals",
        style="dim",
    )


def _shown(effect: Effect) -> str:
    """Mean and interval, as far as they are known."""
    if effect.n == 0:
        return "-"
    return f"{effect.mean:+.2f} [{effect.low:+.2f}, {effect.high:+.2f}]"
