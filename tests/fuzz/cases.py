"""One case: a spoilt file, what reading it did, and whether that is allowed."""

from __future__ import annotations

import os
import resource
import signal
import sys
import traceback
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.mutation import mutate
from tests.fuzz.readers import Reader

SECONDS = 10
MEMORY = 2 << 30
ACCEPTED, REFUSED = "accepted", "refused"
# everything else that can happen is a fault
FAULTS = ("traceback", "not in lines", "over 10 s", "over 2 GiB", "outside", "different", "crashed")


@dataclass(frozen=True)
class Outcome:
    """What happened: ``accepted``, ``refused`` or one of ``FAULTS``, and the details of a fault."""

    kind: str
    detail: str = ""


def spoilt(reader: Reader, seed: int, number: int) -> bytes:
    """The file of case ``number``: the same for the same seed."""
    rng = np.random.default_rng([seed, zlib.crc32(reader.name.encode()), number])
    samples = reader.samples()
    return mutate(samples[int(rng.integers(len(samples)))], rng)


def judge(reader: Reader, data: bytes, folder: Path) -> Outcome:
    """Read ``data`` as a file in ``folder`` and say what came of it."""
    path = folder / f"case{reader.suffix}"
    path.write_bytes(data)
    good = _content(reader, folder) if reader.exact else None
    try:
        with _alarm(), _watched(folder) as escapes:
            result = reader.read(path)
    except _TooSlow:
        return Outcome("over 10 s")
    except MemoryError:
        return Outcome("over 2 GiB")
    except Exception as error:
        return _judge_error(error)
    if escapes:
        return Outcome("outside", "; ".join(escapes[:3]))
    if reader.exact and repr(result) != good:
        return Outcome("different", repr(result)[:200])
    return Outcome(ACCEPTED)


def _content(reader: Reader, folder: Path) -> str:
    if reader.name not in _CONTENTS:
        path = folder / f"good{reader.suffix}"
        path.write_bytes(reader.samples()[0])
        _CONTENTS[reader.name] = repr(reader.read(path))
    return _CONTENTS[reader.name]


_CONTENTS: dict[str, str] = {}


def _judge_error(error: Exception) -> Outcome:
    from explainers.errors import ExplainError
    from pipeline.config import ConfigError
    from pipeline.errors import InputError

    if not isinstance(error, (InputError, ConfigError, ExplainError)):
        return Outcome("traceback", "".join(traceback.format_exception(error))[-2000:])
    lines = str(error).split("\n")  # a configuration may have several faults, each with its line
    if not all(line.isprintable() and 0 < len(line) <= 1000 for line in lines):
        return Outcome("not in lines", repr(str(error)[:1000]))
    return Outcome(REFUSED)


class _TooSlow(BaseException):
    """Not an Exception: no reader may take it for a fault of its file."""


@contextmanager
def _alarm() -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise _TooSlow

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


_escapes: list[str] = []
_allowed: list[Path] = []


@contextmanager
def _watched(folder: Path) -> Iterator[list[str]]:
    """What is started, connected to, or opened for writing elsewhere while the context lasts."""
    _escapes.clear()
    _allowed[:] = [folder.resolve()]
    try:
        yield _escapes
    finally:
        _allowed.clear()


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _allowed:
        return
    if event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect"):
        _escapes.append(f"{event} {arguments!r:.200}")
    elif event == "open" and isinstance(arguments[0], (str, bytes)):
        path, mode, flags = arguments
        writes = any(c in str(mode or "") for c in "wax+") or bool(flags & (os.O_WRONLY | os.O_RDWR))
        place = Path(os.fsdecode(path)).resolve()
        if writes and not place.is_relative_to(_allowed[0]) and place != Path(os.devnull):
            _escapes.append(f"open {place} for writing")


def guard() -> None:
    """Watch this process from now on, and let it have ``MEMORY`` more than it has."""
    sys.addaudithook(_hook)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
