"""One case: a command, a signal, a moment; then everything is looked after and the command started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from flows.cli import INTERRUPTED
from tests.kill.world import MARK, Target, World, content, difference

FAULTS = ("code", "words", "pipe", "left over", "servers", "again", "rows", "temporary")
_LONG = 120.0  # seconds that a busy machine may take for what happens at once otherwise
_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


@dataclass
class Outcome:
    """Whether the signal came before the command's end, and what was wrong: fault to details."""

    hit: bool = False
    faults: dict[str, str] = field(default_factory=dict)


def play(world: World, target: Target, seed: int, number: int) -> Outcome:
    """Case ``number`` of ``target``: always the same for the same seed, as far as a moment can be."""
    rng = np.random.default_rng([seed, number])
    kind = signal.SIGKILL if target.worker else _SIGNALS[rng.integers(len(_SIGNALS))]
    expected = content(world.undisturbed(target))
    moment = world.seconds[target.name] * rng.uniform(0.05, 1.0)
    folder = world.folder / "cases" / str(number)
    target.before(folder)
    outcome, mark = Outcome(), f"{os.getpid()}-{seed}-{number}"
    process = world.start(target.arguments(folder), mark)
    reader = _Reader(process)
    _strike(process, target, kind, moment, mark, outcome)
    _look(process, reader, kind, target, mark, outcome)
    _again(world, target, folder, mark, outcome)
    if "again" not in outcome.faults:
        if differs := difference(expected, content(folder)):
            outcome.faults["rows"] = differs
        if rests := [p.name for p in folder.parent.rglob(".tmp-*")]:
            outcome.faults["temporary"] = rests[0]
    shutil.rmtree(folder, ignore_errors=True)
    return outcome


class _Reader(threading.Thread):
    """Reads a pipe to its end."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True)
        self.said, self._process = b"", process
        self.start()

    def run(self) -> None:
        assert self._process.stdout is not None
        self.said = self._process.stdout.read()


def _strike(
    process: subprocess.Popen[bytes], target: Target, kind: int, moment: float, mark: str, outcome: Outcome
) -> None:
    """Wait for the moment and send the signal: as `kill` does, or to all of a terminal as Ctrl-C does."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(moment)
        return
    servers = [p for p in _processes(mark) if "lifeline.py" in " ".join(p.cmdline())]
    if len(servers) > 1:
        outcome.faults["servers"] = f"{len(servers)} at once"
    if target.worker:
        outcome.hit = _kill_a_worker(process, mark)
        return
    outcome.hit = True
    if kind == signal.SIGINT:
        os.killpg(process.pid, kind)
    else:
        process.send_signal(kind)


def _kill_a_worker(process: subprocess.Popen[bytes], mark: str) -> bool:
    """Kill the first worker there is; False where the command ended without one."""
    while process.poll() is None:
        for candidate in _processes(mark):
            with suppress(psutil.Error):
                if "spawn_main" in " ".join(candidate.cmdline()):
                    candidate.kill()
                    return True
        time.sleep(0.05)
    return False


def _look(
    process: subprocess.Popen[bytes], reader: _Reader, kind: int, target: Target, mark: str, outcome: Outcome
) -> None:
    """Exit code, words, the pipe's end, and that no process is left."""
    try:
        code = process.wait(_LONG)
    except subprocess.TimeoutExpired:
        outcome.faults["code"] = f"did not end within {_LONG:.0f} s of signal {kind}"
        process.kill()
        code = process.wait()
    reader.join(_LONG)
    said = reader.said.decode(errors="replace")
    if reader.is_alive():
        outcome.faults["pipe"] = "somebody holds the command's output"
    if code not in _right_codes(kind, target, outcome):
        outcome.faults.setdefault("code", f"{code} after signal {kind}: {said[-300:]}")
    if "Traceback" in said and code != -kind:
        outcome.faults["words"] = said[-500:]
    deadline = time.monotonic() + _LONG
    while (left := _processes(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for one in left:
        outcome.faults["left over"] = f"{one.pid}: {' '.join(one.cmdline())[:200]}"
        with suppress(psutil.Error):
            one.kill()


def _right_codes(kind: int, target: Target, outcome: Outcome) -> set[int]:
    """0: it was done; the signal's own: nobody could catch it, or nobody did yet."""
    if target.worker or not outcome.hit:
        return {0}
    return {0, -kind} if kind == signal.SIGKILL else {0, -kind, INTERRUPTED}


def _again(world: World, target: Target, folder: Path, mark: str, outcome: Outcome) -> None:
    """The same command once more, to its end; a dataset that is whole is not made again."""
    if target.name == "prepare" and folder.exists():
        return
    process = world.start(target.arguments(folder), mark)
    try:
        said, _ = process.communicate(timeout=600)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        outcome.faults["again"] = "did not end within 600 s"
        return
    if process.returncode:
        outcome.faults["again"] = f"code {process.returncode}: {said.decode(errors='replace')[-300:]}"


def _processes(mark: str) -> list[psutil.Process]:
    """The living processes of a case, wherever they went."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
