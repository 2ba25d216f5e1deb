"""Classes without a box: what cannot be said of them, and what to do. Apart, since a gate loads no tables."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

DOZEN: Final = 12  # images of a class: a first look of the interventions, and the wrong ones among them
_TOP: Final = 5  # classes whose images are listed, unless said otherwise


def is_unboxed(row: Mapping[str, Any]) -> bool:
    """Whether a class (a row of the ranking) has images that could be read, and none with a usable box."""
    return row.get("n_boxed") == 0 and not _missing(row.get("accuracy"))


def unboxed(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of the classes."""
    return [row for row in rows if is_unboxed(row)]


def untested(classes: int, of: int) -> str:
    """What it means that so many ``of`` the classes have no box."""
    have = "class has" if classes == 1 else "classes have"
    stay = "it is not tested and stays" if classes == 1 else "they are not tested and stay"
    return f"{classes:,} of {of:,} {have} no image with a usable box: {stay} undecided"


def command(run: str, classes: int) -> str:
    """What lists the images on which boxes would decide most."""
    return f"hansaudit boxes {quoted(run)} --top {min(classes, _TOP)}"


def quoted(text: str) -> str:
    """For a shell; what is not printable is escaped."""
    return shlex.quote("".join(c if c.isprintable() else "?" for c in text))


def _missing(value: Any) -> bool:
    return value is None or value != value
