"""What maps, the edges of the pictures, and pasted windows have to do with the place of a mark.

Part of ``python -m benchmarks.arms``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

ON_IT = 0.25  # share of a window's pixels that lie on the mark


def rectangles(changed: np.ndarray) -> np.ndarray:
    """(n, h, w) bool -> the smallest rectangle about what is True of each, nothing of nothing."""
    rows, columns = changed.any(axis=2), changed.any(axis=1)
    return _between(rows)[:, :, None] & _between(columns)[:, None, :]


def _between(flags: np.ndarray) -> np.ndarray:
    """(n, k) True from the first True of a row to its last."""
    before, after = np.maximum.accumulate(flags, axis=1), np.maximum.accumulate(flags[:, ::-1], axis=1)
    return before & after[:, ::-1]


def relative_importance(shown: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(n,) mean of |``shown``| (n, h, w) inside ``places`` (n, h, w) over that outside; nan where either is
    empty or zero (Clark et al. 2026)."""
    magnitude, inside = np.abs(shown).astype(float), places.astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        within = (magnitude * inside).sum(axis=(1, 2)) / inside.sum(axis=(1, 2))
        beyond = (magnitude * (1 - inside)).sum(axis=(1, 2)) / (1 - inside).sum(axis=(1, 2))
        ratio = within / beyond
    return np.where(np.isfinite(ratio), ratio, np.nan)


def edges(pictures: np.ndarray) -> np.ndarray:
    """(n, h, w) magnitude of Sobel's gradient of the grey picture, edges of the picture repeated."""
    grey = np.pad(pictures.astype(float).mean(axis=-1), ((0, 0), (1, 1), (1, 1)), mode="edge")
    smooth = [
        grey[:, :-2] + 2 * grey[:, 1:-1] + grey[:, 2:],
        grey[..., :-2] + 2 * grey[..., 1:-1] + grey[..., 2:],
    ]
    across, down = smooth[0][..., 2:] - smooth[0][..., :-2], smooth[1][:, 2:] - smooth[1][:, :-2]
    return np.hypot(across, down)


def stored_maps(run: Path, names: Sequence[str]) -> np.ndarray:
    """(n, 56, 56) the run's pooled maps of the pictures of these file names, nan where there is none."""
    from pipeline.run.store import Store

    store = Store(str(run))
    of_file = store.read("examples", ["example_id", "file_name"]).to_pandas()
    table = store.read("maps", ["example_id", "height", "width", "values"]).to_pandas()
    held = table.merge(of_file, on="example_id")
    cells = {
        Path(row.file_name).stem: np.array(row.values_, np.float32).reshape(row.height, row.width)
        for row in held.rename(columns={"values": "values_"}).itertuples()
    }
    shape = next(iter(cells.values())).shape
    return np.stack([cells.get(Path(name).stem, np.full(shape, np.nan)) for name in names])


def on_cells(places: np.ndarray, side: int) -> np.ndarray:
    """(n, h, w) bool -> (n, side, side): what share of each cell is True."""
    drawn = [
        Image.fromarray(place.astype(np.float32)).resize((side, side), Image.Resampling.BOX)
        for place in places
    ]
    return np.stack([np.asarray(one) for one in drawn])


def windows_on_marks(run: Path, names: Sequence[str], places: np.ndarray, side: int) -> pd.Series:
    """Class -> share of its windows with a strong gain that lie on the mark (a quarter of their pixels or
    more); nan where no window has one.

    ``places``: of the pictures of these file names, (n, h, w) bool; ``side``: of the network's input.
    """
    from pipeline.run.ranking_settings import ranking_method
    from pipeline.run.store import Store
    from pipeline.run.transfer_parts import read_transfer
    from pipeline.statistics.pasted import read_pasted
    from pipeline.statistics.transfer import STRONG

    store = Store(str(run))
    table = read_transfer(store)
    if table is None:
        return pd.Series(dtype=float)
    files = (
        store.read("examples", ["example_id", "file_name"]).to_pandas().set_index("example_id")["file_name"]
    )
    place_of = {Path(name).stem: place for name, place in zip(names, places, strict=True)}
    shares = {}
    for label, own in read_pasted(table, ranking_method(store.manifest)).items():
        corners = zip(own.x, own.y, own.width, own.height, own.example_id, own.gain, strict=True)
        on_it = [
            covered(place_of[Path(files[name]).stem], (x, y, width, height), side) >= ON_IT
            for x, y, width, height, name, gain in corners
            if gain > STRONG
        ]
        shares[label] = float(np.mean(on_it)) if on_it else float("nan")
    return pd.Series(shares, dtype=float)


def covered(place: np.ndarray, window: tuple[int, int, int, int], side: int) -> float:
    """Share of a window (x, y, width, height in an input of ``side``) that is True in ``place`` (h, w)."""
    x, y, width, height = (value * len(place) / side for value in window)
    rows = slice(int(y), max(int(y) + 1, round(y + height)))
    columns = slice(int(x), max(int(x) + 1, round(x + width)))
    return float(place[rows, columns].mean())
