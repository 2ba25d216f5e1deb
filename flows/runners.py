"""How the tasks of a run are spread: one after the other here, or over the workers of a pool.

Either way Prefect sees a task per key, of this process: workers need no way to its API.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from flows.settings import prepare_prefect

prepare_prefect()

from prefect import Task  # noqa: E402 - its settings are read at import
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.futures import as_completed  # noqa: E402
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner  # noqa: E402

from flows import interrupts, progress  # noqa: E402
from flows.pools import Pool, WorkerDied  # noqa: E402
from flows.progress import Meter  # noqa: E402
from flows.worker import Counted, counted, packed  # noqa: E402
from pipeline.busy import Busy, Done  # noqa: E402
from pipeline.config_sections import ExecutionConfig  # noqa: E402
from pipeline.errors import InputError  # noqa: E402
from pipeline.inputs.objects.traffic import TRAFFIC  # noqa: E402
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
        if execution.workers == 1 and not execution.address:
            for key in keys:
                interrupts.stop_if_interrupted()
                results.finish(key, task(key, **given))
        elif keys:
            with _workers_for(execution, str(given.get("out", ""))) as workers:
                call = packed(counted, {"function": task.fn, "given": dict(given)})
                _Spread(task, call, workers, execution, results).twice(keys, work.task)
        return Done(meter.done, results.busy.rounded, results.at_once)


@dataclass
class _Results:
    """What the tasks did, as they end."""

    meter: Meter
    busy: Busy = field(default_factory=Busy)
    at_once: int = 0  # images, the fewest that a device's memory held; 0: all that were asked for

    def finish(self, key: str, result: int | Done) -> None:
        """The task of ``key`` has ended."""
        done = result if isinstance(result, Done) else Done(result)
        self.busy.add(done.seconds)
        if done.at_once and (not self.at_once or done.at_once < self.at_once):
            self.at_once = done.at_once
            progress.say(f"a device's memory did not suffice: {done.at_once} images at once from now on")
        self.meter.finish(key, done.amount)


class Workers:
    """The workers of a run: started by its first task, kept for its later stages."""

    def __init__(self, execution: ExecutionConfig, folder: str) -> None:
        self._execution, self._folder, self._lock = execution, folder, threading.Lock()
        self._started: Pool | None = None

    @property
    def pool(self) -> Pool:
        """They, started. Raises InputError where they cannot be, or are not as this process is."""
        with self._lock:
            if self._started is None:
                self._started = open_pool(self._execution, self._folder)
            return self._started

    def mend(self) -> None:
        """End what cannot go on since a worker died."""
        if self._started is not None and self._started.broken:
            self.close(at_once=True)

    def close(self, at_once: bool = False) -> None:
        """End them; those at work included where ``at_once``. They start anew when they are asked for."""
        started, self._started = self._started, None
        if started is not None:
            started.close(at_once)


_kept: Workers | None = None  # of the run of this process


@contextmanager
def kept_workers(execution: ExecutionConfig, folder: str) -> Iterator[None]:
    """Context of a run into ``folder``, whose stages share their workers: each loads its model once."""
    global _kept
    _kept = workers = Workers(execution, folder)
    try:
        yield
    finally:
        _kept = None
        workers.close()


@contextmanager
def _workers_for(execution: ExecutionConfig, folder: str) -> Iterator[Workers]:
    if _kept is not None:
        yield _kept
        return
    with kept_workers(execution, folder):
        assert _kept is not None
        yield _kept


@dataclass(frozen=True)
class _Spread:
    """Tasks over several workers: Prefect's tasks are here, what they do is done there."""

    task: Task
    call: bytes
    workers: Workers
    execution: ExecutionConfig
    results: _Results

    def twice(self, keys: Sequence[str], unit: str) -> None:
        """What a worker that died has left is done by new ones, once."""
        of = f"{len(keys)} {unit}s"
        left = self.once(keys)
        if left:
            progress.say(f"a worker died; new ones go on with {len(left)} of {of}")
            self.workers.mend()
            left = self.once(left)
        if left:
            raise InputError(
                f"workers died twice, {len(left)} of {of} are left: something ends them, most often"
                " the system for want of memory; what was finished is kept: run the same command again, and"
                f" if it repeats with fewer than {self.execution.workers} workers or a smaller batch size"
            )

    def once(self, keys: Sequence[str]) -> list[str]:
        """Run the tasks; returns the keys that are left because a worker died."""
        _ = self.workers.pool  # a cluster that does not answer is said once, not by every task
        left, tracked = set(keys), self._tracked()
        waiting: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=2 * self.execution.workers)
        with waiting as runner, self._interruptible():
            futures: dict[Any, str] = {runner.submit(tracked, {"key": key}): key for key in keys}
            for future in as_completed(list(futures)):
                interrupts.stop_if_interrupted()
                try:
                    self.results.finish(futures[future], future.result())
                except WorkerDied:
                    continue
                left.remove(futures[future])
        return [key for key in keys if key in left]

    def _tracked(self) -> Task:
        """A task for Prefect's eyes, which waits while a worker does what it stands for."""

        def waits(key: str) -> Any:
            answer: Counted = self.workers.pool.run(self.call, key)
            TRAFFIC.add(answer.traffic)
            return answer.result

        return Task(
            fn=waits,
            name=self.task.name,
            task_run_name="{key}",
            cache_policy=NO_CACHE,
            persist_result=False,
        )

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """An interrupted run does not wait for the shards under way: parts are whole or absent."""
        try:
            yield
        except BaseException as error:
            if interrupts.is_interruption(error):
                self.workers.close(at_once=True)
            raise


def open_pool(execution: ExecutionConfig, folder: str) -> Pool:
    """The workers that ``execution`` names, for a run into ``folder``.

    Raises:
        InputError: the package of the runner is not installed, its address does not answer, or a worker has
            another version of this program.
    """
    try:
        return RUNNERS[execution.runner](execution, folder)
    except ImportError:
        raise InputError(
            f"execution.runner = {execution.runner!r}: its package is not installed; "
            f"pip install 'hansaudit[{execution.runner}]'"
        ) from None


def _processes(execution: ExecutionConfig, folder: str) -> Pool:
    from flows.pools.processes import Processes

    return Processes(execution, folder)


def _dask(execution: ExecutionConfig, folder: str) -> Pool:
    from flows.pools.on_dask import OnDask

    return OnDask(execution, folder)


def _ray(execution: ExecutionConfig, folder: str) -> Pool:
    from flows.pools.on_ray import OnRay

    return OnRay(execution, folder)


RUNNERS: Mapping[str, Callable[[ExecutionConfig, str], Pool]] = {
    "processes": _processes,
    "dask": _dask,
    "ray": _ray,
}
