"""Building blocks of the page's figures: scales, and SVG text that follows the page's own CSS and dark mode.

Texts that come from outside are escaped here; what these functions return is safe to put on the page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from reports.page.words import given, percent, signed


@dataclass(frozen=True)
class Axis:
    """A linear scale: values ``low``..``high`` to pixels ``start``..``stop``."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + min(max(share, 0.0), 1.0) * (self.stop - self.start), 1)

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def ticks(self, about: int = 6) -> list[float]:
        """Round values inside the scale, about that many."""
        raw = (self.high - self.low) / max(about, 1)
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * f for f in (1, 2, 2.5, 5, 10) if power * f >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def span(values: Sequence[float], margin: float = 0.06, floor: float = 0.5) -> tuple[float, float]:
    """Limits that hold all finite ``values`` and 0, with a margin; at least ``floor`` to either side of 0."""
    finite = np.asarray([v for v in values if given(v) and math.isfinite(v)], dtype=float)
    low, high = min(finite.min(initial=0.0), -floor), max(finite.max(initial=0.0), floor)
    pad = margin * (high - low)
    return float(low - pad), float(high + pad)


def figure(
    width: float, height: float, label: str, body: Sequence[str], kind: str, role: str = "img"
) -> Markup:
    """A whole figure; ``label`` says in words what it shows, ``role`` what it is to a screen reader."""
    head = Markup('<svg class="{}" viewBox="0 0 {:g} {:g}" role="{}" aria-label="{}">')
    return head.format(kind, width, height, role, label) + Markup("".join(body)) + Markup("</svg>")


def text(x: float, y: float, content: object, kind: str = "", anchor: str = "middle") -> str:
    """One line of text, escaped."""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{escape(content)}</text>'


def path(points: Sequence[tuple[float, float]], kind: str, close: bool = False) -> str:
    """Straight lines through ``points``."""
    line = "L".join(f"{x:g} {y:g}" for x, y in points)
    return f'<path class="{kind}" d="M{line}{"Z" if close else ""}"/>'


def frame(x: Axis, y: Axis, titles: tuple[str, str], form: str = "share") -> list[str]:
    """Grid, ticks and axis titles. ``form``: how x ticks read, ``share`` or ``signed``."""
    body = []
    for v in y.ticks():
        body.append(
            f'<path class="{"zero" if abs(v) < 1e-9 else "grid"}" d="M{x.start:g} {y(v):g}H{x.stop:g}"/>'
        )
        body.append(text(x.start - 10, y(v) + 4, signed(v, 1), "tick", "end"))
    for v in x.ticks():
        body.append(text(x(v), y.start + 20, percent(v) if form == "share" else signed(v, 1), "tick"))
    body.append(text((x.start + x.stop) / 2, y.start + 44, titles[0], "axis"))
    body.append(text(x.start - 46, y.stop - 16, titles[1], "axis", "start"))
    return body
