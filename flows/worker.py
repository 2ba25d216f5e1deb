"""What a worker process runs: the body of a task, at the one model of this process. No Prefect in it.

The tasks that Prefect shows belong to the process that runs the flow; workers compute. So a worker starts
faster, and one on another machine needs no way to Prefect's API.
"""

from __future__ import annotations

import os
import pickle
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import cloudpickle

from flows.lifeline import follow_parent
from flows.settings import quiet_logs
from pipeline.errors import InputError, reason
from pipeline.inputs.objects.traffic import TRAFFIC, Amount

_DEVICES = "CUDA_VISIBLE_DEVICES"
_one_at_a_time = threading.Lock()  # a worker may have threads, its model has one user


def packed(function: Callable[..., Any], given: Mapping[str, Any]) -> bytes:
    """``function`` with the arguments that every call gets, for :func:`run_call` elsewhere."""
    return cloudpickle.dumps((function, dict(given)))


def run_call(call: bytes, key: str) -> Any:
    """What the packed function returns for ``key``.

    Raises:
        InputError, RuntimeError: what it raises, in a form that reaches every process.
    """
    with _one_at_a_time:
        try:
            function, given = cloudpickle.loads(call)
            return function(key=key, **given)
        except Exception as error:
            raise portable(error) from None


@dataclass(frozen=True)
class Counted:
    """What a call returned, and what it asked object stores for meanwhile."""

    result: Any
    traffic: Amount


def counted(function: Callable[..., Any], given: Mapping[str, Any], key: str) -> Counted:
    """``function(key=key, **given)`` in a worker, which does one thing at a time."""
    before = TRAFFIC.amount
    result = function(key=key, **given)
    return Counted(result, TRAFFIC.amount - before)


def portable(error: Exception) -> Exception:
    """The error, if it survives the way between processes; else one that says the same.

    Users can mend what is a ValueError: an InputError stands for those whose constructors take more than a
    text.
    """
    try:
        if str(pickle.loads(pickle.dumps(error))) == str(error):
            return error
    except Exception:  # whatever a foreign class does when it is made anew
        pass
    if isinstance(error, ValueError):
        return InputError(str(error))
    return RuntimeError(f"{type(error).__name__}: {reason(error)}")


@dataclass(frozen=True)
class Hello:
    """What a worker says before it gets work: where it is, its version, whether it sees the run's folder."""

    place: str
    version: str
    sees: bool


def hello(folder: str) -> Hello:
    """Of this process. ``folder``: of the run; empty where nothing is to be seen."""
    from pipeline.run.folder import RunFolder

    place = f"process {os.getpid()} on {socket.gethostname()}"
    return Hello(place, metadata.version("hansaudit"), not folder or RunFolder(folder).exists)


def refuse_strangers(workers: Sequence[Hello], folder: str) -> None:
    """Raises InputError for a worker that has another version, or does not see the run's folder."""
    own = metadata.version("hansaudit")
    for worker in workers:
        if worker.version != own:
            raise InputError(
                f"worker {worker.place}: has hansaudit {worker.version}, this is {own}; its numbers might "
                "differ: install the same version there"
            )
        if not worker.sees:
            raise InputError(
                f"worker {worker.place}: does not see the run {folder}; name a folder that all machines "
                "share, by its whole path, or an object store (s3://bucket/run)"
            )


def begin(number: int, devices: Sequence[str]) -> None:
    """Make this process worker ``number``: quiet, and on one of ``devices``, where there are any.

    Before TensorFlow. The process that runs the flow has the first of them, too.
    """
    quiet_logs()
    if devices:
        os.environ[_DEVICES] = devices[number % len(devices)]


def begin_in_pool(numbers: Any, devices: Sequence[str]) -> None:
    """The same in a pool of processes, which end with their parent; ``numbers``: a counter of them."""
    follow_parent()
    with numbers.get_lock():
        number, numbers.value = numbers.value, numbers.value + 1
    begin(number, devices)


def devices() -> tuple[str, ...]:
    """The GPUs that this process may use, as :data:`CUDA_VISIBLE_DEVICES` names them; none where there are
    none. Looked up in /proc, so that nothing is loaded."""
    chosen = os.environ.get(_DEVICES)
    if chosen is not None:
        return tuple(name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1"))
    try:
        return tuple(str(number) for number in range(len(os.listdir("/proc/driver/nvidia/gpus"))))
    except OSError:
        return ()
