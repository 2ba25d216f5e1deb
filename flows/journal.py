"""What a run says of its progress where no bar is drawn: lines for a log, for a program, for Prometheus.

A line per finished task, one when a stage begins, and one at least every :data:`BEAT` seconds, whatever
happens or does not.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pipeline.run.costs import duration

BEAT: Final = 30.0  # seconds without a line, at most
Line = Callable[[str], None]

_as_json = False  # of this process: --log-json


def use_json(on: bool) -> None:
    """Whether lines of this process are JSON, on standard error."""
    global _as_json
    _as_json = on


def is_json() -> bool:
    """Whether they are."""
    return _as_json


def write_event(event: str, fields: Mapping[str, Any]) -> None:
    """One JSON object on one line of standard error: ``time``, ``event`` and ``fields``."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    print(json.dumps({"time": now, "event": event, **fields}), file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Pace:
    """How far a stage is: ``done`` of ``total``, as ``unit`` counts it, in ``seconds``; ``total`` 0 where
    nothing is counted. ``finished``: the task that has just ended."""

    stage: str
    seconds: float
    done: int = 0
    total: int = 0
    unit: str = ""
    finished: str = ""

    @property
    def rate(self) -> float | None:
        """Per second, of the whole stage; None before anything is done."""
        return self.done / self.seconds if self.done and self.seconds > 0 else None

    @property
    def left(self) -> float | None:
        """Seconds that the rest takes at this rate."""
        return (self.total - self.done) / self.rate if self.rate else None

    @property
    def words(self) -> str:
        """``audit: 128 of 1,000 images, 12.3 images/s, 1 min 11 s left``"""
        if not self.total and not self.seconds:
            return f"{self.stage}: begins"
        if not self.total:
            return f"{self.stage}: {duration(self.seconds)} so far"
        ended = f"{self.finished} finished; " if self.finished else ""
        counted = f"{self.stage}: {ended}{self.done:,} of {self.total:,} {self.unit}"
        if self.rate is None or self.left is None:
            return f"{counted}, {duration(self.seconds)} so far"
        if self.done == self.total:
            return f"{counted}, {self.rate:.1f} {self.unit}/s, in {duration(self.seconds)}"
        return f"{counted}, {self.rate:.1f} {self.unit}/s, {duration(self.left)} left"

    @property
    def fields(self) -> dict[str, Any]:
        """JSON-ready."""
        fields: dict[str, Any] = {"stage": self.stage, "seconds": round(self.seconds, 3)}
        if self.total:
            fields |= {"done": self.done, "total": self.total, "unit": self.unit}
            fields |= {"rate": _rounded(self.rate), "seconds_left": _rounded(self.left)}
        return fields | ({"finished": self.finished} if self.finished else {})


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


class Journal:
    """Lines of one run; thread-safe. ``line``: writes one for people; without it only JSON is written, where
    that is asked for. ``told`` gets every pace as well. ``bar``: a bar shows how far it is."""

    def __init__(self, line: Line | None, told: Callable[[Pace], None] | None = None, bar: bool = False):
        self._line, self._told, self._bar, self._lock = line, told, bar, threading.RLock()
        self._last = time.monotonic()
        self._stages: list[tuple[str, float]] = []
        self._metered: Callable[[], Pace] | None = None

    def say(self, text: str) -> None:
        """A sentence."""
        if is_json():
            write_event("said", {"text": text})
        elif self._line:
            self._line(text)

    def pace(self, pace: Pace) -> None:
        """A line that says how far it is."""
        with self._lock:
            self._last = time.monotonic()
            if is_json():
                write_event("progress", pace.fields)
            elif self._line and not self._bar:
                self._line(f"{datetime.now():%H:%M:%S} {pace.words}")
            if self._told:
                self._told(pace)

    def entered(self, stage: str, begins: bool) -> None:
        """A stage begins or ends; those inside of what is counted tell themselves by the count."""
        with self._lock:
            if not begins:
                self._stages.pop()
                return
            self._stages.append((stage, time.monotonic()))
            if self._metered is None:
                self.pace(Pace(stage, 0.0))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Context of a stage."""
        self.entered(name, True)
        try:
            yield
        finally:
            self.entered(name, False)

    @contextmanager
    def metered(self, pace: Callable[[], Pace]) -> Iterator[None]:
        """Context in which ``pace`` says how far it is."""
        self._metered = pace
        try:
            yield
        finally:
            self._metered = None

    def beat(self) -> None:
        """A line, if there was none for so long."""
        with self._lock:
            if time.monotonic() - self._last < BEAT:
                return
            if self._metered is not None:
                self.pace(self._metered())
            elif self._stages:
                stage, began = self._stages[-1]
                self.pace(Pace(stage, time.monotonic() - began))

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Context in which a thread looks every second whether a line is due."""
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(1.0):
                self.beat()

        thread = threading.Thread(target=look, name="journal", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
