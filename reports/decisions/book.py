"""A ``decisions.toml`` that several people write at the same time: read, changed and written as one step.

The folder is locked (between processes, too), the file read anew, one entry changed, and the whole replaced
by a rename: a reader sees the file before or after it, and a process that is killed leaves one of the two.
Whoever changes an entry says which one he saw; if it is another by then, nothing is written.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import InputError
from pipeline.run.files import open_files
from reports.decisions.file import Waiver
from reports.decisions.text import changed_text, parse


class ChangedMeanwhile(InputError):
    """The entry is not any more what its reader saw; ``now`` is what it is, None: it is gone."""

    def __init__(self, message: str, now: Waiver | None) -> None:
        super().__init__(message)
        self.now = now


def stamp(waiver: Waiver | None) -> str:
    """A short hash of what an entry says; empty for none."""
    return hashlib.sha256(repr(waiver).encode("utf-8", "backslashreplace")).hexdigest()[:16] if waiver else ""


class DecisionBook:
    """The file at ``path``, which need not be there yet."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._threads = threading.Lock()
        if not self.path.parent.is_dir():
            raise InputError(
                f"{self.path.parent}: no such folder for the decisions; make it, or name another"
            )

    def read(self) -> tuple[Waiver, ...]:
        """All entries. Raises :class:`PolicyError` for a faulty file."""
        return parse(self._text(), str(self.path))

    def about(self, keys: tuple[str, ...]) -> Waiver | None:
        """The entry for all checks about a class that is called any of ``keys``."""
        return next((w for w in self.read() if _is_of(w, keys)), None)

    def put(self, keys: tuple[str, ...], entry: Waiver | None, seen: str) -> None:
        """Write the entry of the class that is called any of ``keys``, or remove it (None).

        ``seen``: :func:`stamp` of what was there. Raises:
            ChangedMeanwhile: something else is there by now.
            PolicyError, InputError: the file cannot be read, changed or written.
        """
        with self._alone():
            text = self._text()
            entries = parse(text, str(self.path))
            at = next((k for k, waiver in enumerate(entries) if _is_of(waiver, keys)), None)
            now = None if at is None else entries[at]
            if stamp(now) != seen:
                raise ChangedMeanwhile(f"{keys[0]}: somebody else decided about it meanwhile", now)
            if at is None and entry is None:
                return
            changed = changed_text(text, at, entry, str(self.path))
            open_files(self.path.parent).put(self.path.name, changed.encode("utf-8"))

    def _text(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise InputError(f"{self.path}: not UTF-8 text: {error.reason} at byte {error.start}") from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread or process writes: the folder itself is locked, so that no file is left behind."""
        import fcntl

        with self._threads:
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX)
                yield
            finally:
                os.close(folder)


def _is_of(waiver: Waiver, keys: tuple[str, ...]) -> bool:
    """What is for one check only is nobody's to change here."""
    return waiver.class_key in keys and not waiver.check
