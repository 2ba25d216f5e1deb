"""Zip archives of strangers: nothing is unpacked to disk, sizes are bounded, no name leaves the archive."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from pipeline.errors import InputError
from pipeline.inputs.objects.places import Place, place

MAX_DIRECTORY = 1 << 25  # bytes of the list of members: 120,000 members of Tiny ImageNet take 12 MiB
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others are unpacked without a bound
# ValueError: names that are no UTF-8, places before the file's begin; RuntimeError: methods not built in
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError)


class _Refused(Exception):
    """What the archive asks to have read at once is too much."""


class _BoundedFile(io.BufferedIOBase):
    """A file that gives at most ``MAX_DIRECTORY`` bytes at once, as zipfile reads the list of members."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY:
            raise _Refused(f"a list of members of {size} bytes, more than {MAX_DIRECTORY}, is refused")
        return self._file.read(-1 if size is None else size)

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()


@dataclass(frozen=True)
class ZipMembers:
    """The regular files of an open zip by their names, "/" between the parts."""

    path: Place
    archive: zipfile.ZipFile
    members: dict[str, zipfile.ZipInfo]

    def read(self, name: str, limit: int) -> bytes:
        """The bytes of member ``name``.

        Raises :class:`InputError` where there is none, or it is damaged or larger than ``limit`` bytes.
        """
        info = self.members.get(name)
        if info is None:
            raise InputError(f"{self.path}: holds no {name!r}")
        if info.file_size > limit:
            raise InputError(f"{self.path}: member {name!r} has {info.file_size} bytes, more than {limit}")
        with _damage_told(self.path, f" inside member {name!r}"), self.archive.open(info) as file:
            # bounded: without a number the whole member is unpacked, whatever size it states
            return file.read(info.file_size + 1)


@contextmanager
def open_zip(path: str | Place, total: int) -> Iterator[ZipMembers]:
    """Context: the members of a zip, none of them read yet.

    Raises :class:`InputError` for what is no zip or damaged, a name that climbs out of the archive or occurs
    twice, a link or device, a member that is encrypted or neither stored nor deflated, and more than
    ``total`` bytes of members, unpacked.
    """
    path = place(path)
    with ExitStack() as stack:
        file = stack.enter_context(_opened(path))
        with _damage_told(path, ""):
            archive = stack.enter_context(zipfile.ZipFile(cast(BinaryIO, file)))
        members: dict[str, zipfile.ZipInfo] = {}
        unpacked = 0
        for info in archive.infolist():
            _check(info, path)
            if info.is_dir():
                continue
            unpacked += info.file_size
            if unpacked > total:
                raise InputError(f"{path}: more than {total} bytes when unpacked")
            if info.filename in members:
                raise InputError(f"{path}: member {info.filename!r} occurs twice; one of them is not meant")
            members[info.filename] = info
        yield ZipMembers(path, archive, members)


def _opened(path: Place) -> _BoundedFile:
    try:
        file = path.open("rb") if isinstance(path, Path) else cast(BinaryIO, path.open_bytes())
        return _BoundedFile(file)
    except OSError as error:
        raise InputError(f"{path}: cannot read the archive: {error.strerror or error}") from None


@contextmanager
def _damage_told(path: Place, where: str) -> Iterator[None]:
    try:
        yield
    except InputError:  # a store's own line
        raise
    except _Refused as error:
        raise InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot read the archive{where}: {error.strerror or error}") from None
    except _DAMAGE as error:
        raise InputError(f"{path}: damaged or cut off{where}: {error}") from None


def _check(info: zipfile.ZipInfo, path: Place) -> None:
    name, kind = PurePosixPath(info.filename), stat.S_IFMT(info.external_attr >> 16)
    if name.is_absolute() or ".." in name.parts or "\\" in info.orig_filename or "\0" in info.orig_filename:
        raise InputError(f"{path}: member {info.orig_filename!r} points outside the archive; it is refused")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InputError(f"{path}: member {info.filename!r} is a link or device; valid are plain files")
    if info.flag_bits & 1:
        raise InputError(
            f"{path}: member {info.filename!r} is encrypted; unpack the archive and pack it again"
        )
    if info.compress_type not in _METHODS:
        raise InputError(
            f"{path}: member {info.filename!r} is packed by method {info.compress_type}; valid are stored "
            "and deflated"
        )
