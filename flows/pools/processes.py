"""Workers that are processes of this machine."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from flows.interrupts import hidden_from_children
from flows.pools import WorkerDied
from flows.worker import begin_in_pool, devices, run_call
from pipeline.config_sections import ExecutionConfig


class Processes:
    """A pool of them; when one dies, all its calls end with :class:`WorkerDied`, and a new pool is needed."""

    def __init__(self, execution: ExecutionConfig, folder: str) -> None:
        context = get_context("spawn")
        given = (context.Value("i", 0), devices())
        self.broken = False
        self._pool = ProcessPoolExecutor(execution.workers, context, begin_in_pool, given)

    def run(self, call: bytes, key: str) -> Any:
        try:
            with hidden_from_children():  # the first call starts them
                future = self._pool.submit(run_call, call, key)
            return future.result()
        except BrokenExecutor as error:
            self.broken = True
            raise WorkerDied(str(error)) from None

    def close(self, at_once: bool) -> None:
        # nothing is left in them that has to be finished: parts are written whole or not at all
        for process in list((self._pool._processes or {}).values()):
            process.kill()
        self._pool.shutdown(cancel_futures=True)
