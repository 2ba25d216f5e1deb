"""The stage of a run that edits images of every class: a task per block of classes, on its runner."""

from __future__ import annotations

from typing import Any

from flows.settings import load_tensorflow, prepare_prefect

prepare_prefect()

from prefect import task  # noqa: E402 - its settings are read at import
from prefect.cache_policies import NO_CACHE  # noqa: E402

from flows import progress, runners  # noqa: E402
from pipeline.config import Config, parse_config  # noqa: E402
from pipeline.run.store import Store  # noqa: E402
from pipeline.trust import Trust  # noqa: E402

EDITING = runners.Work("block of classes", "edited images", "classes")


@task(name="edit-classes", task_run_name="{key}", cache_policy=NO_CACHE, persist_result=False)
def edit_task(key: str, config: dict[str, Any], out: str, trust: dict[str, Any]) -> int:
    """Edit the images of one block of classes and write its part; returns the number of its classes."""
    load_tensorflow()
    from pipeline.measure.benches import bench_without_methods, refuse_other_bench
    from pipeline.measure.interventions.plan import block_of
    from pipeline.measure.interventions.stage import edit_part
    from pipeline.statistics.effects import undecided_classes

    bench = bench_without_methods(parse_config(config), Trust.from_dict(trust))
    store = Store(out)
    refuse_other_bench(store, bench)
    return edit_part(store, bench, block_of(store, bench.config.interventions, key), undecided_classes)


def edit_classes(store: Store, config: Config, given: dict[str, Any]) -> None:
    """Edit images of the classes whose part is missing; ``given``: what every task gets.

    Raises:
        InputError: a worker cannot be started, or there is no space.
    """
    from pipeline.measure.interventions.plan import passes_needed
    from pipeline.measure.interventions.stage import blocks_to_edit

    blocks = blocks_to_edit(store, config.interventions)
    if not blocks:
        return
    counts = [len(images) for block in blocks for images in block.images.values()]
    first, most = passes_needed(counts, config.interventions, store.manifest["dataset"]["n_examples"])
    more = f", up to {most:,} where they decide" if most > first else ""
    progress.say(f"editing images of {len(counts):,} classes: about {first:,} passes{more}")
    sizes = {block.key: len(block.images) for block in blocks}
    runners.run_tasks(edit_task, sizes, given, config.execution, EDITING)
