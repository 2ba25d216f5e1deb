"""What keeps other pages and other machines out of a server on this machine.

Every page that a browser shows may send requests to 127.0.0.1. So: the ``Host`` must be the address that was
printed (a name that was rebound to 127.0.0.1 is another host), a request that writes must say the same
``Origin``, and everything but the empty shell needs the cookie that only the printed token buys (OWASP,
Cross-Site Request Forgery Prevention; RFC 6265 bis, SameSite). Bodies are read here, up to a limit.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final

BIGGEST_BODY: Final = 64 * 1024  # bytes: a decision, or the boxes of one image
OPEN: Final = (("GET", "/"), ("POST", "/api/session"))  # without a session: the shell, and the way to one
_SAFE: Final = ("GET", "HEAD")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


@dataclass(frozen=True)
class Keys:
    """The ``token`` of the printed address, and the ``session`` that a browser gets for it, in a cookie."""

    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def origin(self) -> str:
        return f"http://{self.host}"

    @property
    def address(self) -> str:
        """To be opened; the token is behind ``#``, which no browser sends or logs."""
        return f"{self.origin}/#{self.token}"

    @property
    def cookie(self) -> str:
        """Its name: cookies of a host are shared by its ports."""
        return f"hansaudit-{self.port}"

    def opens(self, token: object) -> bool:
        return isinstance(token, str) and hmac.compare_digest(token.encode(), self.token.encode())

    def knows(self, cookies: str) -> bool:
        """Whether a ``Cookie`` header holds the session."""
        try:
            morsel = SimpleCookie(cookies).get(self.cookie)
        except CookieError:
            return False
        return morsel is not None and hmac.compare_digest(morsel.value.encode(), self.session.encode())


class Guard:
    """ASGI middleware: refuses what the module says, and gives every answer its headers."""

    def __init__(self, app: App, keys: Keys) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":  # no web sockets here
            return None
        if refusal := self._refusal(scope):
            return await _answer(_with_headers(send), *refusal)
        body = await _body(receive)
        if body is None:
            said = f"more than {BIGGEST_BODY} bytes"
            return await _answer(_with_headers(send), 413, said)
        return await self._app(scope, _once(body), _with_headers(send))

    def _refusal(self, scope: MutableMapping[str, Any]) -> tuple[int, str] | None:
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        method, path, keys = scope["method"], scope["path"], self._keys
        if headers.get("host") != [keys.host]:
            return 421, f"this is {keys.host} and no other host"
        if method not in _SAFE and headers.get("origin") != [keys.origin]:
            return 403, "requests that write come from this page only"
        if headers.get("origin", [keys.origin]) != [keys.origin]:
            return 403, "other pages read nothing here"
        if (method, path) not in OPEN and not keys.knows("; ".join(headers.get("cookie", []))):
            return 401, "open the address that `hansaudit review` printed, with the token behind #"
        length = headers.get("content-length", ["0"])[-1]
        if not length.isdecimal() or len(length) > 12 or int(length) > BIGGEST_BODY:
            return 413, f"more than {BIGGEST_BODY} bytes"
        return None


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None where it is larger than the limit, whatever its header said."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return body
        body += message.get("body", b"")
        if len(body) > BIGGEST_BODY:
            return None
        if not message.get("more_body"):
            return body


def _once(body: bytes) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive


def _with_headers(send: Send) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
        await send(message)

    return wrapped


async def _answer(send: Send, status: int, text: str) -> None:
    content = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(content)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
