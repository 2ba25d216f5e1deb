"""The table of the figures, written anew after each row: what was measured survives whatever follows."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

HEADINGS = {
    "network": "network",
    "what": "what",
    "precision": "precision",
    "batch": "batch",
    "rate": "images/s on the device",
    "whole_rate": "images/s from host to host",
    "gflop": "GFLOP per image",
    "fraction": "of the matrix rate",
    "to_framework": "fraction over the framework's",
    "peak": "peak MiB",
    "error": "relative L2 to float32",
    "correlation": "rank correlation with float32",
    "note": "note",
}


@dataclass(frozen=True)
class Row:
    """One line; empty: not measured or not defined.

    ``fraction``: of the matrix rate that was measured in the same precision, reached by ``gflop`` x ``rate``;
    ``to_framework``: that fraction over the one of the framework's own gradient.
    """

    network: str
    what: str
    precision: str = ""
    batch: int = 0
    rate: float | None = None
    whole_rate: float | None = None
    gflop: float | None = None
    fraction: float | None = None
    to_framework: float | None = None
    peak: str = ""
    error: float | None = None
    correlation: float | None = None
    note: str = ""


class Table:
    """``gpu.csv``, ``gpu.md`` and ``environment.json`` in ``folder``, kept up to date."""

    def __init__(self, folder: Path, about: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.about, self.rows = folder, about, list[Row]()

    def add(self, row: Row) -> None:
        """One more, on the terminal, too."""
        self.rows.append(row)
        print(" | ".join(_cells(row)), flush=True)
        self.write()

    def write(self) -> None:
        """All files anew."""
        with (self.folder / "gpu.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [f.name for f in fields(Row)])
            writer.writeheader()
            writer.writerows(asdict(row) for row in self.rows)
        (self.folder / "gpu.md").write_text(self.markdown(), encoding="utf-8")
        (self.folder / "environment.json").write_text(
            json.dumps(self.about, indent=1) + "\n", encoding="utf-8"
        )

    def markdown(self) -> str:
        """The table and what it was measured on."""
        rates = ", ".join(f"{name} {rate / 1e12:.3g} TFLOP/s" for name, rate in self.about["rates"].items())
        packages = ", ".join(f"{name} {number}" for name, number in self.about["packages"].items())
        lines = ["| " + " | ".join(HEADINGS.values()) + " |", "|" + " --- |" * len(HEADINGS)]
        lines += ["| " + " | ".join(_cells(row)) + " |" for row in self.rows]
        about = f"{self.about['device']}, {self.about['backend']} back-end; {packages}; matrix rate {rates}"
        return "\n".join([*lines, "", f"{about}.", ""])


def _cells(row: Row) -> list[str]:
    return [_cell(getattr(row, f.name)) for f in fields(Row)]


def _cell(value: Any) -> str:
    if value is None or value == 0:
        return ""
    return (
        f"{value:.3g}"
        if isinstance(value, float) and value < 1000
        else f"{value:.0f}"
        if isinstance(value, float)
        else str(value)
    )


def difference(maps: np.ndarray, exact: np.ndarray) -> tuple[float, float]:
    """Relative L2 distance and rank correlation (Spearman, of the pixels' sums over channels), medians over
    the images (n, h, w, c)."""
    distances, correlations = [], []
    for one, other in zip(maps.astype(np.float64), exact.astype(np.float64), strict=True):
        norm = np.linalg.norm(other)
        distances.append(np.linalg.norm(one - other) / norm if norm else np.nan)
        correlations.append(np.corrcoef([_ranks(m.sum(axis=-1).ravel()) for m in (one, other)])[0, 1])
    return float(np.median(distances)), float(np.median(correlations))


def _ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each value; equal ones share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]
