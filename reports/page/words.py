"""Numbers and verdicts in plain words: the filters of the templates."""

from __future__ import annotations

import math
from collections.abc import Sequence

MINUS = "\u2212"
THIN = "\u202f"  # narrow no-break space, before a percent sign
DASH = "\u2013"

_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven")


def given(value: object) -> bool:
    """False for None and nan."""
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def number(value: float | None, digits: int = 2) -> str:
    """``-1.234`` -> ``−1.23`` with a real minus; a dash where there is no value."""
    if not given(value):
        return DASH
    assert value is not None
    if math.isinf(value):
        return "∞" if value > 0 else MINUS + "∞"
    text = f"{value:,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS).replace(",", THIN)


def signed(value: float | None, digits: int = 2) -> str:
    """As :func:`number`, with a plus sign for positive values."""
    text = number(value, digits)
    return f"+{text}" if given(value) and not text.startswith(MINUS) and float(value or 0) > 0 else text


def percent(value: float | None, digits: int = 0) -> str:
    """``0.616`` -> ``62 %``; shares that are not 0 or 1 never read as such."""
    if not given(value):
        return DASH
    assert value is not None
    step = 10.0 ** -(digits + 2)
    if 0 < value < step / 2:
        return f"<{THIN}{number(100 * step, digits)}{THIN}%"
    if 1 - step / 2 < value < 1:
        return f">{THIN}{number(100 * (1 - step), digits)}{THIN}%"
    return f"{number(100 * value, digits)}{THIN}%"


def probability(value: float | None) -> str:
    """A p or q value: three decimals, ``<0.001`` below that."""
    if not given(value):
        return DASH
    assert value is not None
    return f"<{THIN}0.001" if value < 0.001 else number(value, 3)


def count(n: float, singular: str, plural: str = "") -> str:
    """``1 class``, ``12 classes``, ``1 024 images``."""
    return f"{integer(n)} {singular if n == 1 else plural or singular + 's'}"


def integer(value: float | None) -> str:
    """``50000`` -> ``50 000`` with narrow no-break spaces."""
    if not given(value):
        return DASH
    assert value is not None
    return f"{round(value):,}".replace("-", MINUS).replace(",", THIN)


def spell(n: int) -> str:
    """Small whole numbers as words, for running text."""
    return _SMALL[n] if 0 <= n < len(_SMALL) else integer(n)


def listing(items: Sequence[str], limit: int = 5) -> str:
    """``a, b and c``; beyond ``limit``: ``a, b, c and 4 more``."""
    shown = list(items[:limit])
    if len(items) > limit:
        shown.append(f"{len(items) - limit} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def times_less(adjusted_lift: float) -> str:
    """An adjusted lift in words: e^|lift| as a factor of the odds of looking at the object."""
    factor = math.exp(min(abs(adjusted_lift), 20.0))
    if factor < 1.1:
        return "about as high as"
    return f"about {_rounded(factor)} times {'lower' if adjusted_lift < 0 else 'higher'} than"


def times_between(low: float | None, high: float | None) -> str:
    """The interval of an adjusted lift as factors: ``8 to 15 times``; empty if unknown or about 0."""
    if not given(low) or not given(high) or low is None or high is None or low * high <= 0:
        return ""
    ends = sorted(math.exp(min(abs(end), 20.0)) for end in (low, high))
    return f"{_rounded(ends[0])} to {_rounded(ends[1])} times"


def _rounded(factor: float) -> str:
    """Two digits: ``1.6``, ``11``, ``120``."""
    return number(factor, 1) if factor < 10 else integer(float(f"{factor:.2g}"))


def duration(seconds: float | None) -> str:
    """``75`` -> ``1 min 15 s``."""
    if not given(seconds):
        return DASH
    assert seconds is not None
    if seconds < 60:
        return f"{number(seconds, 1)} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def plain(value: float | None) -> str:
    """For a script to sort by: four decimals, empty where there is none."""
    return f"{value:.4f}" if given(value) and value is not None else ""


FILTERS = {
    f.__name__: f
    for f in (number, signed, percent, probability, count, integer, spell, listing, duration, plain)
}
