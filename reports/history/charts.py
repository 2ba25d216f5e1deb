"""The small charts of a history: one figure of one class over the runs, all to the same scale.

Texts that come from outside are escaped here; what these functions return is safe to put on the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from markupsafe import Markup, escape

from pipeline.errors import shown
from pipeline.verdicts import Verdict
from reports.history.course import Figure

WIDE, HIGH, _EDGE = 200.0, 72.0, 7.0
_LEVELS: Final = tuple(Verdict)
DASH: Final = "\u2013"


@dataclass(frozen=True)
class Scale:
    """``low`` and ``high`` of the values that a chart shows; ``share``: they read as per cent."""

    low: float
    high: float
    share: bool = False
    signed: bool = True

    @classmethod
    def of(cls, figures: Iterable[Figure]) -> Scale:
        """Holds all values with their intervals, and 0."""
        ends = [end for figure in figures for end in figure if end is not None]
        low, high = min(0.0, *ends, 0.0), max(0.0, *ends, 0.0)
        return cls(low, high if high > low else low + 1.0)

    @classmethod
    def counts(cls, figures: Iterable[Figure]) -> Scale:
        """From 0 to the largest count."""
        return cls(0.0, max([1.0, *(f.value for f in figures if f.value is not None)]), signed=False)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(HIGH - _EDGE - share * (HIGH - 2 * _EDGE), 1)

    def words(self, value: float | None) -> str:
        """A value as people read it, with a real minus; a dash where there is none."""
        if value is None:
            return DASH
        if self.share:
            return f"{100 * value:.0f}\u202f%"
        if not self.signed:
            return f"{value:.0f}"
        text = f"{value:+.2f}"
        return "0.00" if float(text) == 0 else text.replace("-", "\u2212")

    def interval(self, figure: Figure) -> str:
        """Value and interval."""
        if figure.low is None or figure.high is None:
            return self.words(figure.value)
        return f"{self.words(figure.value)} [{self.words(figure.low)}, {self.words(figure.high)}]"


SHARE: Final = Scale(0.0, 1.0, share=True, signed=False)


@dataclass(frozen=True)
class Event:
    """A vertical line of a chart: ``at`` a position of the runs (between two of them, too)."""

    at: float
    kind: str
    words: str


@dataclass(frozen=True)
class Frame:
    """What the charts of one class share: names of the runs, and the lines drawn through all of them."""

    runs: Sequence[str]
    events: Sequence[Event] = ()
    with_points: bool = True

    def x(self, position: float) -> float:
        return round(_EDGE + position / max(1, len(self.runs) - 1) * (WIDE - 2 * _EDGE), 1)

    def lines(self) -> str:
        parts = []
        for event in self.events:
            x = self.x(event.at)
            title = f"<title>{escape(shown(event.words))}</title>"
            parts.append(f'<path class="event {event.kind}" d="M{x:g} 2V{HIGH - 2:g}">{title}</path>')
        return "".join(parts)


def figure_chart(frame: Frame, figures: Sequence[Figure], scale: Scale, name: str) -> Markup:
    """Line and interval band, broken where a run does not say; the last value as a dot."""
    body = [frame.lines()]
    if scale.low <= 0 <= scale.high and not scale.share:
        body.append(f'<path class="zero" d="M0 {scale.y(0):g}H{WIDE:g}"/>')
    for piece in _pieces([figure.value for figure in figures]):
        body += _piece(frame, figures, scale, piece)
    body += _points(frame, figures, scale)
    last = next((figure for figure in reversed(figures) if figure.value is not None), Figure())
    return _svg(f"{name} over {len(figures)} runs; last {scale.interval(last)}", body)


def verdict_chart(frame: Frame, verdicts: Sequence[Verdict | None]) -> Markup:
    """A dot per run, the worst verdict on top, joined by steps; broken where a run has no verdict."""
    levels = [None if verdict is None else _LEVELS.index(verdict) for verdict in verdicts]
    body = [frame.lines()]
    for piece in _pieces(levels):
        steps = [f"M{frame.x(piece[0]):g} {_level(levels[piece[0]]):g}"]
        steps += [f"H{frame.x(k):g}V{_level(levels[k]):g}" for k in piece[1:]]
        body.append(f'<path class="line steps" d="{"".join(steps)}"/>')
    for k, verdict in enumerate(verdicts):
        if verdict is not None and (frame.with_points or k == len(verdicts) - 1):
            title = f"<title>{escape(shown(frame.runs[k]))}: {verdict.words}</title>"
            place = f'cx="{frame.x(k):g}" cy="{_level(levels[k]):g}"'
            body.append(f'<circle class="fill {verdict.value}" {place} r="4">{title}</circle>')
    said = [verdict.words if verdict else "no images" for verdict in verdicts]
    return _svg(f"verdicts over {len(verdicts)} runs: first {said[0]}, last {said[-1]}", body)


def _level(level: int | None) -> float:
    return round(_EDGE + (level or 0) / (len(_LEVELS) - 1) * (HIGH - 2 * _EDGE), 1)


def _pieces(values: Sequence[float | None]) -> list[list[int]]:
    """Positions of values that follow one another without a gap.

    >>> _pieces([1, None, 2, 3])
    [[0], [2, 3]]
    """
    groups = groupby(range(len(values)), key=lambda k: values[k] is not None)
    return [list(positions) for has_value, positions in groups if has_value]


def _piece(frame: Frame, figures: Sequence[Figure], scale: Scale, piece: Sequence[int]) -> list[str]:
    """Band and line of an unbroken piece; what has an interval and no neighbour is an upright bar."""
    parts = []
    for of in _pieces([figures[k].low if figures[k].high is not None else None for k in piece]):
        places = [piece[k] for k in of]
        tops = [f"{frame.x(k):g} {scale.y(figures[k].high or 0):g}" for k in places]
        lows = [f"{frame.x(k):g} {scale.y(figures[k].low or 0):g}" for k in reversed(places)]
        kind = "band" if len(places) > 1 else "bar"
        parts.append(f'<path class="{kind}" d="M{"L".join(tops + lows)}"/>')
    line = "L".join(f"{frame.x(k):g} {scale.y(figures[k].value or 0):g}" for k in piece)
    return [*parts, f'<path class="line" d="M{line}"/>']


def _points(frame: Frame, figures: Sequence[Figure], scale: Scale) -> list[str]:
    """A dot for the last value; of each other one a place to point at, which says run and value."""
    parts = []
    with_value = [k for k, figure in enumerate(figures) if figure.value is not None]
    for k in with_value if frame.with_points else with_value[-1:]:
        alone = k == with_value[-1] or _is_alone(figures, k)
        title = f"{escape(shown(frame.runs[k]))}: {scale.interval(figures[k])}"
        place = f'cx="{frame.x(k):g}" cy="{scale.y(figures[k].value or 0):g}" r="{3.2 if alone else 6:g}"'
        parts.append(f'<circle class="{"dot" if alone else "hit"}" {place}><title>{title}</title></circle>')
    return parts


def _is_alone(figures: Sequence[Figure], k: int) -> bool:
    beside = [figures[j].value for j in (k - 1, k + 1) if 0 <= j < len(figures)]
    return all(value is None for value in beside)


def _svg(label: str, body: Sequence[str]) -> Markup:
    head = f'<svg viewBox="0 0 {WIDE:g} {HIGH:g}" role="img" aria-label="{escape(label)}">'
    return Markup(head + "".join(body) + "</svg>")
