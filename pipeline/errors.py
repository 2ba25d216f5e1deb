"""What a user's input can get wrong, and how it is worded."""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 600  # characters of one line of a message
# user:password before a bucket or host (a secret key may hold a "/"), or a name alone; a signature behind "?"
# Bounded: a stranger's text with a thousand "://" is not searched to its end a thousand times.
_CREDENTIALS = re.compile(r"(?<=://)(?:[^\s/@:'\"]{0,4096}:[^\s@'\"]{0,4096}|[^\s/@'\"]{1,4096})@")
_SIGNED = re.compile(r"(https?://[^\s?'\"]{0,4096})\?[^\s'\"]+")


class InputError(ValueError):
    """Input that cannot be used; the message: the subject, what was received, what is valid, what to do.

    Names and values in it come from files of strangers: see :func:`plain`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(plain(message))


def plain(message: str) -> str:
    """The message as text that a terminal shows and does not obey.

    Control characters and undecodable bytes are escaped; a line that is too long loses its middle, and a URL
    its credentials.
    """
    return "\n".join(_line(line) for line in message.strip("\n").split("\n"))


def shown(name: str) -> str:
    """A name or a line as one line that a terminal shows and does not obey; ends of lines are escaped, too.

    >>> shown("a\x1b[31m\n")
    'a\\x1b[31m\\n'
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


def hidden(text: str) -> str:
    """``text``, whose URLs have lost user names, passwords and signatures.

    >>> hidden("s3://key:secret@photos/cat and https://host/a.zip?X-Amz-Signature=1")
    's3://***@photos/cat and https://host/a.zip?***'
    """
    return _SIGNED.sub(r"\1?***", _CREDENTIALS.sub("***@", text))


def reason(error: BaseException) -> str:
    """What another library says is wrong, in one line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _line(text: str) -> str:
    line = hidden(shown(text.rstrip()))
    if len(line) <= LONGEST:
        return line
    return f"{line[: LONGEST - 205]} ... {line[-200:]}"
