"""Workers of a Dask cluster: one on this machine, or the one at an address."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any

from distributed import Client, KilledWorker, LocalCluster
from distributed.comm import CommClosedError

from flows.interrupts import hidden_from_children
from flows.pools import PATIENCE, WorkerDied, check_answers
from flows.worker import Hello, begin, devices, hello, refuse_strangers, run_call
from pipeline.config_sections import ExecutionConfig
from pipeline.errors import InputError, reason


class OnDask:
    """Its workers; the scheduler gives the call of one that died to another.

    Workers on this machine have one thread each. Those of an address are started, and given their devices, by
    whoever started the cluster; as many calls as ``execution.workers`` are there at a time.
    """

    def __init__(self, execution: ExecutionConfig, folder: str) -> None:
        self._cluster: LocalCluster | None = None
        self._room = threading.Semaphore(execution.workers)
        with hidden_from_children():
            if execution.address:
                check_answers("dask", execution.address)
                self._client = _connected(execution.address)
            else:
                self._cluster = _local(execution.workers)
                self._client = Client(self._cluster, set_as_default=False)
        try:
            refuse_strangers(self._greeted(folder if execution.address else ""), folder)
        except BaseException:
            self.close(at_once=True)
            raise

    def _greeted(self, folder: str) -> list[Hello]:
        """What every worker says of itself."""
        try:
            self._client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise InputError(
                "the dask cluster has no worker; start some with `dask worker ADDRESS`"
            ) from None
        answers = self._client.run(hello, folder, on_error="return")
        for address, answer in answers.items():
            if not isinstance(answer, Hello):
                raise InputError(
                    f"worker {address}: cannot run this ({type(answer).__name__}: {reason(answer)}); install "
                    "the same hansaudit there"
                )
        return list(answers.values())

    @property
    def broken(self) -> bool:
        return self._client.status != "running"

    def run(self, call: bytes, key: str) -> Any:
        name = f"hansaudit-{key}-{uuid.uuid4().hex}"  # never taken for one that was done before
        try:
            with self._room:
                return self._client.submit(run_call, call, key, key=name, pure=False).result()
        except (KilledWorker, CommClosedError, CancelledError) as error:
            raise WorkerDied(reason(error)) from None

    def close(self, at_once: bool) -> None:
        with suppress(TimeoutError):  # what does not end in time ends with this process
            self._client.close(timeout=PATIENCE)
        if self._cluster is not None:
            with suppress(TimeoutError):
                self._cluster.close(timeout=PATIENCE)


def _connected(address: str) -> Client:
    """In a thread: where something else listens that never says a word, Dask waits without end."""
    connecting: Future[Client] = Future()

    def connect() -> None:
        try:
            connecting.set_result(Client(address, timeout=PATIENCE, set_as_default=False))
        except Exception as error:
            connecting.set_exception(error)

    threading.Thread(target=connect, name="dask-connect", daemon=True).start()
    try:
        return connecting.result(timeout=1.5 * PATIENCE)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            f"execution.address = {address!r}: answers, but not as a dask scheduler ({reason(error)}); name "
            "the scheduler's address"
        ) from None


def _local(workers: int) -> LocalCluster:
    """A cluster on this machine whose workers have one device each, where there are any."""
    gpus = devices()
    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        dashboard_address=None,
        silence_logs=50,
        memory_limit=0,
    )
    if gpus:
        with Client(cluster, set_as_default=False) as client:
            for number, address in enumerate(client.scheduler_info()["workers"]):
                client.run(begin, number, gpus, workers=[address])
    return cluster
