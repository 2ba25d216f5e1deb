"""Prefect's API: one that is configured and answers, or a local server that lives as long as this process.

The local server is one for this process and all its workers: they read ``PREFECT_API_URL``.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from flows.settings import prepare_prefect
from pipeline.errors import InputError

_URL = "PREFECT_API_URL"
_PATIENCE = 120.0  # seconds for a local server: its first start migrates a database
_ANSWER = 5.0  # seconds for a configured API to answer a question about its health
_ATTEMPTS = 3  # another process may take the free port that was found
_LIFELINE = Path(__file__).with_name("lifeline.py")
_HOSTED = "uvicorn --factory prefect.server.api.server:create_app --log-level error --lifespan on"
_SCHEDULING = "prefect server start"


class LocalServer:
    """A server on this machine; it starts while other things are done, until :meth:`wait`.

    It ends with this process, holds none of its descriptors, and hears none of its terminal's signals.
    """

    def __init__(self, command: str) -> None:
        self._command = command
        self._attempts = 0
        self._start()

    def _start(self) -> None:
        self._attempts += 1
        self.port = _free_port()
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the server
        place = ["--host", "127.0.0.1", "--port", str(self.port)]
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_LIFELINE), str(os.getpid()), *self._command.split(), *place],
            stdin=subprocess.PIPE,  # the lifeline
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            env=_environment(temporary=self._command == _HOSTED),
        )

    @property
    def url(self) -> str:
        """What ``PREFECT_API_URL`` has to be."""
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def running(self) -> bool:
        """Whether the process lives; it may not answer yet."""
        return self._process.poll() is None

    def wait(self) -> None:
        """Return when the server answers, and make it this process's API.

        Raises:
            InputError: it ended, or did not answer in time.
        """
        deadline = time.monotonic() + _PATIENCE
        while not _answers(f"{self.url}/health"):
            if not self.running:
                if self._attempts == _ATTEMPTS:
                    raise InputError(self._what_failed(f"ended with code {self._process.returncode}"))
                self.stop()
                self._start()
            elif time.monotonic() > deadline:
                raise InputError(self._what_failed(f"did not answer within {_PATIENCE:.0f} s"))
            time.sleep(0.1)
        _use(self.url)

    def stop(self) -> None:
        """End the server, if it has not ended."""
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
        self._log.close()
        if os.environ.get(_URL) == self.url:
            _use(None)

    def _what_failed(self, how: str) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        why = f" ({lines[-1].strip()})" if lines else ""
        return (
            f"Prefect's local server {how}{why}; set PREFECT_HOME to an empty folder, or {_URL} to a server "
            "that runs"
        )


_local: LocalServer | None = None  # of this process


def start_server() -> LocalServer | None:
    """Start the temporary server of this process, unless an API is configured; it has to be waited for.

    Raises:
        InputError: the configured API does not answer, or Prefect has no folder to write into.
    """
    global _local
    if _local is not None and _local.running:
        return _local
    if _local is not None:
        _local.stop()
        _local = None
    if _is_configured():
        return None
    _local = LocalServer(_HOSTED)
    atexit.register(_local.stop)
    return _local


@contextmanager
def scheduling_server() -> Iterator[None]:
    """The configured API, or a local server of its own.

    The temporary server of single runs would not do: it has no scheduler.

    Raises:
        InputError: as :func:`start_server`.
    """
    if _is_configured():
        yield
        return
    server = LocalServer(_SCHEDULING)
    try:
        server.wait()
        yield
    finally:
        server.stop()


def require_server() -> None:
    """Refuse to go on without an API that outlives this process.

    Raises:
        InputError: none is configured, or it does not answer.
    """
    if not _is_configured():
        raise InputError(
            f"no Prefect server is configured, and a deployment needs one that stays; start one "
            f"(`prefect server start`) and set {_URL}, or use `hansaudit serve`, which needs none"
        )


def _is_configured() -> bool:
    """Whether the user names an API, which must answer then."""
    prepare_prefect()
    if not os.environ.get(_URL):
        _check_home()
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url
    if url is not None:
        _check_answers(url)
    return url is not None


def _check_home() -> None:
    """Refuse a home that Prefect cannot write: it would try for minutes and then name a symptom."""
    home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect").expanduser()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise InputError(
            f"{home}: cannot be written ({error.strerror}), and Prefect keeps its database there; "
            "set PREFECT_HOME to a folder that can"
        ) from None


def _check_answers(url: str) -> None:
    import httpx  # as Prefect does: proxies and certificates are its settings' business
    from prefect.settings import get_current_settings

    verify = not get_current_settings().api.tls_insecure_skip_verify
    try:
        httpx.get(f"{url.rstrip('/')}/health", timeout=_ANSWER, verify=verify)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise InputError(
            f"{_URL} = {url}: does not answer ({str(error) or type(error).__name__}); start that server, or "
            "unset the variable (`prefect config unset PREFECT_API_URL` where a profile says it) to have a "
            "temporary one"
        ) from None


def _use(url: str | None) -> None:
    """Make ``url`` the API of this process, of every thread of it, and of the processes it starts."""
    from prefect.context import refresh_global_settings_context

    if url is None:
        os.environ.pop(_URL, None)
    else:
        os.environ[_URL] = url
    refresh_global_settings_context()


def _environment(temporary: bool) -> dict[str, str]:
    """Of a server: Prefect's settings, wherever they were made; without page and schedule where temporary."""
    from prefect.settings import get_current_settings

    environment = os.environ | get_current_settings().to_environment_variables(exclude_unset=True)
    if temporary:
        environment |= {
            "PREFECT_UI_ENABLED": "0",
            "PREFECT__SERVER_EPHEMERAL": "1",
            "PREFECT__SERVER_FINAL": "1",
        }
    return environment


def _answers(url: str) -> bool:
    local = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy
    try:
        with local.open(url, timeout=_ANSWER):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
