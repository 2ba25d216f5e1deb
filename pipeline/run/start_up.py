"""What a run pays once: after how many seconds each step before its first shard was done.

Counted from the start of the process where a command line runs the audit, else from the start of the run.
"""

from __future__ import annotations

import os
import time
from typing import Final

COMMAND: Final = "command understood"  # arguments, configuration
INPUT: Final = "input looked at"  # data, card and files, as far as that needs no framework
FRAMEWORK: Final = "framework loaded"
MODEL: Final = "model loaded"
METHODS: Final = "methods fitted"
CHOSEN: Final = "method chosen"  # where nobody named one
COMPILED: Final = "methods compiled"
SERVER: Final = "server answers"  # at the latest: it is asked when it is needed
FORECAST: Final = "forecast made"
LOOK: Final = "images looked at"
IMAGES: Final = "first images audited"
SHARD: Final = "first shard written"

_began: float | None = None  # of the run that is beginning, as time.time() says it
_reached: dict[str, float] = {}


def begin(at: float | None = None) -> None:
    """A run begins, now or ``at`` (seconds as :func:`time.time` counts); nothing where one is beginning."""
    global _began
    if _began is None:
        _began = time.time() if at is None else at
        _reached.clear()


def reached(step: str) -> None:
    """``step`` is done; what is done again counts the first time."""
    if _began is not None:
        _reached.setdefault(step, round(time.time() - _began, 3))


def end() -> dict[str, float]:
    """The run has begun: seconds by step, in the order in which they were done."""
    global _began
    _began = None
    return dict(_reached)


def process_start() -> float:
    """When this process started, as :func:`time.time` counts; now, where the system does not say."""
    try:
        with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])  # proc(5): field 22, since the boot
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError):
        age = 0.0
    return time.time() - age
