"""TFRecord files in an object store: whole stretches of them are asked for, their checksums verified.

Where a record begins, the lengths before it say. An index beside the files (:data:`INDEX`, which ``hansaudit
prepare`` writes) spares reading over what lies before a shard.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Final, cast

from pipeline.errors import InputError
from pipeline.inputs.datasets.archives import MAX_IMAGE
from pipeline.inputs.datasets.recordfiles import (
    checked_records,
    missing_record,
    record_offsets,
    whole_records,
)
from pipeline.inputs.objects.clients import State
from pipeline.inputs.objects.faults import Unreadable
from pipeline.inputs.objects.places import ObjectPath
from pipeline.inputs.objects.range_file import RangeFile
from pipeline.json_text import parse_json

INDEX: Final = "record_offsets.json"  # name of a record file -> where its records begin
_BLOCK: Final = 1 << 20  # bytes of a request: small records are read over, large ones are hopped over
_AHEAD: Final = 8  # blocks that are read while one is used
_OVER: Final = 2  # the same where records are only read over
_CHECKED: Final = 1 << 22  # bytes of records that are verified together


class ObjectRecords:
    """The TFRecord files of the folder ``folder``, as they were when ``states`` was listed."""

    def __init__(self, folder: ObjectPath, states: Mapping[str, State]) -> None:
        self._folder, self._states = folder, states
        self._lock = threading.RLock()
        index = states.get(INDEX)
        data = ObjectPath(f"{folder}/{INDEX}", index).read_bytes() if index else b"{}"
        self._begins = _read_index(data, states, f"{folder}/{INDEX}")

    def read(self, path: str, start: int, stop: int) -> Iterator[bytes | str]:
        """See :class:`Records`. Raises ``StoreFault``."""
        name, taken = PurePath(path).name, start
        try:
            if name not in self._states:
                raise Unreadable(f"{self._folder}/{name}", "No such file or directory")
            for record in self._read(name, start, stop):
                yield record
                taken += 1
        except Unreadable as error:
            yield from (f"{name}: {error.why}" for _ in range(taken, stop))

    def size(self, path: str) -> int:
        state = self._states.get(PurePath(path).name)
        return state.size if state else 0

    def versions(self, paths: Iterable[str]) -> str:
        states = [self._states.get(PurePath(path).name) for path in paths]
        tags = [state.tag if state else "" for state in states]
        return hashlib.sha256(json.dumps(tags).encode()).hexdigest() if any(tags) else ""

    def _read(self, name: str, start: int, stop: int) -> Iterator[bytes | str]:
        waiting: list[tuple[int, bytes]] = []
        number, held = start, 0
        for number, data in self._stored(name, start, stop):
            if isinstance(data, str):
                yield from _verified(name, waiting)
                yield data
                waiting, held = [], 0
                continue
            waiting.append((number, data))
            held += len(data)
            if held >= _CHECKED:
                yield from _verified(name, waiting)
                waiting, held = [], 0
        yield from _verified(name, waiting)

    def _stored(self, name: str, start: int, stop: int) -> Iterator[tuple[int, bytes | str]]:
        """Numbers of the records and their bytes as they are stored, header and checksums included."""
        place, size = ObjectPath(f"{self._folder}/{name}", self._states[name]), self._states[name].size
        known = self._known(place, start)
        number = min(start, len(known) - 1) if known else 0
        base, end = known[number] if known else 0, known[stop] if stop < len(known) else size
        with closing(place.open_bytes(_BLOCK, _AHEAD, range(base, end))) as file:
            for begin, after in whole_records(cast(BinaryIO, file), end - base):
                self._note(name, number, base + begin)
                if number >= stop:
                    return
                if number >= start:
                    yield number, _content(file, name, number, range(begin, after))
                number += 1
        if number < min(stop, len(known)):
            raise self._other(
                name, f"record {number} begins at {known[number]}, the file ends before it does"
            )
        yield from ((i, missing_record(name, i, number)) for i in range(max(start, number), stop))

    def _known(self, place: ObjectPath, number: int) -> list[int]:
        """Where the records of a file begin, up to ``number`` at least, if it has so many.

        One thread at a time reads over what lies before: the others would ask for the same.
        """
        with self._lock:
            begins = self._begins.setdefault(place.name, [])
            if len(begins) <= number and number:
                with closing(place.open_bytes(_BLOCK, _OVER)) as file:
                    spans = whole_records(
                        cast(BinaryIO, file), place.state().size, begins[-1] if begins else 0
                    )
                    for count, (begin, _) in enumerate(spans, max(0, len(begins) - 1)):
                        self._note(place.name, count, begin)
                        if count == number:
                            break
            return list(begins)

    def _note(self, name: str, number: int, begin: int) -> None:
        """Record ``number`` begins there. Raises :class:`InputError` where the index says something else."""
        begins = self._begins[name]
        with self._lock:
            if number == len(begins):
                begins.append(begin)
            elif begins[number] != begin:
                raise self._other(name, f"record {number} begins at {begins[number]}, the file says {begin}")

    def _other(self, name: str, what: str) -> InputError:
        return InputError(
            f"{self._folder}/{INDEX}: says of {name} that {what}; either the index belongs to another file "
            f"or the file is damaged: remove the index, and what is damaged will be counted as missing"
        )


def _content(file: RangeFile, name: str, number: int, span: range) -> bytes | str:
    """The bytes of a record as they are stored, or why they are not read."""
    if len(span) > MAX_IMAGE:
        return f"{name}: record {number} has {len(span)} bytes, more than {MAX_IMAGE}"
    file.seek(span.start)
    return file.read(len(span))


def _verified(name: str, records: list[tuple[int, bytes]]) -> Iterator[bytes | str]:
    """The contents of records, or what is wrong with one: by TensorFlow's reader, which wants a file."""
    if not records:
        return
    with tempfile.TemporaryDirectory(prefix="hansaudit-") as folder:
        path = Path(folder, "records")
        path.write_bytes(b"".join(data for _, data in records))
        checked, offset = checked_records(path, name), 0
        for number, data in records:
            yield checked(number, offset)
            offset += len(data)


def _read_index(data: bytes, states: Mapping[str, State], where: str) -> dict[str, list[int]]:
    """Where records begin, by name of the file. Raises :class:`InputError` for what is no such list."""
    content: Any = parse_json(data, where)
    wrong = InputError(f"{where}: is no list of where the records of each file begin; remove it")
    if not isinstance(content, dict):
        raise wrong
    for name, begins in content.items():
        if not isinstance(begins, list) or not all(type(begin) is int for begin in begins):
            raise wrong
        ordered = all(a < b for a, b in pairwise(begins))
        if begins and (
            begins[0] != 0 or not ordered or name not in states or begins[-1] >= states[name].size
        ):
            raise wrong
    return content


def write_index(folder: Path) -> None:
    """Write :data:`INDEX` for the record files of a dataset on this machine."""
    files = sorted(path for path in folder.iterdir() if ".tfrecord" in path.name)
    (folder / INDEX).write_text(json.dumps({path.name: record_offsets(path) for path in files}))
