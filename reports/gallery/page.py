"""Galleries: rows and columns of explanations, as a figure and as a page (Alber 2019, Figures 2, 5, 6 and 7).

What a row and a column mean is the caller's: targets x methods, images x methods, models x methods, values of
one parameter x values of another. Arrays come in; nothing here knows a network.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from PIL import Image

from reports.gallery import figure as gallery_figure
from reports.gallery import views as visualize

VIEWS: Final = ("graymap", "heatmap", "scaled", "masked", "blend", "projection")
SCOPES: Final = {
    "image": "every map on its own scale: maps cannot be compared in strength",
    "row": "one scale per row: maps can be compared along a row",
    "column": "one scale per column: maps can be compared down a column",
    "all": "one scale for all maps: all can be compared",
}
MEANING: Final = {
    "graymap": "sum over channels of |R|: black is none, white the end of the scale",
    "heatmap": "sum over channels of R: blue against the target, white none, red for it",
    "scaled": "the input times the sum over channels of |R|",
    "masked": "the input where the most relevant segments are, a fifth of the picture; grey elsewhere",
    "blend": "sum over channels of |R|, smoothed, in the jet colours over the grey input",
    "projection": "R itself as an image: mid-grey is none",
}


@dataclass(frozen=True)
class Cell:
    """A map: ``relevance`` (h, w, c); ``view`` one of the six; ``note`` why it is undefined, or a score."""

    relevance: np.ndarray
    view: str = "heatmap"
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


@dataclass(frozen=True)
class Panel:
    """A drawn cell: ``image`` (h, w, 3) uint8 and the end of its colour scale, None where it has none."""

    image: np.ndarray
    scale: float | None
    view: str
    note: str


def draw(gallery: Gallery) -> list[list[Panel | None]]:
    """The panels, row by row."""
    scales = _scales(gallery)
    return [
        [_panel(line.picture, cell, scales[r][c]) for c, cell in enumerate(line.cells)]
        for r, line in enumerate(gallery.lines)
    ]


def _scales(gallery: Gallery) -> list[list[float]]:
    """The end of every cell's scale; 0 where there is nothing to show."""
    own = np.array(
        [[_strength(cell, gallery.percentile) for cell in line.cells] for line in gallery.lines], dtype=float
    )
    own = own.reshape(len(gallery.lines), len(gallery.columns))
    axis = {"image": None, "row": (1,), "column": (0,), "all": (0, 1)}[gallery.scope]
    if axis is None:
        return own.tolist()
    # panels of different views show different quantities: only equal views share a scale
    views = np.array([[cell.view if cell else "" for cell in line.cells] for line in gallery.lines])
    for view in set(views.ravel().tolist()):
        same = np.where(views.reshape(own.shape) == view, own, 0.0)
        shared = np.broadcast_to(same.max(axis=axis, keepdims=True, initial=0.0), own.shape)
        own = np.where(views.reshape(own.shape) == view, shared, own)
    return own.tolist()


def _strength(cell: Cell | None, percentile: float) -> float:
    """What the cell's own scale would end at."""
    if cell is None or cell.view == "masked":
        return 0.0
    if cell.view == "projection":
        values = np.nan_to_num(cell.relevance, posinf=0, neginf=0)
    else:
        pool = visualize.signed if cell.view == "heatmap" else visualize.absolute
        values = pool(cell.relevance[None])[0]
    if cell.view == "blend":
        from skimage.filters import gaussian

        values = gaussian(values, sigma=3.0, preserve_range=True)
    size = np.abs(values[values != 0])
    if size.size == 0:
        return 0.0
    return float(size.max() if percentile == 100 else np.percentile(size, percentile))


def _panel(picture: np.ndarray, cell: Cell | None, scale: float) -> Panel | None:
    if cell is None:
        return None
    relevance, pictures = cell.relevance[None], picture[None]
    scope: visualize.Scope = scale if scale > 0 else "image"
    if cell.view == "masked":
        return Panel(visualize.masked(relevance, pictures)[0], None, cell.view, cell.note)
    if cell.view in ("scaled", "blend"):
        image = {"scaled": visualize.scaled, "blend": visualize.blend}[cell.view](relevance, pictures, scope)
    else:
        draw_it = {
            "graymap": visualize.graymap,
            "heatmap": visualize.heatmap,
            "projection": visualize.projection,
        }[cell.view]
        image = draw_it(relevance, scope)
    return Panel(image[0], scale, cell.view, cell.note)


