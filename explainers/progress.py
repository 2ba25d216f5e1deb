"""Who wants to know how far long work is: a listener, set for the time of a `with` block.

with listen(lambda what, done, total: print(what, done, total)):
    fitted.analyze(x)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int], None]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listen(listener: Listener) -> Iterator[None]:
    """Call `listener(what, done, total)` after every batch of model evaluations inside the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def report(what: str, done: int, total: int) -> None:
    """`done` of `total` evaluations of `what` are finished."""
    listener = _listener.get()
    if listener is not None:
        listener(what, done, total)
