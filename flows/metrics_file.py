"""A text file that Prometheus reads through node_exporter's textfile collector (``--metrics-file``).

Its format: https://prometheus.io/docs/instrumenting/exposition_formats/ (text, version 0.0.4). Written whole
or not at all: the collector may read at any moment.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from flows.journal import Pace
from pipeline.errors import InputError
from pipeline.temporary import temporary_name

Sample = tuple[str, str, float]  # name, labels, value
_LEAST = 1.0  # seconds between two writes of progress
_HELP = {
    "hansaudit_running": "1 while a run is under way, else 0.",
    "hansaudit_stage_done": "What the stage has finished.",
    "hansaudit_stage_total": "What the stage has to do.",
    "hansaudit_stage_seconds": "Time since the stage began.",
    "hansaudit_seconds_left": "Time that the stage still takes at its rate.",
    "hansaudit_updated_timestamp_seconds": "When this file was written.",
    "hansaudit_succeeded": "1 where the run came to its end, 0 where it failed; absent while it runs.",
    "hansaudit_success_timestamp_seconds": "When a run last came to its end.",
}


@dataclass
class MetricsFile:
    """The file at ``path``. ``run``: label of all its samples.

    Raises:
        InputError: it cannot be written (said before any work, by :meth:`watching`).
    """

    path: Path
    run: str
    _written: float = 0.0
    _succeeded_at: float | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Context of a run: how it ends is written too; the moment of an earlier success is kept."""
        self._succeeded_at = self._earlier_success()
        self._put(self._text({"hansaudit_running": 1}, []))
        succeeded = 0
        try:
            yield
            succeeded = 1
            self._succeeded_at = time.time()
        finally:
            self._write({"hansaudit_running": 0, "hansaudit_succeeded": succeeded})

    def progress(self, pace: Pace) -> None:
        """Write how far a stage is; not more often than once a second."""
        if time.monotonic() - self._written < _LEAST:
            return
        values: dict[str, float | None] = {
            "hansaudit_stage_done": pace.done if pace.total else None,
            "hansaudit_stage_total": pace.total or None,
            "hansaudit_stage_seconds": pace.seconds,
            "hansaudit_seconds_left": pace.left,
        }
        labels = f'{self._of_run},stage="{_label(pace.stage)}",unit="{_label(pace.unit)}"'
        stage = [(name, labels, value) for name, value in values.items() if value is not None]
        self._write({"hansaudit_running": 1}, stage)

    def _earlier_success(self) -> float | None:
        name = "hansaudit_success_timestamp_seconds"
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
            return next((float(line.split()[-1]) for line in lines if line.startswith(name)), None)
        except (OSError, ValueError):
            return None

    @property
    def _of_run(self) -> str:
        return f'run="{_label(self.run)}"'

    def _write(self, of_run: dict[str, float], of_stage: Sequence[Sample] = ()) -> None:
        """While it runs, a disk that is full costs this file, not the run."""
        self._written = time.monotonic()
        with suppress(InputError):
            self._put(self._text(of_run, of_stage))

    def _text(self, of_run: dict[str, float], of_stage: Sequence[Sample]) -> str:
        of_run = of_run | {"hansaudit_updated_timestamp_seconds": time.time()}
        if self._succeeded_at is not None:
            of_run["hansaudit_success_timestamp_seconds"] = self._succeeded_at
        samples = [*((name, self._of_run, value) for name, value in of_run.items()), *of_stage]
        return "".join(
            f"# HELP {name} {_HELP[name]}\n# TYPE {name} gauge\n{name}{{{labels}}} {value:.15g}\n"
            for name, labels, value in samples
        )

    def _put(self, text: str) -> None:
        # the collector reads whatever ends with .prom
        temporary = self.path.with_name(temporary_name(f"{self.path.name}.part"))
        try:
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, self.path)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise InputError(
                f"--metrics-file {self.path}: cannot be written ({error.strerror}); name a file in a folder "
                "that can"
            ) from None


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
