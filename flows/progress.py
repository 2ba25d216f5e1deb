"""What is shown while an audit runs: images done, images per second, time left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from pipeline.run.preflight import Preflight


class Meter:
    """Counts finished images per shard, or what else tasks do; thread-safe, and a task counts once however
    it is reported."""

    def __init__(
        self, total: int, progress: Progress | None = None, name: str = "audit", unit: str = "images"
    ) -> None:
        self._progress, self._lock = progress, threading.Lock()
        self._done: dict[str, int] = {}
        self._task = progress.add_task(name, total=total, unit=unit) if progress else None

    @property
    def done(self) -> int:
        """Images finished so far."""
        return sum(self._done.values())

    def add(self, shard: str, images: int) -> None:
        """``images`` more of ``shard`` are finished."""
        self.set(shard, self._done.get(shard, 0) + images)

    def set(self, shard: str, images: int) -> None:
        """``images`` of ``shard`` are finished."""
        with self._lock:
            self._done[shard] = images
            if self._progress and self._task is not None:
                self._progress.update(self._task, completed=self.done)


# They belong to the process, not to the flow: a flow that holds a terminal cannot be sent to a worker.
_console: Console | None = None  # where to draw
_watcher: Callable[[Preflight], None] | None = None  # what shows the look before the first image
_current: Meter | None = None  # where tasks report; in a worker process there is nobody


def report(shard: str, images: int) -> None:
    """Called by a task after every batch."""
    if _current is not None:
        _current.add(shard, images)


def looked(seen: Preflight) -> None:
    """Called by a flow after its look before the first image."""
    if _watcher is not None:
        _watcher(seen)


@contextmanager
def looks_shown_by(watcher: Callable[[Preflight], None]) -> Iterator[None]:
    """Show what flows inside this context see before their first image."""
    global _watcher
    _watcher, before = watcher, _watcher
    try:
        yield
    finally:
        _watcher = before


def say(text: str) -> None:
    """A line on the console where the progress is drawn, if there is one."""
    if _console is not None:
        _console.print(text, markup=False, soft_wrap=True)


@contextmanager
def shown_on(console: Console | None) -> Iterator[None]:
    """Draw the progress of flows that run inside this context on ``console``."""
    global _console
    _console, before = console, _console
    try:
        yield
    finally:
        _console = before


@contextmanager
def metering(total: int, name: str = "audit", unit: str = "images") -> Iterator[Meter]:
    """A meter for the tasks of this process, drawn where :func:`shown_on` says, unless ``total`` is 0.

    ``name``: what is done; ``unit``: what is counted."""
    global _current
    columns = (TextColumn("{task.description}"), BarColumn(), _Count(), _Rate(), _Left())
    bar = Progress(*columns, console=_console) if _console and total else None
    with bar or nullcontext():
        _current = Meter(total, bar, name, unit)
        try:
            yield _current
        finally:
            _current = None


class _Count(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{int(task.completed):,} of {int(task.total or 0):,} {task.fields['unit']}")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        seconds = task.finished_time or task.elapsed  # of the whole: a moment's speed jumps with every batch
        return Text(
            f"{task.completed / seconds:.1f} {task.fields['unit']}/s" if seconds else "", style="cyan"
        )


class _Left(ProgressColumn):
    def render(self, task: Task) -> Text:
        if task.finished:
            return Text(f"in {timedelta(seconds=int(task.finished_time or 0))}", style="green")
        left = task.time_remaining
        return Text("" if left is None else f"{timedelta(seconds=int(left))} left", style="yellow")
