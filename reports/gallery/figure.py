"""A gallery as a matplotlib figure. All sizes are inches: nothing runs into anything else."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reports.gallery.model import Entry, Gallery, Line, caption, draw, is_small, legend

DPI: Final = 150
_COLUMN, _LEFT, _RIGHT = 1.75, 1.75, 0.95  # a column; room for what stands left and right of the pictures
_GAP = 0.1  # between pictures
_LINE = 0.135  # a line of the legend or of a column's name
_INK, _MUTED = "#1c1b19", "#555555"


@dataclass(frozen=True)
class Layout:
    """Where everything is; ``y`` counts down from the top."""

    rows: int
    columns: int
    picture: float  # height of a picture
    caption: float  # height of what stands below it
    title: float  # height of the title
    names: float  # height of the columns' names
    legend: float
    right: float

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the figure."""
        body = self.rows * (self.picture + self.caption)
        return _LEFT + self.columns * _COLUMN + self.right, self.title + self.names + body + self.legend

    def x(self, column: int) -> float:
        """Left edge of a column's picture."""
        return _LEFT + column * _COLUMN + _GAP / 2

    def centre(self, column: int) -> float:
        """Middle of a column's picture."""
        return self.x(column) + (_COLUMN - _GAP) / 2

    def y(self, row: int) -> float:
        """Upper edge of a row's pictures."""
        return self.title + self.names + row * (self.picture + self.caption)


def figure(gallery: Gallery) -> Figure:
    """The gallery as a matplotlib figure; the end of every panel's scale stands below it."""
    panels, entries = draw(gallery), legend(gallery)
    captions = [[_wrapped(caption(p), 36, 3) if p else "" for p in row] for row in panels]
    names = [_wrapped(name, 24, 4) for name in ("input", *gallery.columns)]
    title = textwrap.fill(gallery.title, max(20, int((_LEFT + len(names) * _COLUMN) / 0.105)))
    layout = _layout(gallery, title, names, captions, len(entries))
    drawn = _Sheet(layout)
    drawn.text(0.12, 0.1, title, va="top", fontsize=10.5, weight="bold")
    for c, name in enumerate(names):
        drawn.text(layout.centre(c), layout.y(0) - 0.06, name, ha="center", fontsize=8)
    for r, line in enumerate(gallery.lines):
        drawn.line(r, line)
        for c, (panel, words) in enumerate(zip(panels[r], captions[r], strict=True), start=1):
            if panel is not None:
                drawn.picture(r, c, panel.image)
                drawn.caption(r, c, words)
    drawn.legend(entries)
    return drawn.figure


def _layout(
    gallery: Gallery, title: str, names: Sequence[str], captions: Sequence[Sequence[str]], entries: int
) -> Layout:
    """Room for the gallery's pictures and for what is written around them, each text broken into lines."""
    height, width = gallery.lines[0].picture.shape[:2]
    most = max(len(words.splitlines()) for row in captions for words in row)
    return Layout(
        rows=len(gallery.lines),
        columns=len(names),
        picture=(_COLUMN - _GAP) * height / width,
        caption=0.14 + 0.1 * most,
        title=0.2 + 0.2 * len(title.splitlines()),
        names=0.12 + _LINE * max(len(name.splitlines()) for name in names),
        legend=0.2 + _LINE * entries,
        right=_RIGHT if any(line.right for line in gallery.lines) else 0.1,
    )


class _Sheet:
    """A figure that is drawn on in inches from the upper left corner."""

    def __init__(self, layout: Layout):
        self.layout = layout
        self.figure = Figure(figsize=layout.size, dpi=DPI, facecolor="white")
        FigureCanvasAgg(self.figure)

    def text(self, x: float, y: float, words: str, **style: Any) -> None:
        """Words at a place; by default on its line, to its right."""
        width, height = self.layout.size
        style = {"ha": "left", "va": "bottom", "color": _INK} | style
        self.figure.text(x / width, 1 - y / height, words, parse_math=False, **style)

    def picture(self, row: int, column: int, image: np.ndarray) -> None:
        """A picture in its place."""
        place = (
            self.layout.x(column),
            self.layout.y(row),
            _COLUMN - _GAP,
            self.layout.picture,
        )
        self.image(place, image, "nearest" if is_small(image) else "antialiased")

    def image(self, place: tuple[float, float, float, float], image: np.ndarray, how: str) -> None:
        """An image at x, y with a width and height."""
        x, y, w, h = place
        width, height = self.layout.size
        axes = self.figure.add_axes((x / width, 1 - (y + h) / height, w / width, h / height))
        axes.imshow(image, interpolation=how, aspect="auto")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_linewidth(0.5)
            spine.set_color("#999999")

    def line(self, row: int, line: Line) -> None:
        """A row's own picture and what stands beside it."""
        self.picture(row, 0, line.picture)
        middle = self.layout.y(row) + self.layout.picture / 2
        left = "\n".join(_wrapped(text, 27, 3) for text in line.left)
        self.text(_LEFT - 0.05, middle, left, ha="right", va="center", fontsize=7.5)
        end = self.layout.x(self.layout.columns)
        self.text(end + 0.02, middle, "\n".join(line.right), va="center", fontsize=7.5)

    def caption(self, row: int, column: int, words: str) -> None:
        """What stands below a picture."""
        below = self.layout.y(row) + self.layout.picture + 0.035
        self.text(self.layout.centre(column), below, words, ha="center", va="top", fontsize=6, color=_MUTED)

    def legend(self, entries: Sequence[Entry]) -> None:
        """What the colours mean, with the colours beside it."""
        top = self.layout.size[1] - self.layout.legend + 0.08
        for number, entry in enumerate(entries):
            y = top + number * _LINE
            if entry.bar is not None:
                self.image((0.12, y + 0.025, 0.6, 0.075), entry.bar[None], "nearest")
            self.text(0.8, y + 0.105, f"{entry.name}: {entry.words}", fontsize=6.5, color=_MUTED)


def _wrapped(text: str, width: int, most: int) -> str:
    """Broken at blanks, before brackets and after commas and underscores; at most ``most`` lines."""
    head, bracket, tail = text.partition("(")
    parts = [head, bracket + tail] if head and bracket and len(text) > width else [text]
    lines = [line for part in parts for line in _filled(part, width)]
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1] + " …"]
    return "\n".join(lines)


def _filled(text: str, width: int) -> list[str]:
    """Lines of at most ``width`` letters where the text has a place to break, else cut anywhere."""
    lines, line = [], ""
    for word in re.split(r"(?<=[ ,_/])", text):
        if line and len(line) + len(word.rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        line += word
        while len(line.rstrip()) > width:
            lines.append(line[:width])
            line = line[width:]
    return [*lines, line.rstrip()]
