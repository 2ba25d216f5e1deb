"""Reads side by side, in the order in which they were asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

READERS: Final = 16  # requests at the same time
BUDGET: Final = 1 << 26  # bytes that are read or wait to be taken

_A = TypeVar("_A")
_B = TypeVar("_B")


def in_order(
    call: Callable[[_A], _B],
    items: Iterable[_A],
    cost: Callable[[_A], int] = lambda item: 0,
    readers: int = READERS,
    budget: int = BUDGET,
) -> Iterator[_B]:
    """``call(item)`` of every item, in their order, up to ``readers`` at the same time.

    ``cost``: bytes that the result of an item takes; of what was begun and not yet taken they stay within
    ``budget``, unless one item alone takes more. What a call raises is raised in its place, and nothing more
    is begun.
    """
    window: deque[tuple[Future[_B], int]] = deque()
    held = 0
    with ThreadPoolExecutor(readers, "read") as pool:
        try:
            for item in items:
                size = cost(item)
                while window and (len(window) >= 2 * readers or held + size > budget):
                    future, freed = window.popleft()
                    held -= freed
                    yield future.result()
                window.append((pool.submit(call, item), size))
                held += size
            while window:
                yield window.popleft()[0].result()
        finally:
            for future, _ in window:
                future.cancel()
