"""Files of a run behind one small interface: a local folder, or an object store through fsspec.

Every file is written whole or not at all. Locally: a temporary name, fsync, rename. An object store has no
rename, but one PUT is whole or absent.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import InputError
from pipeline.temporary import Owner, sweep, temporary_name
from pipeline.urls import refuse_url

_LOCK = ".lock"
_WRITER = re.compile(r"id (?P<pid>\d+) on (?P<host>.*)\n(?P<started>\d+)\n")


class Files(Protocol):
    """The files below one root; ``name`` is a relative path with "/" between its levels."""

    root: str

    def put(self, name: str, data: bytes | memoryview) -> None:
        """Write a file, whole or not at all. Raises :class:`InputError` when there is no room or no right."""

    def get(self, name: str) -> bytes | None:
        """The content of a file, None where there is none."""

    def names(self, folder: str) -> list[str]:
        """Names of the finished files in ``folder``, sorted."""

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of each of them."""

    def read_all(self, folder: str) -> dict[str, bytes]:
        """Name -> content of each of them: many small files, read at once."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def lock(self) -> Any:
        """Context in which no other process writes here. Raises :class:`InputError` when one already does."""

    def writer(self) -> Owner | None:
        """The process that holds the lock at the moment; None: nobody, or it cannot be told."""


def open_files(path: str | Path) -> Files:
    """The files below ``path``: a local folder, or ``scheme://bucket/folder`` through fsspec.

    Raises :class:`InputError` for a URL that is refused, such as one with credentials.
    """
    text = str(path)
    refuse_url(text)
    scheme = text.partition("://")[0] if "://" in text else ""
    return ObjectFiles(text) if scheme and scheme != "file" else LocalFiles(text.removeprefix("file://"))


class LocalFiles:
    """A folder on this machine."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._locked = False

    def _path(self, name: str) -> Path:
        """Where ``name`` lies. Raises :class:`InputError` for a link that leads out of the folder."""
        path = Path(self.root, name)
        if os.path.realpath(path).startswith(os.path.join(os.path.realpath(self.root), "")):
            return path
        raise InputError(f"{path}: leads out of the folder; a run's files lie inside it: remove this link")

    def put(self, name: str, data: bytes | memoryview) -> None:
        final = self._path(name)
        temporary = final.with_name(temporary_name(final.name))
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb", opener=_no_link) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, final)
            _sync_folder(final.parent)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise _unwritable(final, len(data), error) from error

    def get(self, name: str) -> bytes | None:
        path = self._path(name)
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error

    def names(self, folder: str) -> list[str]:
        return sorted(self.sizes(folder))

    def sizes(self, folder: str) -> dict[str, int]:
        try:
            with os.scandir(self._path(folder) if folder else self.root) as entries:
                files = [e for e in entries if e.is_file() and not e.name.startswith(".")]
                return {entry.name: entry.stat().st_size for entry in files}
        except (FileNotFoundError, NotADirectoryError):
            return {}

    def read_all(self, folder: str) -> dict[str, bytes]:
        return {name: self.get(f"{folder}/{name}") or b"" for name in self.names(folder)}

    def remove(self, name: str) -> None:
        path = self._path(name)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"{path}: cannot be removed: {error.strerror}") from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """An advisory lock that the kernel drops when the process ends, however it ends.

        Whoever holds it may take it again, through the same object.
        """
        if self._locked:
            yield
            return
        import fcntl

        path = self._path(_LOCK)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = open(path, "a+")  # noqa: SIM115 - held open for as long as the lock
        except OSError as error:
            raise _unwritable(path, 0, error) from error
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                handle.seek(0)
                owner = handle.read().partition("\n")[0].strip() or "unknown"
                raise InputError(
                    f"{self.root}: another process ({owner}) is writing this run; wait for it to end, "
                    "or choose another folder"
                ) from None
            handle.truncate(0)
            own = Owner.this_process()
            handle.write(f"id {own.pid} on {own.host}\n{own.started}\n")
            handle.flush()
            for folder in Path(self.root).glob("**/"):
                sweep(folder)
            self._locked = True
            try:
                yield
            finally:
                self._locked = False
                handle.truncate(0)

    def writer(self) -> Owner | None:
        # who asks must not take the lock, not even for a moment: it might be the moment of one that begins
        written = _WRITER.fullmatch((self.get(_LOCK) or b"").decode(errors="replace"))
        owner = Owner(written["host"], int(written["pid"]), written["started"]) if written else None
        return owner if owner is not None and owner.lives else None


class ObjectFiles:
    """A prefix in an object store (``s3://bucket/run``) or any other fsspec file system.

    Stores have no advisory locks: two machines that write the same run at the same time repeat work, and
    since every part is one PUT of the same content, nothing breaks. Where their numbers differ in the last
    digit, a shard's parts may not be those of its inventory: `hansaudit verify` names it.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        try:
            self.fs, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise InputError(f"{url}: cannot be opened: {error}") from None
        self.url, self.root = url, root.rstrip("/")

    def put(self, name: str, data: bytes | memoryview) -> None:
        try:
            self.fs.pipe_file(f"{self.root}/{name}", bytes(data))
        except _store_errors() as error:
            raise _unwritable(f"{self.url}/{name}", len(data), error) from error

    def get(self, name: str) -> bytes | None:
        try:
            return self.fs.cat_file(f"{self.root}/{name}")
        except FileNotFoundError:
            return None
        except _store_errors() as error:
            raise InputError(f"{self.url}/{name}: cannot be read: {error}") from error

    def names(self, folder: str) -> list[str]:
        return sorted(self.sizes(folder))

    def sizes(self, folder: str) -> dict[str, int]:
        self.fs.invalidate_cache()
        try:
            entries = self.fs.ls(f"{self.root}/{folder}", detail=True)
        except FileNotFoundError:
            return {}
        except _store_errors() as error:
            raise InputError(f"{self.url}/{folder}: cannot be listed: {error}") from error
        files = {e["name"].rstrip("/").rpartition("/")[2]: int(e["size"] or 0) for e in entries}
        return {name: size for name, size in files.items() if name and not name.startswith(".")}

    def read_all(self, folder: str) -> dict[str, bytes]:
        paths = [f"{self.root}/{folder}/{name}" for name in self.names(folder)]
        try:
            files = self.fs.cat(paths) if paths else {}  # the client asks for them concurrently
        except _store_errors() as error:
            raise InputError(f"{self.url}/{folder}: cannot be read: {error}") from error
        return {path.rpartition("/")[2]: content for path, content in files.items()}

    def remove(self, name: str) -> None:
        try:
            self.fs.rm_file(f"{self.root}/{name}")
        except FileNotFoundError:
            return
        except _store_errors() as error:
            raise InputError(f"{self.url}/{name}: cannot be removed: {error}") from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        yield

    def writer(self) -> Owner | None:
        return None


def _store_errors() -> tuple[type[Exception], ...]:
    """What an object store raises: missing credentials and the like are no OSError to its client."""
    client = sys.modules.get("botocore.exceptions")
    return (OSError,) if client is None else (OSError, client.BotoCoreError)


def _no_link(path: str, flags: int) -> int:
    """An opener that does not follow a link: who made the folder may have put one in our way."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable: the entry lives in the folder, not in the file."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unwritable(path: str | Path, size: int, error: Exception) -> InputError:
    """The one clear line for a disk that is full or a folder without the right to write."""
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return InputError(
            f"{path}: no space left to write {size / 1e6:.1f} MB; what was finished is kept: "
            "make room and repeat the same command to go on"
        )
    return InputError(
        f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}; choose a folder that can"
    )
