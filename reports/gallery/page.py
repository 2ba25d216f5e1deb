"""A gallery as one self-contained page, and as files: page, figure and arrays."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from PIL import Image

from pipeline.run.files import open_files
from reports.gallery.figure import figure
from reports.gallery.model import Gallery, Line, Panel, caption, draw, legend
from reports.inline import assets, data_uri, environment

_PACKAGE = "reports.gallery"


def page(gallery: Gallery) -> str:
    """The gallery as text of a page; a click on a panel enlarges it."""
    templates = environment(_PACKAGE)
    templates.filters["breakable"] = _breakable
    return templates.get_template("gallery.html.j2").render(
        gallery=gallery,
        rows=[_row(line, panels) for line, panels in zip(gallery.lines, draw(gallery), strict=True)],
        legend=[(e.name, e.words, None if e.bar is None else _uri(e.bar[None])) for e in legend(gallery)],
        **assets(_PACKAGE, "gallery"),
    )


def _row(line: Line, panels: Sequence[Panel | None]) -> dict[str, Any]:
    return {
        "left": line.left,
        "right": line.right,
        "picture": _uri(line.picture),
        "shape": line.picture.shape,
        "panels": [
            panel and {"uri": _uri(panel.image), "caption": caption(panel), "view": panel.view.name}
            for panel in panels
        ],
    }


def _breakable(text: str) -> Markup:
    """A name that may be broken before brackets and after commas and underscores."""
    return Markup(re.sub(r"([_,/])|(?=\()", r"\1<wbr>", str(escape(text))))


def _uri(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return data_uri(buffer.getvalue(), "image/png")


def write_gallery(gallery: Gallery, folder: str | Path, name: str = "gallery") -> tuple[Path, Path]:
    """``NAME.png`` and ``NAME.html`` in ``folder``, each written whole or not at all; their paths.

    Raises:
        InputError: the folder cannot be written.
    """
    files = open_files(folder)
    buffer = io.BytesIO()
    figure(gallery).savefig(buffer, format="png")
    files.put(f"{name}.png", buffer.getvalue())
    files.put(f"{name}.html", page(gallery).encode())
    return Path(folder, f"{name}.png"), Path(folder, f"{name}.html")


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
    arrays = _maps([[cell.relevance if cell else None for cell in line.cells] for line in gallery.lines])
    pictures = [line.picture for line in gallery.lines]
    if len({p.shape for p in pictures}) == 1:
        arrays["pictures"] = np.stack(pictures)
    np.savez_compressed(path, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]
    return path


def _maps(rows: Sequence[Sequence[np.ndarray | None]]) -> dict[str, np.ndarray]:
    """All maps as one array where they are of one shape, else an array each."""
    shapes = {map_.shape for row in rows for map_ in row if map_ is not None}
    if len(shapes) == 1:
        empty = np.full(shapes.pop(), np.nan)
        return {"relevance": np.array([[empty if m is None else m for m in row] for row in rows])}
    cells = ((r, c, m) for r, row in enumerate(rows) for c, m in enumerate(row))
    return {f"relevance_{r}_{c}": m for r, c, m in cells if m is not None}
