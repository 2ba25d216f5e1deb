"""TOML files as people and attackers write them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import InputError


def read_toml(path: str | Path, what: str, fault: type[InputError] = InputError) -> dict[str, Any]:
    """The tables of a file, not yet validated; a byte order mark is read over.

    ``what``: what the file is, for the message. Raises ``fault`` when it cannot be read or is no TOML.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise fault(f"{path}: cannot read the {what}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise fault(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from None
    return parse_toml(text, str(path), fault)


def parse_toml(text: str, where: str, fault: type[InputError] = InputError) -> dict[str, Any]:
    """The tables of a text. Raises ``fault``, also for numbers and nesting that no one needs."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise fault(f"{where}: not valid TOML: nested too deeply") from None
    except ValueError as error:  # TOML's own errors, and numbers that are too long to be one
        raise fault(f"{where}: not valid TOML: {error}") from None


def toml_text(data: Mapping[str, Any]) -> str:
    """Tables of plain values as TOML: numbers, texts, truth values and lists of them; None is left out.

    >>> print(toml_text({"perturbation": False, "dataset": {"path": "a", "split": None, "limit": 3}}), end="")
    perturbation = false
    <BLANKLINE>
    [dataset]
    path = "a"
    limit = 3
    """
    own = {key: value for key, value in data.items() if not isinstance(value, Mapping) and value is not None}
    lines = [f"{key} = {_toml(value)}\n" for key, value in own.items()]
    for key, table in data.items():
        if isinstance(table, Mapping):
            lines += [f"\n[{key}]\n" if lines else f"[{key}]\n", toml_text(table)]
    return "".join(lines)


def _toml(value: Any) -> str:
    """JSON's texts are TOML's, but for one control character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
