"""A process that ends with its parent, however the parent ends: kill -9 runs nobody's cleaning up.

As a program, ``python -P lifeline.py PARENT MODULE ARGUMENTS...`` runs ``python -m MODULE ARGUMENTS...`` for
as long as the process with the id PARENT lives. Standard input is the line: the parent holds its other end,
and the kernel closes that with the parent. In a worker of a pool, :func:`follow_parent` does the same.

A parent-death signal (prctl) would not do: it comes when the *thread* ends that started the child, and exists
on Linux only. This file imports nothing of this program: a child runs it before anything else.

Between a process that serves and the run that it starts stands Prefect: the run learns from its environment
whom it serves (:func:`be_followed`, :func:`follow_master`).
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import select
import sys
import threading
import time

_LOOK = 1.0  # seconds between two looks at the parent's id: a fork may hold the line's other end, too
_MASTER = "HANSAUDIT_SERVED_BY"


def follow_parent() -> None:
    """End this process, a child of :mod:`multiprocessing`, as soon as the process that started it is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_outlive, args=(parent,), name="lifeline", daemon=True).start()


def be_followed() -> None:
    """Let runs that Prefect starts for this process end with it."""
    os.environ[_MASTER] = str(os.getpid())


def follow_master() -> None:
    """End this process with the one that :func:`be_followed`, if it is one of its runs."""
    master = os.environ.pop(_MASTER, None)
    if master is not None and int(master) != os.getpid():
        threading.Thread(target=_follow, args=(int(master),), name="lifeline", daemon=True).start()


def _follow(master: int) -> None:
    while True:
        try:
            os.kill(master, 0)
        except ProcessLookupError:
            os._exit(1)
        except PermissionError:
            pass
        time.sleep(_LOOK)


def _outlive(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


def main(arguments: list[str]) -> None:
    """The program: parent's id, module, and the module's arguments."""
    parent, module, *rest = arguments
    threading.Thread(target=_hold, args=(int(parent),), name="lifeline", daemon=True).start()
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _hold(parent: int) -> None:
    """Wait for the end of the line, or for another process to become this one's parent."""
    while os.getppid() == parent:
        ready, _, _ = select.select([0], [], [], _LOOK)
        if ready and not os.read(0, 1):
            break
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
