"""Checks of hyper-parameters: each names the parameter, what was received and what is valid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from explainers.errors import InvalidInput, InvalidParameter

Numbers = float | tuple[float, ...]


def whole(name: str, value: Any, least: int = 1) -> int:
    """A whole number, at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InvalidParameter(f"{name}: received {value!r}; valid: a whole number, {least} or more")
    return int(value)


def between(name: str, value: Any, low: float, high: float, open_low: bool = False) -> float:
    """A finite number in `[low, high]`, or `(low, high]`."""
    fits = isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and np.isfinite(value)
    if not fits or not low <= value <= high or (open_low and value == low):
        least = f"above {low:g}" if open_low else f"{low:g} or more"
        most = "" if np.isinf(high) else f", at most {high:g}"
        raise InvalidParameter(f"{name}: received {value!r}; valid: a number, {least}{most}")
    return float(value)


def one_of(name: str, value: Any, valid: Sequence[str]) -> str:
    """One of these words."""
    if value not in valid:
        raise InvalidParameter(f"{name}: received {value!r}; valid: {', '.join(valid)}")
    return str(value)


def numbers(name: str, value: Any) -> Numbers:
    """One finite number, or one per channel."""
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    if array.ndim > 1 or array.size == 0 or not np.all(np.isfinite(array)):
        raise InvalidParameter(f"{name}: received {value!r}; valid: a finite number, or one per channel")
    return float(array) if array.ndim == 0 else tuple(float(v) for v in array)


def span(low: Any, high: Any) -> tuple[Numbers, Numbers]:
    """The input range: `low < high` in every channel."""
    low, high = numbers("low", low), numbers("high", high)
    try:
        fits = bool(np.all(np.asarray(low) < np.asarray(high)))
    except ValueError:
        fits = False
    if not fits:
        raise InvalidParameter(
            f"low and high: received {low!r} and {high!r}; valid: the model's input range, low < high in "
            "every channel"
        )
    return low, high


def within(name: str, value: Any, low: Numbers, high: Numbers) -> Numbers:
    """A value of the input range, one number or one per channel."""
    value = numbers(name, value)
    slack = 1e-6 * np.abs(np.asarray(high) - np.asarray(low))
    try:
        fits = bool(np.all(value >= np.asarray(low) - slack) and np.all(value <= np.asarray(high) + slack))
    except ValueError:
        fits = False
    if not fits:
        raise InvalidParameter(
            f"{name}: received {value!r}, outside the input range [{low}, {high}]; valid: a number inside "
            "it, or one per channel; give the model's own range as low and high"
        )
    return value


REFERENCES = ("low", "middle", "high")


def reference(value: Any, low: Numbers, high: Numbers) -> str | Numbers:
    """Where a path or a comparison starts: a word of the range, or a value inside it."""
    if isinstance(value, str):
        if value not in REFERENCES:
            words = ", ".join(REFERENCES)
            raise InvalidParameter(
                f"reference: received {value!r}; valid: {words}, a number, or one per channel"
            )
        return value
    return within("reference", value, low, high)


def reference_value(value: str | Numbers, low: Numbers, high: Numbers) -> Numbers:
    """The numbers that a reference means."""
    if not isinstance(value, str):
        return value
    share = REFERENCES.index(value) / 2
    return numbers("reference", (1 - share) * np.asarray(low) + share * np.asarray(high))


def contained(name: str, x: np.ndarray, low: Any, high: Any) -> None:
    """The input lies in the range of this name, up to rounding. Raises InvalidInput."""
    lows, highs = np.asarray(low, np.float64), np.asarray(high, np.float64)
    slack = 1e-4 * (1 + np.abs(highs - lows))
    if np.any(x < lows - slack) or np.any(x > highs + slack):
        raise InvalidInput(
            f"{name} [{low}, {high}] does not contain the input, which spans [{x.min():.4g}, {x.max():.4g}]; "
            "give the preprocessed input's range as low and high"
        )


def per_channel(name: str, value: Numbers, channels: int) -> np.ndarray:
    """The numbers as float64 `(c,)`. Raises InvalidParameter when their count is not that of the channels."""
    array = np.asarray(value, np.float64)
    if array.ndim and len(array) not in (1, channels):
        raise InvalidParameter(
            f"{name}: received {len(array)} numbers; valid: one, or one per channel ({channels} here)"
        )
    return np.broadcast_to(array, (channels,))
