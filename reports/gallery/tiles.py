"""Rows of pictures with a name and a note, as one PNG."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.errors import InputError, reason

_DPI: Final = 150
_SIDE, _LEFT, _GAP, _TITLE = 2.2, 1.9, 0.08, 0.5  # inches
_INK, _MUTED = "#1c1b19", "#555555"


@dataclass(frozen=True)
class Row:
    """``pictures``: n h w 3 uint8."""

    name: str
    note: str
    pictures: np.ndarray


def write_tiles(title: str, rows: Sequence[Row], path: Path) -> Path:
    """Write the figure; returns where it is. Raises :class:`InputError` where it cannot be written."""
    columns = max(len(row.pictures) for row in rows)
    width = _LEFT + columns * (_SIDE + _GAP) + _GAP
    height = _TITLE + len(rows) * (_SIDE + _GAP) + _GAP
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(_GAP / width, 1 - 0.28 / height, title, size=11, color=_INK, va="center", weight="bold")
    for y, row in enumerate(rows):
        top = _TITLE + y * (_SIDE + _GAP)
        name = textwrap.fill(row.name, 22)
        figure.text(_GAP / width, 1 - (top + 0.15) / height, name, size=9, color=_INK, va="top")
        below = top + 0.15 + 0.16 * (name.count("\n") + 1) + 0.06
        figure.text(_GAP / width, 1 - below / height, row.note, size=8, color=_MUTED, va="top")
        for x, picture in enumerate(row.pictures):
            left = _LEFT + x * (_SIDE + _GAP)
            place = (left / width, 1 - (top + _SIDE) / height, _SIDE / width, _SIDE / height)
            axes = figure.add_axes(place)
            axes.imshow(picture, interpolation="nearest")
            axes.set_axis_off()
    path = path if path.suffix else path.with_suffix(".png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png")
    except OSError as error:
        raise InputError(f"--out {path}: cannot be written: {reason(error)}") from None
    return path
