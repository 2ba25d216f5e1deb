"""What is shown while an audit runs: images done, images per second, time left.

On a terminal a bar; elsewhere lines (:mod:`flows.journal`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from flows import journal
from flows.journal import Journal, Pace
from flows.metrics_file import MetricsFile
from pipeline.run import start_up
from pipeline.run.costs import stages_told_to
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
        self._name, self._unit, self._total, self._began = name, unit, total, time.monotonic()

    @property
    def done(self) -> int:
        """Images finished so far."""
        with self._lock:
            return sum(self._done.values())

    def pace(self, finished: str = "") -> Pace:
        """How far it is; ``finished``: the task that has just ended."""
        seconds = time.monotonic() - self._began
        return Pace(self._name, seconds, self.done, self._total, self._unit, finished)

    def add(self, shard: str, images: int) -> None:
        """``images`` more of ``shard`` are finished."""
        start_up.reached(start_up.IMAGES)
        self._set(shard, self._done.get(shard, 0) + images)

    def finish(self, shard: str, images: int) -> None:
        """``shard`` is finished, with ``images``."""
        start_up.reached(start_up.SHARD)
        self._set(shard, images)
        if _journal is not None:
            _journal.pace(self.pace(shard))

    def _set(self, shard: str, images: int) -> None:
        with self._lock:
            self._done[shard] = images
            if self._progress and self._task is not None:
                self._progress.update(self._task, completed=sum(self._done.values()))


# They belong to the process, not to the flow: a flow that holds a terminal cannot be sent to a worker.
_console: Console | None = None  # where to draw
_journal: Journal | None = None  # where lines go
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
    """A line where the progress is shown, if it is."""
    if _journal is not None:
        _journal.say(text)


@contextmanager
def shown_on(console: Console | None, metrics: MetricsFile | None = None) -> Iterator[None]:
    """Show the progress of what runs inside this context on ``console``, and in the file of ``metrics``.

    Inside another such context it changes nothing.
    """
    global _console, _journal
    if _journal is not None or (console is None and metrics is None):
        yield
        return
    told = metrics.progress if metrics is not None else None
    _console, _journal = console, Journal(_line_of(console), told, _draws(console))
    try:
        with ExitStack() as stack:
            if metrics is not None:
                stack.enter_context(metrics.watching())
            stack.enter_context(stages_told_to(_journal.entered))
            stack.enter_context(_journal.beating())
            yield
    finally:
        _console = _journal = None


def _draws(console: Console | None) -> bool:
    """Whether bars are drawn."""
    return console is not None and console.is_terminal and not journal.is_json()


def _line_of(console: Console | None) -> Callable[[str], None] | None:
    if console is None:
        return None
    return lambda text: console.print(text, markup=False, soft_wrap=True)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Context of something that takes a while and cannot be counted."""
    with ExitStack() as stack:
        if _console is not None and _draws(_console):
            stack.enter_context(_console.status(what))
        if _journal is not None:
            stack.enter_context(_journal.stage(what))
        yield


@contextmanager
def metering(total: int, name: str = "audit", unit: str = "images") -> Iterator[Meter]:
    """A meter for the tasks of this process, drawn where :func:`shown_on` says, unless ``total`` is 0.

    ``name``: what is done; ``unit``: what is counted."""
    global _current
    columns = (TextColumn("{task.description}"), BarColumn(), _Count(), _Rate(), _Left())
    bar = Progress(*columns, console=_console) if _draws(_console) and total else None
    with bar or nullcontext():
        _current = meter = Meter(total, bar, name, unit)
        try:
            with _journal.metered(meter.pace) if _journal and total else nullcontext():
                yield meter
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
