"""JSON as strangers write it."""

from __future__ import annotations

import json
from typing import Any

from pipeline.errors import InputError, reason


def parse_json(text: str | bytes, where: str) -> Any:
    """The value of a text. Raises :class:`InputError`, also for numbers and nesting that no one needs."""
    try:
        return json.loads(text)
    except RecursionError:
        raise InputError(f"{where}: not valid JSON (nested too deeply)") from None
    except ValueError as error:  # JSON's own errors, bytes that are no text, and numbers too long to be one
        raise InputError(f"{where}: not valid JSON ({reason(error)})") from None
