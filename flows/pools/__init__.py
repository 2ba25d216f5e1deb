"""Where the bodies of tasks are run: processes of this machine, a Dask or a Ray cluster, local or by address.

A pool runs one call at a time in each of its workers, which keep their model between calls.
"""

from __future__ import annotations

import socket
from typing import Any, Protocol
from urllib.parse import urlsplit

from pipeline.errors import InputError

PATIENCE = 10.0  # seconds for a cluster to answer


class WorkerDied(Exception):
    """A worker ended before its call did."""


class Pool(Protocol):
    """Workers, started by making it."""

    @property
    def broken(self) -> bool:
        """Whether it can run no call any more since a worker died, and has to be made anew."""

    def run(self, call: bytes, key: str) -> Any:
        """:func:`flows.worker.run_call` in a worker that is free; waits for its result.

        Raises:
            WorkerDied: and whatever the call raises.
        """

    def close(self, at_once: bool) -> None:
        """End the workers, those at work included where ``at_once``."""


def check_answers(runner: str, address: str) -> None:
    """Raises InputError for an address that is none, or where nothing answers within some seconds."""
    wrong = f"execution.address = {address!r}: "
    try:
        place = urlsplit(address if "://" in address else f"//{address}")
        host, port = place.hostname, place.port
    except ValueError:
        host = port = None
    if host is None or port is None:
        raise InputError(f"{wrong}is no address of a cluster; {_EXAMPLES[runner]}")
    try:
        with socket.create_connection((host, port), timeout=PATIENCE):
            pass
    except OSError as error:
        raise InputError(
            f"{wrong}does not answer ({error.strerror or error}); start the {runner} cluster there, or leave "
            "the address out for one on this machine"
        ) from None


_EXAMPLES = {
    "dask": "valid: that of its scheduler, such as tcp://10.0.0.5:8786",
    "ray": "valid: that of its head, such as 10.0.0.5:6379, or ray://10.0.0.5:10001 from outside",
}
