"""One request to an object store, made again where that can help: every repetition is counted."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final, TypeVar

from pipeline.errors import InputError
from pipeline.inputs.objects.clients import Changed, Client, Page, State, open_client
from pipeline.inputs.objects.faults import CHANGED, ShortAnswer, StoreFault, Unreadable, permanent, transient
from pipeline.inputs.objects.traffic import TRAFFIC

_T = TypeVar("_T")


@dataclass(frozen=True)
class Patience:
    """How long a store is asked for the same.

    Attributes:
        attempts: at most; between them pass ``first`` seconds, doubled each time up to ``longest``, less a
            random part of up to a half (many workers shall not come back together).
        seconds: that one request may take, and one more for every ``bytes_per_second`` of its answer.
    """

    attempts: int = 6
    first: float = 0.2
    longest: float = 10.0
    seconds: float = 30.0
    bytes_per_second: float = 250_000.0

    def pause(self, attempt: int) -> float:
        """Seconds after attempt 0, 1, ..."""
        return min(self.longest, self.first * 2**attempt) * random.Random().uniform(0.5, 1.0)


PATIENCE: Final = Patience()


class ObjectStore:
    """The objects of one protocol; cheap to send to another process, which opens its own connections."""

    def __init__(self, protocol: str, patience: Patience = PATIENCE) -> None:
        self.protocol, self.patience = protocol, patience
        self._opened: tuple[int, Client] | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return ObjectStore, (self.protocol, self.patience)

    def listing(self, url: str) -> Iterator[tuple[str, State]]:
        """(name below the folder ``url``, state) of every object there, in no order.

        Raises :class:`StoreFault` or :class:`Unreadable`, also for a name that climbs out of the folder.
        """
        further: Any = None
        while True:
            page = self._persist(url, partial(_page, url, further, self.patience.seconds))
            for name, state in page.entries:
                if not name or name.endswith("/"):  # the mark of a folder
                    continue
                if {"", ".", ".."} & set(name.split("/")) or PurePosixPath(name).is_absolute():
                    raise InputError(
                        f"{url}: object {name!r} has a name that leads out of the folder, or that no file "
                        "can have; it is refused"
                    )
                yield name, state
            if page.further is None:
                return
            further = page.further

    def state(self, url: str) -> State:
        """Size and version of an object. Raises :class:`StoreFault`; :class:`Unreadable` if there is none."""
        return self._persist(url, lambda client: client.state(url, self.patience.seconds))

    def read(self, url: str, state: State, span: range | None = None) -> bytes:
        """The bytes of an object, or those at the positions ``span``, exactly.

        Raises :class:`Unreadable` where it is not there, or not as ``state`` says; :class:`StoreFault`.
        """
        span = range(state.size) if span is None else span
        if not span:
            return b""
        seconds = self.patience.seconds + len(span) / self.patience.bytes_per_second

        def once(client: Client) -> bytes:
            data = client.read(url, state, span, seconds)
            if len(data) != len(span):
                raise ShortAnswer(f"it is cut off: {len(data)} bytes instead of {len(span)}")
            return data

        return self._persist(url, once)

    def _persist(self, url: str, call: Callable[[Client], _T]) -> _T:
        """What ``call`` returns, once it does; raises as :meth:`read` says."""
        client, began, why = self._client(url), time.monotonic(), ""
        last: Exception | None = None
        for attempt in range(self.patience.attempts):
            if attempt:
                TRAFFIC.repeat(why)
                time.sleep(self.patience.pause(attempt - 1))
            try:
                answer = call(client)
            except InputError:
                raise
            except Changed:
                raise Unreadable(url, CHANGED) from None
            except Exception as error:  # clients of stores raise what they like
                if (passing := transient(error)) is None:
                    raise permanent(error, url) from None
                why, last = passing, error
                continue
            TRAFFIC.answered(len(answer) if isinstance(answer, bytes) else 0)
            return answer
        if isinstance(last, ShortAnswer):  # the store says that this is all
            raise Unreadable(url, str(last))
        passed = time.monotonic() - began
        raise StoreFault(
            f"{url}: no answer of the store in {self.patience.attempts} attempts, {passed:.0f} s ({why}); "
            "what is finished is kept: repeat the command when the store answers again"
        )

    def _client(self, url: str) -> Client:
        """That of this process: connections do not survive a fork."""
        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():
                self._opened = (os.getpid(), open_client(url))
            return self._opened[1]


def _page(url: str, further: Any, seconds: float, client: Client) -> Page:
    return client.page(url, further, seconds)


_stores: dict[str, ObjectStore] = {}


def store_of(url: str) -> ObjectStore:
    """The one of this process for the protocol of ``url``."""
    protocol = url.partition("://")[0].lower()
    return _stores.setdefault(protocol, ObjectStore(protocol))
