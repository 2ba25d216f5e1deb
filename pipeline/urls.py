"""Places that are URLs of object stores (``s3://bucket/photos``), and what is refused of them unread."""

from __future__ import annotations

import re

from pipeline.errors import InputError, hidden

_URL = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*::)*[A-Za-z][A-Za-z0-9+.-]*://")  # chains of fsspec, too
_LOCAL = "file://"


def is_url(text: str) -> bool:
    """Whether ``text`` names a place in an object store, not on this machine."""
    return _URL.match(text) is not None and not text.startswith(_LOCAL)


def local_path(text: str) -> str:
    """A place on this machine as a path: ``file:///data`` is ``/data``."""
    return text.removeprefix(_LOCAL)


def refuse_url(text: str) -> None:
    """Refuse a URL that holds a secret, names several places or climbs. Raises :class:`InputError`.

    Whoever reads a configuration, a run folder or a log would read the secret, too: credentials come from the
    environment or from the store's own files.
    """
    if not is_url(text):
        return
    shown = hidden(text)
    if shown != text:
        raise InputError(
            f"{shown}: holds credentials, which everybody would read who reads the run; give the URL without "
            "them, and credentials in the environment (AWS_ACCESS_KEY_ID ..., GOOGLE_APPLICATION_CREDENTIALS)"
        )
    if "::" in text:
        raise InputError(f"{text}: is a chain of places (::); valid is one, such as s3://bucket/photos")
    scheme, _, place = text.partition("://")
    if not place.strip("/"):
        raise InputError(f"{text}: names no bucket; valid: {scheme}://bucket/folder")
    if ".." in place.split("/"):
        raise InputError(f"{text}: climbs out of where it begins (..); valid: {scheme}://bucket/folder")
