"""What a gallery is: rows and columns of explanations, and how they share colour scales.

What a row and a column mean is the caller's: targets x methods, images x methods, models x methods, values of
one parameter x values of another (Alber 2019, Figures 2, 5, 6 and 7). Arrays come in; nothing here knows a
network, a figure or a page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from reports.gallery.view import View

SCOPES: Final = {
    "image": "every map on its own scale: maps cannot be compared in strength",
    "row": "one scale per row: maps can be compared along a row",
    "column": "one scale per column: maps can be compared down a column",
    "all": "one scale for all maps: all can be compared",
}
_AXES: Final = {
    "row": (1,),
    "column": (0,),
    "all": (0, 1),
}  # over which a scale is shared
SMALL: Final = 64  # pixels: pictures of fewer are enlarged without smoothing


@dataclass(frozen=True)
class Cell:
    """A map: ``relevance`` (h, w, c) and how it is shown; ``note``: why it is undefined, or a score."""

    relevance: np.ndarray
    view: View
    note: str = ""


@dataclass(frozen=True)
class Line:
    """One row: the picture (h, w, 3) uint8, what stands left and right, a cell per column (None: empty)."""

    picture: np.ndarray
    left: tuple[str, ...]
    cells: tuple[Cell | None, ...]
    right: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gallery:
    """All of it.

    ``scope``: which maps share a colour scale; ``percentile``: of the values that are not 0, where a scale
    ends (100: at the largest); ``facts``: pairs of name and value printed below the page.
    """

    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    scope: str = "image"
    facts: tuple[tuple[str, str], ...] = ()
    percentile: float = 100.0

    def __post_init__(self) -> None:
        if self.scope not in SCOPES:
            raise ValueError(f"scope {self.scope!r} is unknown; valid: {', '.join(SCOPES)}")
        if not 0 < self.percentile <= 100:
            raise ValueError(f"percentile {self.percentile}: valid: above 0, at most 100")
        if not self.lines or not self.columns:
            raise ValueError("a gallery needs at least one line and one column")
        if any(len(line.cells) != len(self.columns) for line in self.lines):
            raise ValueError("every line needs one cell per column")

    @property
    def small(self) -> bool:
        """Whether the pictures have so few pixels that these should be seen."""
        return is_small(self.lines[0].picture)


@dataclass(frozen=True)
class Panel:
    """A drawn cell: ``image`` (h, w, 3) uint8 and the end of its colour scale, None where it has none."""

    image: np.ndarray
    scale: float | None
    view: View
    note: str


@dataclass(frozen=True)
class Entry:
    """A line of the legend: of a view, with its colours (n, 3) uint8 where it has some, or of the scales."""

    name: str
    words: str
    bar: np.ndarray | None = None


def draw(gallery: Gallery) -> list[list[Panel | None]]:
    """The panels, row by row."""
    ends = _ends(gallery)
    return [
        [_panel(line.picture, cell, ends[r][c]) if cell else None for c, cell in enumerate(line.cells)]
        for r, line in enumerate(gallery.lines)
    ]


def _ends(gallery: Gallery) -> list[list[float]]:
    """The end of every cell's scale; 0 where there is nothing to show."""
    own = np.array(
        [[_own_end(cell, gallery.percentile) for cell in line.cells] for line in gallery.lines], dtype=float
    )
    if gallery.scope not in _AXES:
        return own.tolist()
    # panels of different views show different quantities: only equal views share a scale
    views = np.array([[cell.view.name if cell else "" for cell in line.cells] for line in gallery.lines])
    shared = np.zeros_like(own)
    for name in set(views.ravel().tolist()):
        same = np.where(views == name, own, 0.0)
        shared = np.where(views == name, same.max(axis=_AXES[gallery.scope], keepdims=True), shared)
    return shared.tolist()


def _own_end(cell: Cell | None, percentile: float) -> float:
    """What the cell's own scale would end at."""
    if cell is None or cell.view.low is None:
        return 0.0
    values = cell.view.values(cell.relevance)
    size = np.abs(values[values != 0])
    if size.size == 0:
        return 0.0
    return float(size.max() if percentile == 100 else np.percentile(size, percentile))


def _panel(picture: np.ndarray, cell: Cell, end: float) -> Panel:
    image = cell.view.draw(cell.relevance, picture, end)
    return Panel(image, None if cell.view.low is None else end, cell.view, cell.note)


def is_small(image: np.ndarray) -> bool:
    """Whether an image (h, w, 3) has so few pixels that these should be seen."""
    return min(image.shape[:2]) < SMALL


def caption(panel: Panel) -> str:
    """The colour scale in words, as it stands below the panel."""
    if panel.scale is None or (panel.note and panel.scale == 0):
        return panel.note
    sign = "±" if panel.view.low else "0 to "
    scale = f"{sign}{panel.scale:.3g}" if panel.scale > 0 else "zero everywhere"
    return f"{scale} · {panel.note}" if panel.note else scale


def legend(gallery: Gallery) -> tuple[Entry, ...]:
    """What the views show and where the colour scales end."""
    views = {cell.view.name: cell.view for line in gallery.lines for cell in line.cells if cell}
    end = "the largest value"
    if gallery.percentile < 100:
        end = (
            f"the {gallery.percentile:g}th percentile of the values that are not 0; beyond: the end's colour"
        )
    scale = Entry("scale", f"{SCOPES[gallery.scope]}; it ends at {end}")
    return (*(Entry(view.name, view.meaning, view.bar()) for view in views.values()), scale)
