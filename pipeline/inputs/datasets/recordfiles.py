"""Random access to the files of a TFDS split, TFRecord or ArrayRecord, with the checksums verified.

A TFRecord is ``length (8 bytes) | crc of the length (4) | data | crc of the data (4)``; so the place of the
k-th record is found by hopping from length to length, without reading what lies between.
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

_HEADER, _FOOTER = 12, 4


@functools.lru_cache(maxsize=64)
def _offsets(path: str, size: int, changed: int) -> tuple[int, ...]:
    offsets, offset = [], 0
    with open(path, "rb") as file:
        while offset + _HEADER + _FOOTER <= size:
            file.seek(offset)
            (length,) = struct.unpack("<Q", file.read(8))
            end = offset + _HEADER + length + _FOOTER
            if end > size:
                break
            offsets.append(offset)
            offset = end
    return tuple(offsets)


def record_offsets(path: str | Path) -> tuple[int, ...]:
    """Byte offset of every whole record in a file, without a truncated tail; remembered until it changes."""
    state = os.stat(path)
    return _offsets(str(path), state.st_size, state.st_mtime_ns)


def read_tfrecords(path: str | Path, start: int, stop: int) -> Iterator[bytes | str]:
    """Records ``start <= i < stop`` of one file, in order; a ``str`` says why a record cannot be read."""
    # Not exported by name, but the only reader with random access and checksums; sequential ones stop for
    # good at the first damaged record.
    from tensorflow.python.lib.io.tf_record import tf_record_random_reader

    name = Path(path).name
    try:
        offsets = record_offsets(path)
        reader = tf_record_random_reader(str(path))
    except OSError as error:
        yield from (f"{name}: {error.strerror or error}" for _ in range(start, stop))
        return
    for i in range(start, stop):
        if i >= len(offsets):
            yield f"{name}: record {i} is missing: the file ends or is damaged after {len(offsets)} records"
            continue
        try:
            yield reader.read(offsets[i])[0]
        except Exception as error:  # TensorFlow's DataLossError and IndexError: only this record is lost
            yield f"{name}: record {i} is damaged ({type(error).__name__})"


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
