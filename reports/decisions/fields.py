"""Fields of a TOML file that a person wrote: read strictly, refused in one line that says what is valid."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from pipeline.errors import InputError


class PolicyError(InputError):
    """A policy (or what belongs to it) that cannot be used; one line that says what is valid."""


def only_keys(data: Mapping[str, Any], valid: Collection[str], where: str) -> None:
    """Raises :class:`PolicyError` for a key that there is not."""
    for key in data:
        one_of(key, valid, f"{where}: key")


def choice(data: Mapping[str, Any], key: str, valid: tuple[str, ...], where: str) -> str:
    """One of ``valid``; the first where nothing is said."""
    return one_of(data.get(key, valid[0]), valid, f"{where}: {key}")


def text(data: Mapping[str, Any], key: str, where: str, needed: bool = False) -> str:
    """A text; empty where nothing is said, unless it is ``needed``."""
    value = data.get(key, "")
    if not isinstance(value, str) or ((needed or key in data) and not value):
        raise PolicyError(f"{where}: {key} must be a non-empty text, received {data.get(key)!r}")
    return value


def flag(data: Mapping[str, Any], key: str, where: str) -> bool:
    """true or false; false where nothing is said."""
    value = data.get(key, False)
    if not isinstance(value, bool):
        raise PolicyError(f"{where}: {key} must be true or false, received {value!r}")
    return value


def whole(data: Mapping[str, Any], key: str, default: int, where: str) -> int:
    """A whole number that is not negative."""
    value = data.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise PolicyError(f"{where}: {key} must be a whole number >= 0, received {value!r}")
    return value


def share(data: Mapping[str, Any], key: str, default: float, where: str) -> float:
    """A number from 0 to 1."""
    value = data.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise PolicyError(f"{where}: {key} must be a number from 0 to 1, received {value!r}")
    return float(value)


def texts(data: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    """A list of texts; empty where nothing is said."""
    value = data.get(key, [])
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise PolicyError(f"{where}: {key} must be a list of texts, received {value!r}")
    return tuple(value)


def tables(data: Mapping[str, Any], key: str, where: str) -> list[Mapping[str, Any]]:
    """A list of tables, written as ``[[key]]``."""
    value = data.get(key, [])
    if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
        raise PolicyError(f"{where}: {key!r} must be written as [[{key}]] tables")
    return value


def one_of(value: Any, valid: Collection[str], subject: str) -> str:
    """``value`` if it is valid; else a :class:`PolicyError` that names the nearest and all valid ones."""
    if isinstance(value, str) and value in valid:
        return value
    near = difflib.get_close_matches(str(value), valid, n=1)
    hint = f"did you mean {str(near[0])!r}? " if near else ""
    listed = ", ".join(sorted(valid)) if len(valid) <= 60 else f"{len(valid)} names"
    raise PolicyError(f"{subject} {value!r} is not known; {hint}valid: {listed or 'none'}")
