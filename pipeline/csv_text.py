"""Tables as CSV that every reader takes apart alike, and that no spreadsheet executes.

Every text is quoted, so that separators and ends of lines inside it stay inside; numbers are not. A text that
a spreadsheet would take for a formula gets an apostrophe in front, which spreadsheets hide: :func:`neutral`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def neutral(text: str) -> str:
    """``text``, with an apostrophe where it starts like a formula (``= + - @``, tab, carriage return).

    Texts that look like that already get one more, so that taking one away is the inverse.

    >>> neutral("=1+1"), neutral("tench"), neutral("'=x")
    ("'=1+1", 'tench', "''=x")
    """
    return f"'{text}" if _FORMULA.match(text) else text


def plain(text: str) -> str:
    """The inverse of :func:`neutral`.

    >>> plain("'=1+1"), plain("tench"), plain("'quoted'")
    ('=1+1', 'tench', "'quoted'")
    """
    return text[1:] if text.startswith("'") and _FORMULA.match(text[1:]) else text


def csv_line(values: Iterable[object], digits: int = 8) -> str:
    """One row with its end of line. None and nan are empty, floats have ``digits``, texts are quoted.

    >>> csv_line(["=x", 3, -0.5, None, True])
    '"\\'=x",3,-0.5,,True\\n'
    """
    return ",".join(_cell(value, digits) for value in values) + "\n"


def _cell(value: object, digits: int) -> str:
    if isinstance(value, str):
        # what no file can hold becomes visible: undecodable bytes, and the character that ends C's strings
        text = value.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
        return '"' + neutral(text).replace('"', '""') + '"'
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)
