"""How far a run is, from its folder alone: for another terminal, while it is written or after it stopped.

Light: JSON, file names, and one column of the finished parts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.inputs.shards import parse_key
from pipeline.run.costs import duration
from pipeline.run.folder import COMMIT, RANKING, REPORT, RunFolder, part_name
from pipeline.schema import STATUS_FAILED
from pipeline.temporary import Owner

_PARTS_LOOKED_AT: Final = 200  # for failed images: an answer within a second, however large the run
DONE: Final = "done"
UNDER_WAY: Final = "under way"
STOPPED: Final = "stopped"
TO_COME: Final = "to come"
AUDIT: Final = "audit"
RANKED: Final = "ranking"
REPORTED: Final = "report"
_INSIDE: Final = ("curves",)  # stages that are done on the way through the audit


@dataclass(frozen=True)
class StageStatus:
    """A stage of the last session: ``state``: done, under way, stopped or to come; ``seconds`` that it
    took; ``forecast``: seconds that were expected before it began, None where nothing was."""

    name: str
    state: str
    seconds: float | None = None
    forecast: float | None = None

    @property
    def words(self) -> str:
        """``interventions: to come (forecast 12 s)``"""
        took = f" in {duration(self.seconds)}" if self.seconds is not None else ""
        expected = f" (forecast {duration(self.forecast)})" if self.forecast is not None else ""
        return f"{self.name}: {self.state}{took}{expected}"


@dataclass(frozen=True)
class Status:
    """How far a run is.

    Attributes:
        writer: the process that writes it, in words; empty where none is seen.
        failed, failed_of: failed images among those of the parts that were looked at, the last ones.
        rate: images per second of the last session's audit; None before its first shard.
        seconds_left: to the end of the last stage; None where it cannot be said.
        report, ranking: whether they lie in the folder.
    """

    run: str
    writer: str
    shards: int
    shards_done: int
    images: int
    images_done: int
    failed: int
    failed_of: int
    stages: tuple[StageStatus, ...]
    rate: float | None
    seconds_left: float | None
    ranking: bool
    report: bool

    def to_json(self) -> str:
        """All of it."""
        return json.dumps(asdict(self), indent=1)

    @property
    def lines(self) -> list[str]:
        """For people."""
        share = f" ({self.images_done / self.images:.0%})" if self.images else ""
        speed = f"; {self.rate:.1f} images/s" if self.rate else ""
        lines = [
            f"{self.run}: {self._who}",
            f"shards: {self.shards_done:,} of {self.shards:,} finished; images: {self.images_done:,} of "
            f"{self.images:,}{share}{speed}",
            f"failed images: {self._failed}",
            *(stage.words for stage in self.stages),
        ]
        if self.writer:
            left = "not known yet" if self.seconds_left is None else f"about {duration(self.seconds_left)}"
            lines.append(f"time left: {left}")
        return lines

    @property
    def _who(self) -> str:
        if self.writer:
            return f"under way ({self.writer})"
        if self.shards_done < self.shards:
            return "nobody is seen at work on it; the same `hansaudit run` goes on from there"
        if not self.ranking:
            return "audited, without a ranking; `hansaudit rank` makes it"
        return "finished" if self.report else "finished, without a report; `hansaudit report` writes it"

    @property
    def _failed(self) -> str:
        if self.failed_of == self.images_done:
            return f"{self.failed:,}"
        return f"{self.failed:,} of the last {self.failed_of:,}"


def status_of(run: RunFolder, now: datetime | None = None) -> Status:
    """How far ``run`` is at the moment ``now``.

    Raises:
        InputError: it is no run folder, or its manifest cannot be used.
    """
    manifest, done = run.manifest, run.done
    owner = run.files.writer()
    sizes = {key: len(parse_key("", key)) for key in manifest["shards"]}
    finished = [key for key in sizes if key in done]
    images_done = sum(sizes[key] for key in finished)
    session = manifest["sessions"][-1] if manifest["sessions"] else {}
    rate = _rate(session, images_done, now or datetime.now(UTC))
    stages = _stages(session, owner is not None)
    failed, failed_of = _failed(run, finished[-_PARTS_LOOKED_AT:])
    images = sum(sizes.values())
    names = run.files.names("")
    return Status(
        run=run.path,
        writer=_words(owner),
        shards=len(sizes),
        shards_done=len(finished),
        images=images,
        images_done=images_done,
        failed=failed,
        failed_of=failed_of,
        stages=stages,
        rate=rate,
        seconds_left=_left(stages, images - images_done, rate) if owner else None,
        ranking=RANKING in names,
        report=REPORT in names,
    )


def _words(owner: Owner | None) -> str:
    return "" if owner is None else f"process {owner.pid} on {owner.host}"


def _rate(session: Mapping[str, Any], images_done: int, now: datetime) -> float | None:
    """Images per second of the session's audit, from its start to its end, or to now."""
    new = images_done - int(session.get("finished_before", images_done))
    seconds = float(session.get("seconds") or 0.0)
    if not session.get("ended") and "started" in session:
        started = datetime.fromisoformat(session["started"])
        seconds = (now - started.replace(tzinfo=started.tzinfo or UTC)).total_seconds()
    return new / seconds if new > 0 and seconds > 0 else None  # a clock may have been set back


def _stages(session: Mapping[str, Any], writing: bool) -> tuple[StageStatus, ...]:
    """The stages in their order: those that were forecast, and those that have ended."""
    spent = {str(name): float(seconds) for name, seconds in (session.get("spent") or {}).items()}
    expected = {str(s["stage"]): float(s["seconds"]) for s in session.get("forecast") or ()}
    last = [name for name in (RANKED, REPORTED) if expected and name not in spent]
    names = [n for n in dict.fromkeys([*expected, *spent, *last]) if n in spent or n not in _INSIDE]
    stages: list[StageStatus] = []
    for name in names:
        begun = all(s.state == DONE for s in stages)
        state = DONE if name in spent else TO_COME if not begun else UNDER_WAY if writing else STOPPED
        stages.append(StageStatus(name, state, spent.get(name), expected.get(name)))
    return tuple(stages)


def _left(stages: Sequence[StageStatus], images: int, rate: float | None) -> float | None:
    """Seconds to the end: of the audit by its rate, of what follows as it was forecast, where it was."""
    ahead = [stage for stage in stages if stage.state != DONE]
    seconds = sum(stage.forecast or 0.0 for stage in ahead if stage.name != AUDIT)
    if all(stage.name != AUDIT for stage in ahead):
        return seconds
    return None if rate is None else seconds + images / rate


def _failed(run: RunFolder, keys: Sequence[str]) -> tuple[int, int]:
    """Failed images in the parts of ``keys``, and how many images these are; what cannot be read is left out:
    `hansaudit verify` names it."""
    failed = images = 0
    for key in keys:
        raw = run.files.get(part_name(COMMIT, key))
        try:
            status = pq.ParquetFile(pa.py_buffer(raw or b"")).read(["status"])["status"]
        except (pa.ArrowException, OSError, KeyError):
            continue
        images += len(status)
        failed += status.to_pylist().count(STATUS_FAILED)
    return failed, images
