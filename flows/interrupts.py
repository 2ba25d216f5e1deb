"""Ctrl-C and SIGTERM: an interruption is one, whatever the libraries in between make of it.

Python raises KeyboardInterrupt wherever it happens to be, also inside a library that then fails in a way of
its own ("Task run is not set") or swallows it. What counts is therefore that the signal came.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_came = False
_held_back = False


@contextmanager
def noticed() -> Iterator[None]:
    """Context in which both signals raise KeyboardInterrupt and are remembered; only in the main thread."""
    global _came
    _came = False
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _interrupt) for number in _SIGNALS}
    hook, sys.unraisablehook = sys.unraisablehook, _say_unless_interrupted
    try:
        yield
    finally:
        _came = False
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    global _came
    if _held_back and _came:  # a second time: no more patience
        os._exit(130)
    _came = True
    if not _held_back:
        raise KeyboardInterrupt


def _say_unless_interrupted(unraisable: UnraisableHookArgs) -> None:
    """Python prints what it raises inside a library's callback; an interruption is told once, at the end."""
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)


@contextmanager
def held_back() -> Iterator[None]:
    """Context of what must not be torn, such as loading a framework: an interruption comes after it."""
    global _held_back
    _held_back = True
    try:
        yield
    finally:
        _held_back = False
    stop_if_interrupted()


@contextmanager
def hidden_from_children() -> Iterator[None]:
    """Context whose new threads, and processes started by them, never see a terminal's Ctrl-C: it is ours.

    A worker that it hit while waiting would leave its pool's queue locked.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def stop_if_interrupted() -> None:
    """Raise the KeyboardInterrupt that a library may have swallowed; call it between pieces of work."""
    if _came:
        raise KeyboardInterrupt


def is_interruption(error: BaseException) -> bool:
    """Whether ``error`` comes of a signal: it says so, or one was noticed before it."""
    return _came or isinstance(error, KeyboardInterrupt) or type(error).__name__ == "TerminationSignal"


def end_at_once(code: int) -> None:
    """Let the signals end this process with ``code`` where only the interpreter's own end is left."""
    for number in _SIGNALS:
        signal.signal(number, lambda *_: os._exit(code))
