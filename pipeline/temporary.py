"""Names of files that are being written: they say whose they are, so that only what the dead left is removed.

A finished file never has such a name: it is renamed when it is whole.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TEMPORARY: Final = ".tmp-"
_ABANDONED = 24 * 3600.0  # seconds; writing takes some, so that an older file is nobody's, on any machine


@dataclass(frozen=True)
class Owner:
    """The process that writes a file.

    ``started``: in ticks since the machine's start, "0" where the system does not tell; it sets a process
    apart from a later one with the same id.
    """

    host: str
    pid: int
    started: str

    @staticmethod
    def this_process() -> Owner:
        """The calling process."""
        return Owner(socket.gethostname(), os.getpid(), _start_of(os.getpid()))

    @property
    def lives(self) -> bool:
        """Whether the process still runs; one on another machine is taken to."""
        if self.host != socket.gethostname():
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # it lives, and is somebody else's
        return _start_of(self.pid) == self.started


def temporary_name(name: str) -> str:
    """Under which this process writes what is to be called ``name``; the suffix stays."""
    owner = Owner.this_process()
    return f"{TEMPORARY}{owner.host}~{owner.pid}~{owner.started}~{name}"


def owner_of(temporary: str) -> Owner | None:
    """Whose a temporary name is; None where it does not say.

    >>> owner_of(".tmp-node-7~12~345~part-3.parquet")
    Owner(host='node-7', pid=12, started='345')
    """
    parts = temporary.removeprefix(TEMPORARY).split("~", 3)
    return Owner(parts[0], int(parts[1]), parts[2]) if len(parts) == 4 and parts[1].isdigit() else None


def sweep(folder: str | Path, name: str = "*") -> None:
    """Remove what dead processes left of files and folders called ``name`` (a pattern), in ``folder``."""
    for path in Path(folder).glob(f"{TEMPORARY}{name}"):
        owner = owner_of(path.name)
        with suppress(OSError):
            if owner is not None and owner.lives and time.time() - path.stat().st_mtime < _ABANDONED:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _start_of(pid: int) -> str:
    """When a process started, as Linux tells it (proc(5), field 22 of ``stat``); "0" elsewhere."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "0"
    return stat.rpartition(")")[2].split()[19]  # the name, in brackets, may hold anything
