"""A process that ends with its parent, however the parent ends: kill -9 runs nobody's cleaning up.

As a program, ``python -P lifeline.py PARENT MODULE ARGUMENTS...`` runs ``python -m MODULE ARGUMENTS...`` for
as long as the process with the id PARENT lives. Standard input is the line: the parent holds its other end,
and the kernel closes that with the parent. In a worker of a pool, :func:`follow_parent` does the same.

A parent-death signal (prctl) would not do: it comes when the *thread* ends that started the child, and exists
on Linux only. This file imports nothing of this program: a child runs it before anything else.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import select
import sys
import threading

_LOOK = 1.0  # seconds between two looks at the parent's id: a fork may hold the line's other end, too


def follow_parent() -> None:
    """End this process, a child of :mod:`multiprocessing`, as soon as the process that started it is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_outlive, args=(parent,), name="lifeline", daemon=True).start()


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
