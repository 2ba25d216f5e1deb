"""The stage of a run that compares with another network: first a run of it, then the two side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flows.settings import load_tensorflow, prepare_prefect

prepare_prefect()

from prefect import task  # noqa: E402 - its settings are read at import
from prefect.cache_policies import NO_CACHE  # noqa: E402

from flows import progress, runners  # noqa: E402
from flows.editing import EDITING  # noqa: E402
from flows.pasting import PASTING  # noqa: E402
from pipeline.config import Config, parse_config  # noqa: E402
from pipeline.errors import InputError  # noqa: E402
from pipeline.run.ranking_settings import ranking_method  # noqa: E402
from pipeline.run.reference import read_reference, write_reference  # noqa: E402
from pipeline.run.store import Store  # noqa: E402
from pipeline.run.transfer_parts import TransferParts  # noqa: E402
from pipeline.trust import Trust  # noqa: E402

# finishes the shards of these keys of the reference's run, for which tasks get what is given
Shards = Callable[[Sequence[str], dict[str, Any]], int]


@task(name="edit-again", task_run_name="{key}", cache_policy=NO_CACHE, persist_result=False)
def edit_again_task(key: str, config: dict[str, Any], run: str, out: str, trust: dict[str, Any]) -> int:
    """Show the reference (its run is ``out``) what the network of ``run`` was shown in a block of classes."""
    load_tensorflow()
    from pipeline.measure.benches import bench_without_methods, refuse_other_bench
    from pipeline.measure.reference import edit_again

    bench, store = bench_without_methods(parse_config(config), Trust.from_dict(trust)), Store(out)
    refuse_other_bench(store, bench)
    return edit_again(Store(run), store, bench, key)


@task(name="paste-again", task_run_name="{key}", cache_policy=NO_CACHE, persist_result=False)
def paste_again_task(key: str, config: dict[str, Any], run: str, out: str, trust: dict[str, Any]) -> int:
    """Show the reference (its run is ``out``) the windows that ``run`` pasted in a block of classes."""
    load_tensorflow()
    from pipeline.measure.benches import bench_without_methods, refuse_other_bench
    from pipeline.measure.transfer.again import paste_again

    bench, store = bench_without_methods(parse_config(config), Trust.from_dict(trust)), Store(out)
    refuse_other_bench(store, bench)
    return paste_again(Store(run), store, bench, key)


def compare_with_reference(store: Store, config: Config, trust: Trust, shards: Shards) -> None:
    """Measure the reference that ``config`` names, unless it is a finished run, and store the comparison.

    Raises:
        InputError: it cannot be used, is the same network, or shares no image or no class with the run.
    """
    from pipeline.measure.beforehand import given_run
    from pipeline.statistics.reference_pairs import compare_with

    source = config.reference.source
    reference = given_run(config.reference) or _measured(store, config, trust, shards)
    document, table = compare_with(store, reference, source)
    stored = read_reference(store)
    if stored is None or stored != (document, table):
        write_reference(store, document, table)


def _measured(store: Store, config: Config, trust: Trust, shards: Shards) -> Store:
    """The reference's run inside this one's, finished."""
    from pipeline.measure.audit import audit_run, provenance_of
    from pipeline.measure.benches import bench_for
    from pipeline.measure.reference import own_run, reference_config
    from pipeline.statistics.reference_pairs import refuse_unrelated

    reference, source = own_run(store), config.reference.source
    config = reference_config(config, ranking_method(store.manifest))
    progress.say(f"reference network: {source}, on the same images")
    try:
        bench = bench_for(config, trust)
        refuse_unrelated(store, provenance_of(bench), source)
    except InputError as error:
        told = str(error).replace("--card", "--reference-card")
        raise InputError(told if told.startswith("reference ") else f"reference {source}: {told}") from None
    given = {"config": config.model_dump(mode="json"), "out": reference.path, "trust": trust.to_dict()}
    audit_run(reference, bench, lambda keys: shards(keys, given))
    with reference.lock():
        _ask_again(store, reference, config, given | {"run": store.path})
    return reference


def _ask_again(store: Store, reference: Store, config: Config, given: dict[str, Any]) -> None:
    """Show the reference what ``store``'s network was shown beside its images; ``given``: what tasks get."""
    from pipeline.measure.reference import keys_to_edit
    from pipeline.measure.transfer.again import keys_to_paste

    if blocks := keys_to_edit(store, reference):
        runners.run_tasks(edit_again_task, blocks, given, config.execution, EDITING)
    if blocks := keys_to_paste(store, reference):
        passes = TransferParts(store).passes_of(blocks)
        progress.say(f"showing it the windows of {sum(blocks.values()):,} classes: up to {passes:,} passes")
        runners.run_tasks(paste_again_task, blocks, given, config.execution, PASTING)
