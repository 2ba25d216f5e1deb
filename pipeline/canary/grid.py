"""The marks that a canary plants, and which network gets which of them on which class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.inputs.datasets.planted import Artefact
from pipeline.seeds import Purpose

Marks = tuple[tuple[str, Artefact], ...]  # (class, mark) pairs of one network


@dataclass(frozen=True)
class Grid:
    """The marks to plant; sizes as a share of the picture's side.

    ``controls``: besides, one mark on the object and one that is invisible (blur), which an audit by boxes
    cannot be expected to find.
    """

    kinds: tuple[str, ...] = ("patch", "text", "stripe")
    sizes: tuple[float, ...] = (0.05, 0.09, 0.17)
    probabilities: tuple[float, ...] = (1.0, 0.5)
    controls: bool = True

    def marks(self) -> list[Artefact]:
        """Every cell, in order."""
        cells = [Artefact(k, p, s) for k in self.kinds for s in self.sizes for p in self.probabilities]
        extra = [Artefact("patch", 1.0, max(self.sizes), inside=True), Artefact("blur", 1.0, 0.17)]
        return cells + (extra if self.controls else [])


def deal_marks(grid: Grid, hosts: Sequence[str], marks: int, networks: int, seed: int) -> list[Marks]:
    """The marks of each network: none in the first, then ``marks`` each, on as many of the classes ``hosts``.

    Cells of the grid come in a seeded order, each once before any comes twice.
    """
    rng = Purpose.DEALT_MARKS.rng(seed)
    cells = grid.marks()
    queue = [cells[i] for _ in range(1 + networks * marks // len(cells)) for i in rng.permutation(len(cells))]
    dealt: list[Marks] = [()]
    for n in range(networks - 1):
        chosen = sorted(rng.permutation(len(hosts))[:marks].tolist())
        pairs = zip(chosen, queue[n * marks : (n + 1) * marks], strict=True)
        dealt.append(tuple((hosts[k], mark) for k, mark in pairs))
    return dealt