def caption(panel: Panel) -> str:
    """The colour scale in words, as it stands below the panel."""
    if panel.note and panel.scale == 0:
        return panel.note
    if panel.scale is None:
        return panel.note
    sign = "±" if panel.view in ("heatmap", "projection") else "0 to "
    scale = f"{sign}{panel.scale:.3g}" if panel.scale > 0 else "zero everywhere"
    return f"{scale} · {panel.note}" if panel.note else scale


def figure(gallery: Gallery) -> Figure:
    """The gallery as a matplotlib figure; the scale of every panel stands below it."""
    return gallery_figure.figure(gallery, draw(gallery), [f"{k}: {v}" for k, v in legend(gallery).items()])


def legend(gallery: Gallery) -> dict[str, str]:
    """What the views show and where the colour scales end, in words."""
    views = dict.fromkeys(cell.view for line in gallery.lines for cell in line.cells if cell)
    end = "the largest value"
    if gallery.percentile < 100:
        end = (
            f"the {gallery.percentile:g}th percentile of the values that are not 0; beyond: the end's colour"
        )
    return {view: MEANING[view] for view in views} | {"scale": f"{SCOPES[gallery.scope]}; it ends at {end}"}


def page(gallery: Gallery) -> str:
    """The gallery as one self-contained page; a click on a panel enlarges it."""
    panels = draw(gallery)
    rows = [
        {
            "left": line.left,
            "right": line.right,
            "picture": _uri(line.picture),
            "shape": line.picture.shape,
            "panels": [
                panel and {"uri": _uri(panel.image), "caption": caption(panel), "view": panel.view}
                for panel in found
            ],
        }
        for line, found in zip(gallery.lines, panels, strict=True)
    ]
    style, script = (_asset(name) for name in ("gallery.css", "gallery.js"))
    environment = Environment(
        loader=PackageLoader("reports.gallery"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    return environment.get_template("gallery.html.j2").render(
        gallery=gallery,
        rows=rows,
        legend=legend(gallery),
        small=min(gallery.lines[0].picture.shape[:2]) < 64,
        style=Markup(style),
        script=Markup(script),
        policy=f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; "
        f"script-src '{_digest(script)}'",
    )


def _breakable(text: str) -> Markup:
    """A name that may be broken before brackets and after commas and underscores."""
    return Markup(re.sub(r"([_,/])|(?=\()", r"\1<wbr>", str(escape(text))))


def _asset(name: str) -> str:
    return (resources.files("reports.gallery") / "templates" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _uri(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def write_gallery(gallery: Gallery, folder: str | Path, name: str = "gallery") -> tuple[Path, Path]:
    """``NAME.png`` and ``NAME.html`` in ``folder``, each written whole or not at all; their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    figure(gallery).savefig(buffer, format="png")
    paths = folder / f"{name}.png", folder / f"{name}.html"
    for path, content in zip(paths, (buffer.getvalue(), page(gallery).encode()), strict=True):
        partial = path.with_name(f".tmp-{path.name}")
        partial.write_bytes(content)
        os.replace(partial, path)
    return paths


def save_arrays(gallery: Gallery, path: str | Path) -> Path:
    """The maps as ``.npz``: ``relevance`` (rows, columns, h, w, c), nan where empty; ``about``: JSON text.

    Models of different input sizes give one array ``relevance_R_C`` per cell instead.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "title": gallery.title,
        "columns": gallery.columns,
        "rows": [{"left": line.left, "right": line.right} for line in gallery.lines],
        "notes": [[cell.note if cell else "" for cell in line.cells] for line in gallery.lines],
        "facts": dict(gallery.facts),
    }
    found: Sequence[Sequence[np.ndarray | None]] = [
        [cell.relevance if cell else None for cell in line.cells] for line in gallery.lines
    ]
    shapes = {map_.shape for row in found for map_ in row if map_ is not None}
    arrays: dict[str, np.ndarray] = {}
    if len(shapes) == 1:
        shape = shapes.pop()
        empty = np.full(shape, np.nan)
        arrays["relevance"] = np.stack([np.stack([empty if m is None else m for m in row]) for row in found])
    else:
        for r, row in enumerate(found):
            arrays.update({f"relevance_{r}_{c}": m for c, m in enumerate(row) if m is not None})
    pictures = [line.picture for line in gallery.lines]
    if len({p.shape for p in pictures}) == 1:
        arrays["pictures"] = np.stack(pictures)
    np.savez_compressed(path, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]
    return path
