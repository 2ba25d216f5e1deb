"""A path of this machine or a URL of an object store, behind the few methods that readers of files need."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from pipeline.errors import InputError
from pipeline.inputs.objects.clients import State
from pipeline.inputs.objects.faults import Unreadable
from pipeline.inputs.objects.range_file import AHEAD, BLOCK, RangeFile
from pipeline.inputs.objects.store import ObjectStore, store_of
from pipeline.urls import is_url, local_path, refuse_url

MAX_FILE: Final = 1 << 30  # bytes of a file that is read whole: annotations, lists, one image


@dataclass(frozen=True)
class ObjectPath:
    """What lies at ``url``, an object or the folder of those whose names begin with it.

    ``known``: the object's state, where a list has said it: it is then read as it was.
    """

    url: str
    known: State | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> ObjectPath:
        return ObjectPath(self.url.rpartition("/")[0])

    @property
    def store(self) -> ObjectStore:
        return store_of(self.url)

    def __truediv__(self, name: str) -> ObjectPath:
        return ObjectPath(f"{self.url}/{name}")

    def relative_to(self, base: ObjectPath) -> PurePosixPath:
        """The path below ``base``. Raises ValueError where it lies elsewhere."""
        return PurePosixPath(self.url).relative_to(base.url)

    def state(self) -> State:
        """Size and version. Raises ``Unreadable`` where there is none, and ``StoreFault``."""
        return self.known or self.store.state(self.url)

    def is_file(self) -> bool:
        """Raises ``StoreFault``, and ``Unreadable`` where that cannot be told."""
        try:
            self.state()
        except Unreadable as error:
            if error.missing:
                return False
            raise
        return True

    def is_dir(self) -> bool:
        """Whether objects lie below it. Raises as :meth:`is_file`."""
        return next(self.store.listing(self.url), None) is not None

    def exists(self) -> bool:
        """Raises as :meth:`is_file`."""
        return self.is_file() or self.is_dir()

    def below(self) -> Iterator[tuple[str, State]]:
        """(name, state) of everything below it, at any depth, in no order. Raises as :meth:`is_file`."""
        return self.store.listing(self.url)

    def rglob(self, pattern: str) -> Iterator[ObjectPath]:
        """The objects below it whose last name fits ``pattern``. Raises as :meth:`is_file`."""
        for name, state in self.below():
            if PurePosixPath(name).match(pattern):
                yield ObjectPath(f"{self.url}/{name}", state)

    def read_bytes(self) -> bytes:
        """All of it. Raises ``Unreadable``, also for more than :data:`MAX_FILE` bytes, and ``StoreFault``."""
        state = self.state()
        if state.size > MAX_FILE:
            why = f"it has {state.size} bytes, more than {MAX_FILE}"
            raise Unreadable(self.url, why)
        return self.store.read(self.url, state)

    def read_text(self, encoding: str = "utf-8") -> str:
        """Raises as :meth:`read_bytes`, and UnicodeDecodeError."""
        return self.read_bytes().decode(encoding)

    def open(self, *, newline: str | None = None, encoding: str = "utf-8") -> io.TextIOWrapper:
        """Its text, as ``Path.open`` has it. Raises as :meth:`read_bytes`."""
        return io.TextIOWrapper(io.BytesIO(self.read_bytes()), encoding=encoding, newline=newline)

    def open_bytes(self, block: int = BLOCK, ahead: int = AHEAD, part: range | None = None) -> RangeFile:
        """Its bytes, or those at the positions ``part``, for reading from any position.

        Raises as :meth:`is_file`, also when it is read.
        """
        state = self.state()
        inside = range(state.size) if part is None else part

        def fetch(span: range) -> bytes:
            return self.store.read(self.url, state, inside[span.start : span.stop])

        return RangeFile(fetch, len(inside), block, ahead)


Place = Path | ObjectPath


def place(text: str | Place) -> Place:
    """Where ``text`` is. Raises :class:`InputError` for a URL that is refused."""
    if not isinstance(text, str):
        return text
    if not is_url(text):
        return Path(local_path(text))
    refuse_url(text)
    return ObjectPath(text.rstrip("/"))


def refuse_store(text: str, what: str) -> None:
    """Refuse a URL where only a place of this machine is taken. Raises :class:`InputError`."""
    if is_url(text):
        raise InputError(
            f"{text}: {what} is written on this machine; give a folder of it, and copy that to the store"
        )
