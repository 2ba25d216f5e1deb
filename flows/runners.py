"""How the tasks of a run are spread: one after the other here, or over the processes of a task runner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
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
from pipeline.busy import Busy, Done  # noqa: E402
from pipeline.config import ExecutionConfig  # noqa: E402
from pipeline.errors import InputError  # noqa: E402
from pipeline.inputs.shards import parse_key  # noqa: E402


def run_shards(task: Task, keys: Sequence[str], given: Mapping[str, Any], execution: ExecutionConfig) -> Done:
    """Run ``task(key, **given)``, which returns the images it did, for every key; returns their sum.

    Raises:
        InputError: the runner's package is not installed, or workers died twice; and whatever a task raises.
    """
    return run_tasks(task, {key: len(parse_key("", key)) for key in keys}, given, execution)


@dataclass(frozen=True)
class Work:
    """What tasks are called while they run: ``task``, and what their sizes count (``unit``)."""

    task: str = "shard"
    name: str = "audit"
    unit: str = "images"


def run_tasks(
    task: Task,
    sizes: Mapping[str, int],
    given: Mapping[str, Any],
    execution: ExecutionConfig,
    work: Work = Work(),
) -> Done:
    """Run ``task(key, **given)``, which returns how much it did (a number, or a :class:`Done`), for every
    key; returns their sum.

    ``sizes``: key -> how much it is to do, as ``work`` counts it.

    Raises:
        InputError: the runner's package is not installed, or workers died twice; and whatever a task raises.
    """
    keys = list(sizes)
    with progress.metering(sum(sizes.values()), work.name, work.unit) as meter:
        results = _Results(meter)
        if execution.workers == 1:
            for key in keys:
                interrupts.stop_if_interrupted()
                results.finish(key, task(key, **given))
        elif keys:
            _Spread(task, given, execution, results, work).twice(keys)
        return Done(meter.done, results.busy.rounded)


@dataclass(frozen=True)
class _Results:
    """What the tasks did, as they end."""

    meter: Meter
    busy: Busy = field(default_factory=Busy)

    def finish(self, key: str, result: int | Done) -> None:
        """The task of ``key`` has ended."""
        done = result if isinstance(result, Done) else Done(result)
        self.busy.add(done.seconds)
        self.meter.finish(key, done.amount)


@dataclass(frozen=True)
class _Spread:
    """Tasks over several workers."""

    task: Task
    given: Mapping[str, Any]
    execution: ExecutionConfig
    results: _Results
    work: Work

    def twice(self, keys: Sequence[str]) -> None:
        """What a worker that died has left is done by new ones, once."""
        of = f"{len(keys)} {self.work.task}s"
        left = self.once(keys)
        if left:
            progress.say(f"a worker died; new ones go on with {len(left)} of {of}")
            left = self.once(left)
        if left:
            raise InputError(
                f"workers died twice, {len(left)} of {of} are left: something ends them, most often"
                " the system for want of memory; what was finished is kept: run the same command again, and"
                f" if it repeats with fewer than {self.execution.workers} workers or a smaller batch size"
            )

    def once(self, keys: Sequence[str]) -> list[str]:
        """Run the tasks in new workers; returns the keys that are left because a worker died."""
        left = set(keys)
        with task_runner(self.execution) as runner, _workers_end_with_an_interruption():
            with interrupts.hidden_from_children():
                futures: dict[Any, str] = {
                    runner.submit(self.task, {"key": k, **self.given}): k for k in keys
                }
            for future in as_completed(list(futures)):
                interrupts.stop_if_interrupted()
                try:
                    self.results.finish(futures[future], future.result())
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
