"""Prefect's API: the temporary server of single runs, and one with a scheduler for as long as this serves."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from flows.settings import prepare_prefect

_PATIENCE = 120.0  # seconds for the local server to answer


def start_server() -> None:
    """Start the temporary API server unless ``PREFECT_API_URL`` names one; returns when it answers."""
    if _configured_url() is None:
        from prefect.server.api.server import SubprocessASGIServer

        SubprocessASGIServer().start()


@contextmanager
def scheduling_server() -> Iterator[None]:
    """The API that ``PREFECT_API_URL`` names, or a local server of its own.

    The temporary server of single runs would not do: it has no scheduler.
    """
    if _configured_url() is not None:
        yield
        return
    port = _free_port()
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/api"
    try:
        _wait_for(url, server)
        os.environ["PREFECT_API_URL"] = url
        from prefect.settings import PREFECT_API_URL, temporary_settings

        with temporary_settings({PREFECT_API_URL: url}):
            yield
    finally:
        server.terminate()
        server.wait()


def _configured_url() -> str | None:
    prepare_prefect()
    from prefect.settings import get_current_settings

    return get_current_settings().api.url


def _wait_for(url: str, server: subprocess.Popen) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"the local Prefect server ended with code {server.returncode}")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"the local Prefect server did not answer within {_PATIENCE:.0f} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
