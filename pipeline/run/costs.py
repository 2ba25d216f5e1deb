"""What a run costs, stage by stage: forecast before it, spent after it. Stored with its sessions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

CHOICE = "choice"  # of the method, before everything else: known, not forecast


@dataclass(frozen=True)
class StageCost:
    """One stage of a run.

    Attributes:
        stage: its name, as in :attr:`~pipeline.run.store.Session.spent`.
        images: that it looks at.
        passes: of the network, forward; an explanation counts as the forward passes that take as long.
        seconds: of one worker.
        bytes: on disk.
        most: seconds at most, where it depends on what comes out; 0: as ``seconds``.
    """

    stage: str
    images: int
    passes: int
    seconds: float
    bytes: int = 0
    most: float = 0.0

    @property
    def time(self) -> str:
        """The seconds in words: ``1 min 05 s``, ``50 s to 2 min 30 s``."""
        return _words((self.seconds, max(self.seconds, self.most)))

    @property
    def words(self) -> str:
        """``curves 100 images, 3,700 passes, 9 s``"""
        parts = [f"{self.images:,} images", f"{self.passes:,} passes", self.time]
        return f"{self.stage} {', '.join(parts + [size(self.bytes)] * (self.bytes > 0))}"


@dataclass(frozen=True)
class Forecast:
    """The stages in the order in which they come."""

    stages: tuple[StageCost, ...]

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(s.seconds for s in self.stages)

    @property
    def most(self) -> float:
        """Seconds of all stages at most, whatever comes out."""
        return sum(max(s.most, s.seconds) for s in self.stages)

    @property
    def total(self) -> StageCost:
        """All stages together; the images are those of the audit."""
        return StageCost(
            "in all",
            max((s.images for s in self.stages), default=0),
            sum(s.passes for s in self.stages),
            self.seconds,
            sum(s.bytes for s in self.stages),
            self.most,
        )

    @property
    def line(self) -> str:
        """One line: every stage, then all."""
        total = self.total
        told = [s.words for s in self.stages]
        whole = f"in all {total.passes:,} passes, {total.time}, {size(total.bytes)}"
        return "forecast: " + "; ".join([*told, whole])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"stages": [asdict(s) for s in self.stages], "total": asdict(self.total)}


Entered = Callable[[str, bool], None]  # a stage, and whether it begins (else it has ended)
_watchers: list[Entered] = []  # of this process


@contextmanager
def stages_told_to(watcher: Entered) -> Iterator[None]:
    """Tell ``watcher`` of every stage that begins or ends inside this context."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


@contextmanager
def clocked(spent: MutableMapping[str, float], stage: str) -> Iterator[None]:
    """Add the seconds that the block takes to those of ``stage``, and tell who wants to know."""
    began = time.perf_counter()
    for watcher in tuple(_watchers):
        watcher(stage, True)
    try:
        yield
    finally:
        spent[stage] = round(spent.get(stage, 0.0) + time.perf_counter() - began, 3)
        for watcher in tuple(_watchers):
            watcher(stage, False)


def compared(forecast: Iterable[Mapping[str, Any]], spent: Mapping[str, float]) -> str:
    """What the stages took beside what was forecast, in one line; empty where nothing was measured.

    ``forecast``: stages as :meth:`Forecast.to_dict` has them; ``spent``: seconds by stage.
    """
    expected = {str(s["stage"]): _span(s) for s in forecast}
    if "audit" in spent and "curves" not in spent and "curves" in expected:
        # workers draw the curves of their shards on the way
        expected["audit"] = _added([expected.get("audit", (0.0, 0.0)), expected.pop("curves")])
    told = [
        f"{stage} {duration(seconds)}" + (f" ({_words(expected[stage])})" if stage in expected else "")
        for stage, seconds in spent.items()
    ]
    if not told:
        return ""
    both = [span for stage, span in expected.items() if stage in spent]
    whole = f"in all {duration(sum(spent.values()))}" + (f" ({_words(_added(both))})" if both else "")
    return f"spent (forecast): {'; '.join(told)}; {whole}"


def busy_words(busy: Mapping[str, float]) -> str:
    """Seconds of :attr:`pipeline.busy.Busy.seconds` in words; empty where nothing was measured."""
    return "; ".join(f"{work} {duration(float(seconds))}" for work, seconds in busy.items())


def _span(stage: Mapping[str, Any]) -> tuple[float, float]:
    """Seconds that are expected, and at most."""
    seconds = float(stage["seconds"])
    return seconds, max(seconds, float(stage.get("most", 0.0)))


def _added(spans: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(least for least, _ in spans), sum(most for _, most in spans)


def _words(span: tuple[float, float]) -> str:
    least, most = span
    return duration(least) + (f" to {duration(most)}" if most > least else "")


def duration(seconds: float) -> str:
    """Seconds in words: ``0.4 s``, ``9 s``, ``2 min 05 s``, ``3 h 20 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: float) -> str:
    """Bytes in words: ``12 kB``, ``3.4 MB``, ``1.2 GB``."""
    for unit, limit in (("GB", 1e9), ("MB", 1e6)):
        if count >= limit:
            return f"{count / limit:.1f} {unit}"
    return f"{-(-count // 1000):.0f} kB"
