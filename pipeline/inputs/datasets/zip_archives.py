"""Zip archives of strangers: nothing is unpacked to disk, sizes are bounded, no name leaves the archive."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.errors import InputError

MAX_DIRECTORY = 1 << 25  # bytes of the list of members: 120,000 members of Tiny ImageNet take 12 MiB
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others are unpacked without a bound
# ValueError: names that are no UTF-8, places before the file's begin; RuntimeError: methods not built in
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError)


class _Refused(Exception):
    """What the archive asks to have read at once is too much."""


class _BoundedFile(io.FileIO):
    """A file that gives at most ``MAX_DIRECTORY`` bytes at once, as zipfile reads the list of members."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY:
            raise _Refused(f"a list of members of {size} bytes, more than {MAX_DIRECTORY}, is refused")
        return super().read(-1 if size is None else size)


@dataclass(frozen=True)
class ZipMembers:
    """The regular files of an open zip by their names, "/" between the parts."""

    path: Path
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
def open_zip(path: str | Path, total: int) -> Iterator[ZipMembers]:
    """Context: the members of a zip, none of them read yet.

    Raises :class:`InputError` for what is no zip or damaged, a name that climbs out of the archive or occurs
    twice, a link or device, a member that is encrypted or neither stored nor deflated, and more than
    ``total`` bytes of members, unpacked.
    """
    path = Path(path)
    with _damage_told(path, ""):
        archive = zipfile.ZipFile(_opened(path))
    with archive:
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


def _opened(path: Path) -> _BoundedFile:
    try:
        return _BoundedFile(path)
    except OSError as error:
        raise InputError(f"{path}: cannot read the archive: {error.strerror or error}") from None


@contextmanager
def _damage_told(path: Path, where: str) -> Iterator[None]:
    try:
        yield
    except _Refused as error:
        raise InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot read the archive{where}: {error.strerror or error}") from None
    except _DAMAGE as error:
        raise InputError(f"{path}: damaged or cut off{where}: {error}") from None


def _check(info: zipfile.ZipInfo, path: Path) -> None:
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
