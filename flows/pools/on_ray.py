"""Workers of a Ray cluster: one on this machine, or the one at an address."""

from __future__ import annotations

import os
import queue
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no network beyond the cluster

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RaySystemError, RayTaskError

from flows.interrupts import hidden_from_children
from flows.pools import WorkerDied, check_answers
from flows.settings import quiet_logs
from flows.worker import Hello, hello, refuse_strangers, run_call
from pipeline.config_sections import ExecutionConfig
from pipeline.errors import InputError, reason

_START = 60.0  # seconds for a worker to come


class _Worker:
    """An actor: a process that keeps its model."""

    def hello(self, folder: str) -> Hello:
        quiet_logs()
        return hello(folder)

    def run(self, call: bytes, key: str) -> Any:
        return run_call(call, key)


class OnRay:
    """As many actors as workers; Ray restarts one that died, and gives each its device."""

    broken = False  # actors come again by themselves

    def __init__(self, execution: ExecutionConfig, folder: str) -> None:
        with hidden_from_children():
            _connect(execution)
        try:
            self._actors = _actors(execution.workers)
            self._free: queue.Queue[Any] = queue.Queue()
            for actor in self._actors:
                self._free.put(actor)
            refuse_strangers(self._greeted(folder if execution.address else ""), folder)
        except BaseException:
            ray.shutdown()
            raise

    def _greeted(self, folder: str) -> list[Hello]:
        """What every worker says of itself."""
        try:
            return ray.get([actor.hello.remote(folder) for actor in self._actors], timeout=_START)
        except GetTimeoutError:
            raise InputError(
                f"the ray cluster gave no {len(self._actors)} workers within {_START:.0f} s; ask for fewer "
                "(execution.workers), or end what holds them"
            ) from None
        except (RayActorError, RayTaskError) as error:
            raise InputError(
                f"a worker of the ray cluster cannot run this ({reason(error)}); install the same hansaudit "
                "there"
            ) from None

    def run(self, call: bytes, key: str) -> Any:
        actor = self._free.get()
        try:
            return ray.get(actor.run.remote(call, key))
        except (RayActorError, RaySystemError) as error:
            raise WorkerDied(reason(error)) from None
        except RayTaskError as error:
            raise error.cause from None
        finally:
            self._free.put(actor)

    def close(self, at_once: bool) -> None:
        for actor in self._actors:
            ray.kill(actor)
        ray.shutdown()


def _connect(execution: ExecutionConfig) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL", "configure_logging": False}
    if not execution.address:
        ray.init(num_cpus=execution.workers, include_dashboard=False, **quiet)
        return
    check_answers("ray", execution.address)
    try:
        ray.init(address=execution.address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(
            f"execution.address = {execution.address!r}: answers, but not as a ray cluster "
            f"({reason(error)}); name its head's address"
        ) from None
    cores = int(ray.cluster_resources().get("CPU", 0))
    if cores < execution.workers:
        ray.shutdown()
        raise InputError(
            f"execution.workers = {execution.workers}: the ray cluster at {execution.address} has {cores} "
            "cores; valid: that many at most"
        )


def _actors(workers: int) -> list[Any]:
    """One process each, with a core and its share of the GPUs."""
    gpus = ray.cluster_resources().get("GPU", 0)
    share = min(1.0, gpus / workers)
    options = {"num_cpus": 1, "num_gpus": share, "max_restarts": -1, "max_task_retries": 0}
    return [ray.remote(_Worker).options(**options).remote() for _ in range(workers)]
