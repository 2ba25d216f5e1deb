"""Serving a review on this machine until interrupted."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import uvicorn

from pipeline.errors import InputError

if TYPE_CHECKING:
    from reports.review.app import Review
    from reports.review.guard import Keys

_MOST_AT_ONCE = 64  # connections: a page and its pictures


def listen(port: int) -> socket.socket:
    """A socket on 127.0.0.1. Raises :class:`InputError` where the port is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()  # whoever opens the printed address at once waits, and is not refused
    except OSError as error:
        listener.close()
        raise InputError(
            f"port {port}: cannot be opened: {error.strerror}; --port 0 takes a free one"
        ) from None
    return listener


def server_of(review: Review, keys: Keys) -> uvicorn.Server:
    """The server; it runs until interrupted (Ctrl-C, SIGTERM), and finishes requests that write before."""
    from reports.review.app import review_app

    config = uvicorn.Config(
        review_app(review, keys),
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        lifespan="off",
        ws="none",
        limit_concurrency=_MOST_AT_ONCE,
        timeout_graceful_shutdown=5,
    )
    return uvicorn.Server(config)
