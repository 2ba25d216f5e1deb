"""Colours and places of a picture by their names."""

from __future__ import annotations

import colorsys
from collections import Counter
from collections.abc import Sequence
from typing import Final

_ROWS, _COLUMNS = ("upper", "middle", "lower"), ("left", "centre", "right")
# hue in degrees -> its name up to there
_HUES: Final = ((15, "red"), (45, "orange"), (70, "yellow"), (165, "green"), (200, "cyan"), (260, "blue"),
                (330, "purple"), (361, "red"))  # fmt: skip
_BLACK, _WHITE, _GREY, _DIM = 0.25, 0.8, 0.2, 0.6  # limits of value, value, saturation, value


def colour_word(red: int, green: int, blue: int) -> str:
    """The name of a colour, each part 0 to 255.

    >>> colour_word(255, 220, 0), colour_word(30, 20, 60), colour_word(120, 80, 40)
    ('yellow', 'black', 'brown')
    """
    hue, saturation, value = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
    if value < _BLACK:
        return "black"
    if saturation < _GREY:
        return "white" if value > _WHITE else "grey"
    name = next(name for end, name in _HUES if 360 * hue < end)
    return "brown" if value < _DIM and name in ("orange", "yellow") else name


def place_word(x: float, y: float, size: tuple[int, int]) -> str:
    """Which ninth of a picture of ``size`` (width, height) the point lies in.

    >>> place_word(5, 95, (100, 100)), place_word(50, 50, (100, 100))
    ('lower left', 'in the middle')
    """
    row, column = _ninth(x, y, size)
    return "in the middle" if (row, column) == ("middle", "centre") else f"{row} {column}"


def _ninth(x: float, y: float, size: tuple[int, int]) -> tuple[str, str]:
    row, column = min(2, max(0, int(3 * y / size[1]))), min(2, max(0, int(3 * x / size[0])))
    return _ROWS[row], _COLUMNS[column]


def common_row(points: Sequence[tuple[float, float]], size: tuple[int, int], share: float) -> str:
    """In which third from above at least a ``share`` of the points lies; empty where they do not agree.

    >>> common_row([(50, 5), (50, 9), (50, 50)], (100, 100), 0.6)
    'in the upper third'
    """
    row = agreed([_ninth(x, y, size)[0] for x, y in points], share)
    return f"in the {row} third" if row else ""


def common_place(points: Sequence[tuple[float, float]], size: tuple[int, int], share: float) -> str:
    """Where at least a ``share`` of the points lies: a ninth of the picture, else a third; else empty.

    >>> common_place([(5, 95), (50, 90), (95, 99)], (100, 100), 0.6)
    'in the lower third'
    """
    if place := agreed([place_word(x, y, size) for x, y in points], share):
        return place
    ninths = [_ninth(x, y, size) for x, y in points]
    row, column = (agreed([n[k] for n in ninths], share) for k in (0, 1))
    word = row if row and row != "middle" else column if column and column != "centre" else ""
    return f"in the {word} third" if word else ""


def agreed(said: Sequence[str], share: float) -> str:
    """What at least a ``share`` of them says; empty where there is no such thing."""
    if not said:
        return ""
    name, count = Counter(said).most_common(1)[0]
    return name if count >= share * len(said) else ""
