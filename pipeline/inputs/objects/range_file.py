"""An object as a file that is read from any position, in blocks, those that follow ahead of their use."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

BLOCK: Final = 1 << 22  # bytes of a request
AHEAD: Final = 4  # blocks that are read while one is used


class RangeFile(io.BufferedIOBase):
    """A file of ``size`` bytes, of which ``fetch(span)`` gives those at the positions ``span``.

    At most ``ahead + 2`` blocks are in memory. They are read ahead only where one block follows the other: a
    reader that hops gets what it asks for. Reading raises what ``fetch`` does, and EOFError where that gives
    nothing.
    """

    def __init__(
        self, fetch: Callable[[range], bytes], size: int, block: int = BLOCK, ahead: int = AHEAD
    ) -> None:
        self._ask, self._size = fetch, size
        self._block, self._ahead = block, ahead
        self._position = 0
        self._held = (-2, b"")  # the block that was used last, and its number
        self._coming: dict[int, Future[bytes]] = {}
        self._pool: ThreadPoolExecutor | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        end = self._size
        if size is not None and size >= 0:
            end = min(end, self._position + size)
        parts = []
        while self._position < end:
            number, start = divmod(self._position, self._block)
            part = self._take(number)[start : start + end - self._position]
            if not part:
                raise EOFError(f"no bytes at {self._position} of {self._size}")
            parts.append(part)
            self._position += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        self._coming.clear()
        super().close()

    def _take(self, number: int) -> bytes:
        """Block ``number``, and where it follows the last one the request for those that follow it."""
        last, data = self._held
        if number == last:
            return data
        future = self._coming.pop(number, None)
        if number == last + 1:
            self._read_ahead(number + 1)
        else:
            self._forget()
        self._held = (number, future.result() if future else self._fetch(number))
        return self._held[1]

    def _read_ahead(self, first: int) -> None:
        if self._pool is None and self._ahead:
            self._pool = ThreadPoolExecutor(self._ahead, "blocks")
        for number in range(first, first + self._ahead):
            if number not in self._coming and number * self._block < self._size and self._pool:
                self._coming[number] = self._pool.submit(self._fetch, number)

    def _forget(self) -> None:
        for future in self._coming.values():
            future.cancel()
        self._coming.clear()

    def _fetch(self, number: int) -> bytes:
        start = number * self._block
        return self._ask(range(start, min(start + self._block, self._size)))
