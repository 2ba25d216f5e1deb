"""``hansaudit clusters``: the strategies inside a class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.arguments import Classes, Run
from flows.commands import examples

if TYPE_CHECKING:
    from pipeline.run.documents import ClassStrategies


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        no_args_is_help=True,
        epilog=examples(
            "clusters runs/squeezenet",
            "clusters runs/squeezenet --class tench --class n01443537",
        ),
    )(clusters)


def clusters(
    run: Run,
    class_: Classes = None,
    top: Annotated[int, typer.Option(help="Without --class: the most suspicious classes.", min=1)] = 5,
    method: Annotated[str, typer.Option(help="Explanation method; default the run's first.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of the clustering.")] = 0,
) -> None:
    """Find the strategies inside a class: spectral clustering (SpRAy) of the stored maps.

    A cluster that stands apart and looks beside the object is a candidate for a Clever-Hans strategy. Writes
    clusters.parquet and clusters.json into the run.
    """
    from flows import terminal
    from pipeline.followup.strategies import cluster_run
    from pipeline.inputs.classes import find_class
    from pipeline.run.documents import sanity_failures
    from pipeline.run.folder import CLUSTERS, CLUSTERS_TABLE
    from pipeline.run.ranking_settings import own_settings
    from pipeline.run.store import Store
    from pipeline.statistics.ranking import rank

    store = Store(run)
    manifest = store.manifest
    names, ids = manifest["dataset"]["class_names"], manifest["dataset"]["class_ids"]
    labels = [find_class(text, names, ids) for text in class_ or ()]
    settings = own_settings(manifest)
    ranking = rank(store, settings.model_copy(update={"method": method or settings.method}))
    if not labels:
        labels = ranking.table.loc[ranking.table["n"] > 0, "label"].head(top).tolist()
    with store.lock_existing():
        results = cluster_run(store, list(dict.fromkeys(labels)), ranking, seed)
    rows = [
        (
            terminal.class_name(result.class_name),
            str(result.n),
            str(len(result.clusters)) if result.reason is None else "-",
            "" if result.tau is None else f"{result.tau:.2f} (chance {result.tau_null:.2f})",
            result.reason or _candidates(result),
        )
        for result in results
    ]
    terminal.print_list(
        "class", rows, ("images", "clusters", "tau", "Clever-Hans candidates"), whole=("tau",)
    )
    terminal.print_failures(ranking.method, sanity_failures(store, ranking.method))
    terminal.print_line(f"written: {run}/{CLUSTERS_TABLE}, {run}/{CLUSTERS}")


def _candidates(result: ClassStrategies) -> str:
    """How many of the clusters are candidates, and the lowest of them."""
    if not result.candidates:
        return "none"
    lowest = min(c.adjusted_lift for c in result.candidates if c.adjusted_lift is not None)
    images = sum(c.n for c in result.candidates)
    return f"{len(result.candidates)} ({images} images), adjusted lift down to {lowest:+.2f}"
