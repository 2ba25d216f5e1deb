"""The text of a ``decisions.toml`` with one entry changed: what others wrote, and their comments, stay.

Lines are edited, not the whole file written anew, since people keep this file under version control. What
comes out is read again and compared with what it must say, so that a layout which is not understood (inline
tables, an entry inside a text) is refused instead of damaged.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from datetime import date
from typing import Final

from pipeline.toml import parse_toml
from reports.decisions.fields import PolicyError
from reports.decisions.file import Waiver, parse_decisions

NEW_FILE: Final = "# What people decided about classes; `hansaudit gate` reads it.\nversion = 1\n"
_HEAD: Final = "[[decision]]"
_KEYS: Final = ("class", "decision", "reason", "owner", "until", "check", "decided", "tags")


def parse(text: str, where: str) -> tuple[Waiver, ...]:
    """The entries of a text, in its order. Raises :class:`PolicyError`."""
    return parse_decisions(parse_toml(text, where, PolicyError), where)


def changed_text(text: str, at: int | None, entry: Waiver | None, where: str) -> str:
    """``text`` with entry number ``at`` replaced by ``entry``, added (``at`` None) or removed (no ``entry``).

    Raises:
        PolicyError: the file cannot be read, or not be changed without damage; edit it by hand then.
    """
    text = text or NEW_FILE
    before = parse(text, where)
    lines = text.removesuffix("\n").split("\n")
    if at is None:
        after = [*before, entry]
        lines += [*([""] if lines and lines[-1].strip() else []), *_block(entry)]
    else:
        first, last = _span(lines, at, len(before), where)
        after = [*before[:at], *([entry] if entry else []), *before[at + 1 :]]
        lines[first:last] = _edited(lines[first:last], entry) if entry else []
    changed = "\n".join(lines) + "\n"
    try:
        agrees = list(parse(changed, where)) == after
    except PolicyError:
        agrees = False
    if not agrees:
        raise _by_hand(where)
    return changed


def _by_hand(where: str) -> PolicyError:
    return PolicyError(
        f"{where}: its layout cannot be changed without damage; valid: entries that begin with a line "
        f"{_HEAD} and have a line per key; edit it by hand"
    )


def _span(lines: Sequence[str], at: int, n: int, where: str) -> tuple[int, int]:
    """First and one past the last line of an entry; comments above the next one belong to that."""
    heads = [k for k, line in enumerate(lines) if line.partition("#")[0].strip() == _HEAD]
    if len(heads) != n:
        raise _by_hand(where)
    last = heads[at + 1] if at + 1 < n else len(lines)
    while not lines[last - 1].partition("#")[0].strip():
        last -= 1
    return heads[at], last


def _edited(lines: Sequence[str], entry: Waiver | None) -> list[str]:
    """The lines of an entry with other values; comments and the order of the keys stay."""
    values = _values(entry)
    kept = []
    for line in lines:
        match = re.match(r"\s*([\w-]+)\s*=", line)
        key = match[1] if match else ""
        if key not in _KEYS:
            kept.append(line)
        elif key in values:
            kept.append(f"{match[0] if match else ''} {values.pop(key)}{_comment(line)}")
    return [*kept, *(f"{key} = {value}" for key, value in values.items())]


def _comment(line: str) -> str:
    """The comment at the end of a line with its blanks before it; empty where there is none."""
    for match in re.finditer(r"\s*#", line):
        try:
            tomllib.loads(line[: match.start()])
        except ValueError:
            continue  # that was inside a text
        return line[match.start() :]
    return ""


def _block(entry: Waiver | None) -> list[str]:
    return [_HEAD, *(f"{key} = {value}" for key, value in _values(entry).items())]


def _values(entry: Waiver | None) -> dict[str, str]:
    """Keys of an entry in TOML; what is not said is absent."""
    if entry is None:
        return {}
    said: dict[str, str | date | tuple[str, ...] | None] = {
        "class": entry.class_key,
        "decision": entry.decision.value,
        "reason": entry.reason,
        "owner": entry.owner,
        "until": entry.until,
        "check": entry.check,
        "decided": entry.decided,
        "tags": entry.tags,
    }
    return {key: _toml(value) for key, value in said.items() if value}


def _toml(value: str | date | tuple[str, ...]) -> str:
    """A TOML basic string (a JSON string with DEL escaped), a list of them, or a local date."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
