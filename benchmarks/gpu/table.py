"""The table of the figures, written anew after each row: what was measured survives whatever follows."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.wanted import verdict
from explainers import ExplainError, engine

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

    def __init__(self, folder: Path, about: dict[str, Any], counts: bool) -> None:
        """``counts``: whether these are whole networks on a GPU, of which something is wanted."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.about, self.rows, self.counts = folder, about, list[Row](), counts
        self.late = list[str]()  # what the time did not suffice for

    def add(self, row: Row) -> None:
        """One more, on the terminal, too."""
        self.rows.append(row)
        print(" | ".join(_cells(row)), flush=True)
        self.write()

    @property
    def remarks(self) -> list[str]:
        """What is not in the table, and why."""
        said = [] if self.counts else ["Small networks, or no GPU: the rates show that it runs, no more."]
        said += [] if "tf32" in self.about["rates"] else ["tf32 is not measured: a CPU has none."]
        return said + ([f"Not measured, the time was over: {'; '.join(self.late)}."] if self.late else [])

    @property
    def verdict(self) -> str:
        """What is wanted of a GPU, and whether it was reached."""
        return verdict(self.rows, self.counts, list(self.about["rates"]))

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
        """The table by network, what it was measured on, what is not in it, and the verdict at the end."""
        rates = ", ".join(f"{name} {rate / 1e12:.3g} TFLOP/s" for name, rate in self.about["rates"].items())
        packages = ", ".join(f"{name} {number}" for name, number in self.about["packages"].items())
        lines = ["| " + " | ".join(HEADINGS.values()) + " |", "|" + " --- |" * len(HEADINGS)]
        networks = list(dict.fromkeys(row.network for row in self.rows))  # measured by turns, read together
        lines += [
            "| " + " | ".join(_cells(row)) + " |"
            for row in sorted(self.rows, key=lambda row: networks.index(row.network))
        ]
        about = f"{self.about['device']}, {self.about['backend']} back-end; {packages}; matrix rate {rates}"
        return "\n\n".join(["\n".join(lines), f"{about}.", *self.remarks, self.verdict]) + "\n"


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


def failure(error: Exception) -> str:
    """Why there are no figures, in one line."""
    if isinstance(error, ImportError):
        return f"not measured: {error}"
    if isinstance(error, ExplainError):
        return f"refused: {error}"
    if engine.is_exhausted(error):
        return "not measured: memory does not suffice for this batch"
    said = " ".join(str(error).split())[:200].replace("|", "/")  # it stands in a table
    return f"failed: {type(error).__name__}: {said}"


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
