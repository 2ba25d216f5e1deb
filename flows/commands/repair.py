"""``hansaudit repair``: a network trained again so that backgrounds say nothing, and audited again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.arguments import MovedBoxes, MovedCard, MovedDataset, MovedModel, Run, Unsafe
from flows.commands import examples

if TYPE_CHECKING:
    from pipeline.followup.repair import Comparison


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        no_args_is_help=True,
        epilog=examples(
            "repair runs/birds --out repaired/birds",
            "repair runs/birds --class waterbird --seed 1",
            "repair runs/birds --layers all --split train",
        ),
    )(repair)


def repair(
    run: Run,
    class_: Annotated[
        list[str] | None,
        typer.Option("--class", help="Class: name, id or index; default the confirmed ones."),
    ] = None,
    out: Annotated[str, typer.Option(help="New folder; default RUN-repaired.")] = "",
    layers: Annotated[
        str, typer.Option(help="last: the last layer alone; all: every layer, which takes images of --split.")
    ] = "last",
    split: Annotated[
        str, typer.Option(help="With --layers all: the split that teaches, not the one that was audited.")
    ] = "",
    epochs: Annotated[
        int, typer.Option(help="With --layers all: times that the images are gone over.", min=1)
    ] = 40,
    rate: Annotated[
        float, typer.Option(help="With --layers all: learning rate at first; it falls to 0 along a cosine.")
    ] = 0.001,
    images: Annotated[int, typer.Option(help="Images of each class that teach, at most.", min=2)] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the halves and of the exchanged backgrounds.")] = 0,
    dataset: MovedDataset = "",
    annotations: MovedBoxes = "",
    model: MovedModel = "",
    card: MovedCard = "",
    unsafe: Unsafe = False,
) -> None:
    """Repair a network: train it again with backgrounds exchanged, and audit it again.

    The last layer: half of the run's images teach, the other half says what became of the accuracy. All
    layers: the images of another split teach, all of the run say it. Writes the network, its card, its run
    with report, and repair.json; the run and its network stay as they are.
    """
    from flows import options, terminal
    from flows import repairing as work
    from flows.settings import load_tensorflow
    from pipeline.errors import InputError
    from pipeline.inputs.classes import find_class
    from pipeline.measure.beforehand import Moved, glance_run
    from pipeline.run.ranking_settings import own_settings
    from pipeline.run.store import Store
    from pipeline.statistics.ranking import rank

    plan = work.Plan(layers, split, images, epochs, rate, seed)
    store, folder = Store(run), Path(out or f"{run.rstrip('/')}-repaired")
    trust, about = options.trust(unsafe, model), store.manifest["dataset"]
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder}: is not empty; name a new folder with --out")
    config = glance_run(store, trust, Moved(dataset, annotations, model, card))
    ranking = rank(store, own_settings(store.manifest))
    named = [find_class(text, about["class_names"], about["class_ids"]) for text in class_ or ()]
    accused = work.accused_classes(ranking, named)
    load_tensorflow()
    from pipeline.followup.repair import compare, judged_images
    from pipeline.measure.bench import reopen

    with terminal.console.status(plan.about) as status:
        bench = reopen(store, trust, config)
        repaired = work.train(plan, store, bench, accused, status.update)
        work.save(bench, folder)
    with terminal.console.status("auditing again"):
        after = work.audit_again(config, folder, trust)
    compared = compare(ranking, after, judged_images(store, Store(folder / work.RUN), repaired.held))
    work.write_result(folder, plan, compared, repaired)
    terminal.print_line(work.told(compared, repaired))
    _show(compared, set(accused))
    terminal.print_line(f"written: {folder}/{work.MODEL}, {folder}/{work.RESULT}, {folder}/{work.RUN}")


def _show(compared: Comparison, accused: set[int]) -> None:
    from flows import terminal

    names = {row["label"]: row["class"] for row in compared.classes}
    changed = [
        row for row in compared.classes if row["label"] in accused or row["verdict"][0] != row["verdict"][1]
    ]
    rows = [
        (terminal.class_name(row["class"]), *row["verdict"], *(f"{a:.1%}" for a in row["accuracy"]))
        for row in changed
    ]
    heads = ("verdict before", "after", "accuracy before", "after ")
    terminal.print_list("class", rows, heads, whole=heads)
    groups = [
        (
            f"{terminal.class_name(names.get(row['label'], ''))}, {row['group']}",
            str(row["images"]),
            *(f"{a:.1%}" for a in row["accuracy"]),
        )
        for row in compared.groups
    ]
    if groups:
        terminal.print_list("class, group", groups, ("images", "accuracy before", "after"))
