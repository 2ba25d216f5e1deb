"""A real S3 protocol server, and a proxy before it that does to requests what networks and stores do."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

STALL = 2.5  # seconds that a request stands still
_PER_HOP = ("connection", "transfer-encoding", "keep-alive", "host")


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of an S3 server, a process of its own."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = (re.search(r"http://127[.\d]+:\d+", line) for line in process.stderr)
        address = next(filter(None, lines), None)
        drain = threading.Thread(target=process.stderr.read)  # a full pipe would stop the server
        drain.start()
        try:
            assert address is not None, "the S3 server did not start"
            yield address.group()
        finally:
            process.terminate()
            drain.join()


def environment(address: str) -> dict[str, str]:
    """What a user sets for that server."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }


def upload(store: Any, folder: Path, place: str) -> None:
    """Every file below ``folder`` to ``bucket/folder``, byte for byte."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            store.pipe_file(f"{place}/{path.relative_to(folder).as_posix()}", path.read_bytes())


@dataclass(frozen=True)
class Request:
    """What a client asked for; ``key``: path without the query; ``turn``: how often this was asked before."""

    method: str
    key: str
    query: str
    span: str
    turn: int


@dataclass
class Faults:
    """What the proxy does to a request: a fault of ``plan(request)``, or nothing where that is None.

    A number is that HTTP status; ``403 CODE`` an error of S3 of that name; ``cut``: the connection ends in
    the middle of the body; ``lost``: before any answer; ``slow``: the body stops for :data:`STALL` seconds.
    """

    plan: Callable[[Request], str | None] = lambda request: None
    seen: list[Request] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def meet(self, method: str, path: str, span: str) -> str | None:
        """The fault of this request."""
        parts = urlsplit(path)
        with self.lock:
            turn = sum((r.method, r.key, r.span) == (method, parts.path, span) for r in self.seen)
            request = Request(method, parts.path, parts.query, span, turn)
            self.seen.append(request)
            fault = self.plan(request)
            if fault:
                self.done.append(fault)
            return fault


@contextmanager
def proxy(target: str, faults: Faults) -> Iterator[str]:
    """The address of a proxy before ``target``."""
    handler = type("Handler", (_Handler,), {"target": urlsplit(target).netloc, "faults": faults})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: clients go when they have waited long enough."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    target: str
    faults: Faults

    def log_message(self, format: str, *given: Any) -> None:
        """Nothing: the tests' output is theirs."""

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.faults.meet(self.command, self.path, self.headers.get("Range", ""))
        if fault == "lost":
            self.close_connection = True
            return
        if fault and fault[0].isdigit():
            self._refuse(*fault.split(" ", 1))
            return
        upstream = http.client.HTTPConnection(self.target)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _PER_HOP}
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in (*_PER_HOP, "content-length", "date", "server"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        self._send(content, fault)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass

    def _refuse(self, status: str, code: str = "") -> None:
        text = f"<Error><Code>{code}</Code><Message>no</Message></Error>" if code else ""
        content = b"" if self.command == "HEAD" else text.encode()
        self.send_response(int(status))
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _send(self, content: bytes, fault: str | None) -> None:
        with suppress(OSError):  # the client has gone
            half = len(content) // 2
            self.wfile.write(content[:half])
            self.wfile.flush()
            if fault == "cut":
                self.close_connection = True
                return
            if fault == "slow":
                time.sleep(STALL)
            self.wfile.write(content[half:])
