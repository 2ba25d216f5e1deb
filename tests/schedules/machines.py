"""A database, a Prefect server and a worker as processes of their own, to be killed and started again."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from glob import glob
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE = 300.0  # seconds for a server to answer, on a machine that is busy


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Machine:
    """A process that can be started again after it ended; its output goes to ``log``."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self.command, self.environment, self.log = command, environment, log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def end(self, number: signal.Signals) -> None:
        """Send the signal to the process alone, and wait for its end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait()

    def clear(self) -> None:
        """End it and all that it started."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def wait_for(url: str) -> None:
    """Return when the server answers."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{url}/health", timeout=5):
            return
        time.sleep(0.5)
    raise SystemExit(f"{url} does not answer")


@contextmanager
def sqlite(folder: Path) -> Iterator[str]:
    """The address of a database in a file."""
    yield f"sqlite+aiosqlite:///{folder}/prefect.db"


def postgresql_folder() -> str | None:
    """Where PostgreSQL's programs are; None where it is not installed."""
    places = [
        *sorted(glob("/usr/lib/postgresql/*/bin"), reverse=True),
        os.path.dirname(shutil.which("pg_ctl") or ""),
    ]
    return next((place for place in places if place and Path(place, "initdb").exists()), None)


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """The address of an empty database of a PostgreSQL server of its own, which ends with the context."""
    programs, data, port = postgresql_folder(), folder / "postgresql", free_port()
    data.mkdir(mode=0o700)
    user: dict[str, object] = {}
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        owner = pwd.getpwnam("postgres")
        os.chown(data, owner.pw_uid, owner.pw_gid)
        folder.chmod(0o755)
        user = {"user": "postgres", "group": "postgres", "extra_groups": []}

    def call(program: str, *arguments: str) -> None:
        subprocess.run(
            [f"{programs}/{program}", *arguments], cwd="/", check=True, stdout=subprocess.DEVNULL, **user
        )  # type: ignore[call-overload]

    call("initdb", "-D", str(data), "-U", "prefect", "-A", "trust")
    options = f"-p {port} -h 127.0.0.1 -k {data}"
    call("pg_ctl", "-D", str(data), "-o", options, "-l", f"{data}/log", "-w", "start")
    try:
        call("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "prefect", "prefect")
        yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/prefect"
    finally:
        call("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")


def prefect(*arguments: str) -> list[str]:
    """Prefect's command line."""
    return [sys.executable, "-m", "prefect", *arguments]
