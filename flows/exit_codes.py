"""What a command's exit code says; the same everywhere. The table of docs/gate.md is checked against this."""

from __future__ import annotations

from enum import IntEnum
from typing import Self


class ExitCode(IntEnum):
    """An exit code with its ``meaning``, a clause."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> Self:
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    DONE = 0, "done; `gate`: every check holds"
    BREACH = 1, "something is not as it must be: `gate`: a check fails; `verify`: a file is not as written"
    WRONG_INPUT = 2, "wrong use or input, and what cannot be done with it; nothing was judged"
    FAILURE = 3, "internal failure: ours, with a log"
    INCONCLUSIVE = 4, "`gate`: no check fails, but too little is known to pass"
    INTERRUPTED = 130, "interrupted; what was finished is kept"
