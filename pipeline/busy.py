"""Where the time of the audit goes: seconds by kind of work, added up over threads and workers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

READ: Final = "reading"  # records from their archives
DECODE: Final = "decoding"  # pictures, boxes
EXPLAIN: Final = "forward and backward"  # passes of the network
MEASURE: Final = "metrics"
CURVES: Final = "curves"
WRITE: Final = "writing"
KINDS_OF_WORK: Final = (READ, DECODE, EXPLAIN, MEASURE, CURVES, WRITE)


@dataclass
class Busy:
    """Seconds by kind of work; threads that work side by side count each, so the sum may exceed the time that
    passed. ``clock``: seconds, from any start."""

    seconds: dict[str, float] = field(default_factory=dict)
    clock: Callable[[], float] = time.perf_counter
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def at(self, work: str) -> Iterator[None]:
        """Add the seconds that the block takes to those of ``work``."""
        began = self.clock()
        try:
            yield
        finally:
            self.add({work: self.clock() - began})

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add what was spent elsewhere, in another process for example."""
        with self._lock:
            for work, more in seconds.items():
                self.seconds[work] = self.seconds.get(work, 0.0) + more

    @property
    def rounded(self) -> dict[str, float]:
        """To the millisecond, in the order of the work."""
        return {work: round(self.seconds[work], 3) for work in KINDS_OF_WORK if work in self.seconds}


@dataclass(frozen=True)
class Done:
    """What a task did: ``amount`` of what its size counts, where its time went, and how many images at once
    the device's memory held, where that were fewer than asked for."""

    amount: int
    seconds: Mapping[str, float] = field(default_factory=dict)
    at_once: int = 0
