"""How the shards of a run are spread: one after the other here, or over the processes of a task runner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from multiprocessing import active_children
from typing import Any

from flows.settings import prepare_prefect

prepare_prefect()

from prefect import Task  # noqa: E402 - its settings are read at import
from prefect.futures import as_completed  # noqa: E402
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner  # noqa: E402

from flows import interrupts, progress  # noqa: E402
from flows.lifeline import follow_parent  # noqa: E402
from flows.progress import Meter  # noqa: E402
from pipeline.config import ExecutionConfig  # noqa: E402
from pipeline.errors import InputError  # noqa: E402
from pipeline.inputs.shards import parse_key  # noqa: E402


def run_shards(task: Task, keys: Sequence[str], given: Mapping[str, Any], execution: ExecutionConfig) -> int:
    """Run ``task(key, **given)``, which returns the images it did, for every key; returns their sum.

    Raises:
        InputError: the runner's package is not installed, or workers died twice; and whatever a task raises.
    """
    with progress.metering(sum(len(parse_key("", key)) for key in keys)) as meter:
        if execution.workers == 1:
            for key in keys:
                interrupts.stop_if_interrupted()
                meter.set(key, task(key, **given))
        elif keys:
            _spread_twice(task, keys, given, execution, meter)
        return meter.done


def _spread_twice(
    task: Task, keys: Sequence[str], given: Mapping[str, Any], execution: ExecutionConfig, meter: Meter
) -> None:
    """Spread over workers; what a worker that died has left is done by new ones, once."""
    left = _spread(task, keys, given, execution, meter)
    if left:
        progress.say(f"a worker died; new ones go on with {len(left)} of {len(keys)} shards")
        left = _spread(task, left, given, execution, meter)
    if left:
        raise InputError(
            f"workers died twice, {len(left)} of {len(keys)} shards are left: something ends them, most often"
            " the system for want of memory; what was finished is kept: run the same command again, and if it"
            f" repeats with fewer than {execution.workers} workers or a smaller batch size"
        )


def _spread(
    task: Task, keys: Sequence[str], given: Mapping[str, Any], execution: ExecutionConfig, meter: Meter
) -> list[str]:
    """Run the shards in new workers; returns the keys that are left because a worker died."""
    left = set(keys)
    with task_runner(execution) as runner, _workers_end_with_an_interruption():
        with interrupts.hidden_from_children():
            futures: dict[Any, str] = {runner.submit(task, {"key": k, **given}): k for k in keys}
        for future in as_completed(list(futures)):
            interrupts.stop_if_interrupted()
            try:
                meter.set(futures[future], future.result())
            except BrokenExecutor:
                continue
            left.remove(futures[future])
    return [key for key in keys if key in left]


@contextmanager
def _workers_end_with_an_interruption() -> Iterator[None]:
    """An interrupted run does not wait for the shards under way: parts are written whole or not at all."""
    try:
        yield
    except BaseException as error:
        if interrupts.is_interruption(error):
            for child in active_children():
                child.kill()
        raise


def task_runner(execution: ExecutionConfig) -> TaskRunner:
    """The runner that ``execution`` names; each of its processes loads the model once.

    Raises:
        InputError: its package is not installed.
    """
    try:
        return RUNNERS[execution.runner](execution.workers)
    except ImportError:
        raise InputError(
            f"execution.runner = {execution.runner!r}: its package is not installed; "
            f"pip install 'hansaudit[{execution.runner}]'"
        ) from None


def _processes(workers: int) -> TaskRunner:
    return ProcessPoolTaskRunner(max_workers=workers, initializer=follow_parent)


def _dask(workers: int) -> TaskRunner:
    from prefect_dask import DaskTaskRunner

    return DaskTaskRunner(cluster_kwargs={"n_workers": workers, "threads_per_worker": 1})


def _ray(workers: int) -> TaskRunner:
    from prefect_ray import RayTaskRunner

    return RayTaskRunner(init_kwargs={"num_cpus": workers})


RUNNERS: Mapping[str, Callable[[int], TaskRunner]] = {"processes": _processes, "dask": _dask, "ray": _ray}
