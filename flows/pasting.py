"""The stage of a run that pastes windows of classes onto images of others: a task per block of classes."""

from __future__ import annotations

from typing import Any

from flows.settings import load_tensorflow, prepare_prefect

prepare_prefect()

from prefect import task  # noqa: E402 - its settings are read at import
from prefect.cache_policies import NO_CACHE  # noqa: E402

from flows import progress, runners  # noqa: E402
from pipeline.config import Config, parse_config  # noqa: E402
from pipeline.run.store import Store  # noqa: E402
from pipeline.run.transfer_parts import TransferParts  # noqa: E402
from pipeline.trust import Trust  # noqa: E402

PASTING = runners.Work("block of classes", "pasted windows", "classes")


@task(name="paste-windows", task_run_name="{key}", cache_policy=NO_CACHE, persist_result=False)
def paste_task(key: str, config: dict[str, Any], out: str, trust: dict[str, Any]) -> int:
    """Paste the windows of one block of classes and write its parts; returns the number of its classes."""
    load_tensorflow()
    from pipeline.measure.benches import bench_without_methods, refuse_other_bench
    from pipeline.measure.transfer.stage import paste_part

    bench = bench_without_methods(parse_config(config), Trust.from_dict(trust))
    store = Store(out)
    refuse_other_bench(store, bench)
    return paste_part(store, bench, key)


def paste_windows(store: Store, config: Config, given: dict[str, Any]) -> None:
    """Paste windows of the classes of which a part is missing; ``given``: what every task gets.

    Raises:
        InputError: a worker cannot be started, or there is no space.
    """
    from pipeline.measure.transfer.moved import PASSES
    from pipeline.measure.transfer.plan import candidates, passes_needed, why_not
    from pipeline.measure.transfer.stage import blocks_to_paste

    blocks = blocks_to_paste(store, config.transfer)
    if reason := why_not(store, config.transfer):
        progress.say(f"no windows are pasted: {reason}")
    if not blocks:
        return
    counts = [len(of_one) for of_one in candidates(store, config.transfer.seed).values()]
    passes = passes_needed(counts, config.transfer, store.manifest["dataset"]["n_examples"])
    more = f", up to {PASSES} more for a class that they carry"
    progress.say(f"pasting windows of {len(counts):,} classes onto others: up to {passes:,} passes{more}")
    sizes = {block.key: len(block.labels) for block in blocks}
    runners.run_tasks(paste_task, sizes, given, config.execution, PASTING)
    if told := _left_out(TransferParts(store)):
        progress.say(told)


def _left_out(parts: TransferParts) -> str:
    """How many images gave no window, and why; empty where all did."""
    reasons = {
        "no_room": "no window finds room beside the box, or no relevance lies there",
        "no_map": "no map is stored, or it is zero",
    }
    counts = {reason: parts.left_out(reason) for reason in reasons}
    told = [f"{n:,} ({reasons[reason]})" for reason, n in counts.items() if n]
    return f"images that give no window: {', '.join(told)}" if told else ""
