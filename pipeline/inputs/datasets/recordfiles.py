"""Random access to the files of a TFDS split, TFRecord or ArrayRecord, with the checksums verified.

A TFRecord is ``length (8 bytes) | crc of the length (4) | data | crc of the data (4)``; so the place of the
k-th record is found by hopping from length to length, without reading what lies between.
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

_HEADER, _FOOTER = 12, 4


@functools.lru_cache(maxsize=64)
def _offsets(path: str, size: int, changed: int) -> tuple[int, ...]:
    with open(path, "rb") as file:
        return tuple(begin for begin, _ in whole_records(file, size))


def whole_records(file: BinaryIO, size: int, offset: int = 0) -> Iterator[tuple[int, int]]:
    """Begin and end of the records from ``offset`` on, as the lengths say; one that is cut off ends it.

    ``size``: bytes of the file.
    """
    while offset + _HEADER + _FOOTER <= size:
        file.seek(offset)
        (length,) = struct.unpack("<Q", file.read(8))
        end = offset + _HEADER + length + _FOOTER
        if end > size:
            return
        yield offset, end
        offset = end


def record_offsets(path: str | Path) -> tuple[int, ...]:
    """Byte offset of every whole record in a file, without a truncated tail; remembered until it changes."""
    state = os.stat(path)
    return _offsets(str(path), state.st_size, state.st_mtime_ns)


def read_tfrecords(path: str | Path, start: int, stop: int) -> Iterator[bytes | str]:
    """Records ``start <= i < stop`` of one file, in order; a ``str`` says why a record cannot be read."""
    name = Path(path).name
    try:
        offsets = record_offsets(path)
        checked = checked_records(path, name)
    except OSError as error:
        yield from (f"{name}: {error.strerror or error}" for _ in range(start, stop))
        return
    for i in range(start, stop):
        yield checked(i, offsets[i]) if i < len(offsets) else missing_record(name, i, len(offsets))


def checked_records(path: str | Path, name: str) -> Callable[[int, int], bytes | str]:
    """(number, offset) of a record of the file at ``path`` -> its content, or what is wrong with it.

    ``name``: what the file is called. Raises OSError.
    """
    # Not exported by name, but the only reader with random access and checksums; sequential ones stop for
    # good at the first damaged record.
    from tensorflow.python.lib.io.tf_record import tf_record_random_reader

    reader = tf_record_random_reader(str(path))

    def checked(number: int, offset: int) -> bytes | str:
        try:
            return reader.read(offset)[0]
        except Exception as error:  # TensorFlow's DataLossError and IndexError: only this record is lost
            return f"{name}: record {number} is damaged ({type(error).__name__})"

    return checked


def missing_record(name: str, number: int, there: int) -> str:
    """What is said of a record that a file does not hold; ``there``: how many whole ones it has."""
    return f"{name}: record {number} is missing: the file ends or is damaged after {there} records"


def read_array_records(path: str | Path, start: int, stop: int) -> Iterator[bytes | str]:
    """The same for an ArrayRecord file."""
    from array_record.python.array_record_module import ArrayRecordReader

    name = Path(path).name
    if not os.path.isfile(path):
        yield from (f"{name}: No such file or directory" for _ in range(start, stop))
        return
    reader = ArrayRecordReader(str(path))  # closed by its destructor; close() raises for a damaged file
    for i in range(start, stop):
        try:
            (record,) = reader.read([i])
        except Exception as error:  # RuntimeError, IndexError, by version
            record = f"{name}: record {i} cannot be read: {error}"
        yield record


Reader = Callable[[str | Path, int, int], Iterator[bytes | str]]
READERS: dict[str, Reader] = {"tfrecord": read_tfrecords, "array_record": read_array_records}


class Records(Protocol):
    """The record files of a split, by the paths under which TFDS knows them."""

    def read(self, path: str, start: int, stop: int) -> Iterator[bytes | str]:
        """Records ``start <= i < stop``, in order; a ``str`` says why one cannot be read."""

    def size(self, path: str) -> int:
        """Bytes of the file; 0 where there is none."""

    def versions(self, paths: Iterable[str]) -> str:
        """A sha256 of the versions that a store gave them; "" where there are none."""


class LocalRecords:
    """Files of this machine, in the format that READERS knows as ``form``."""

    def __init__(self, form: str) -> None:
        self._reader = READERS[form]

    def read(self, path: str, start: int, stop: int) -> Iterator[bytes | str]:
        return self._reader(path, start, stop)

    def size(self, path: str) -> int:
        return os.path.getsize(path) if os.path.exists(path) else 0

    def versions(self, paths: Iterable[str]) -> str:
        return ""
