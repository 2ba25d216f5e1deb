"""What is wanted of a GPU, and whether a table of figures says that it was reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

NETWORK, METHOD, COARSE = "vgg16", "lrp.preset_a", "bfloat16"
MATRIX_SHARE = 0.5  # of the matrix rate, at least
FRAMEWORK_SHARE = 0.8  # of the share that the framework's own gradient reaches, at least
IMAGES, SECONDS = 50_000, 60.0  # ImageNet's validation images, and the device time that they may take


class Figures(Protocol):
    """What is read of a row of the table."""

    @property
    def network(self) -> str: ...
    @property
    def what(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def rate(self) -> float | None: ...
    @property
    def fraction(self) -> float | None: ...
    @property
    def to_framework(self) -> float | None: ...


def verdict(rows: Sequence[Figures], counts: bool, precisions: Sequence[str]) -> str:
    """One line: each thing that is wanted, the figure, and ``reached``, ``not reached`` or ``not measured``.

    ``counts``: whether the figures are those of whole networks on a GPU; else nothing was measured of this.
    ``precisions``: in which the comparison with the framework has to be there.
    """
    own = {row.precision: row for row in rows if counts and (row.network, row.what) == (NETWORK, METHOD)}
    share = own[COARSE].fraction if COARSE in own else None
    rate = own[COARSE].rate if COARSE in own else None
    beside = [own[name].to_framework if name in own else None for name in precisions]
    measured = [value for value in beside if value is not None]
    lowest = min(measured, default=None)
    taken = IMAGES / rate if rate else None
    lines = [
        f"{MATRIX_SHARE:.0%} of the matrix rate in {COARSE}: "
        + _said(share, lambda value: value >= MATRIX_SHARE, "{:.1%}"),
        f"{FRAMEWORK_SHARE} of the share of the framework's own gradient, in every precision: "
        + _said(
            # one that falls short decides; that none does is known when all are there
            lowest if lowest is not None and (lowest < FRAMEWORK_SHARE or None not in beside) else None,
            lambda value: value >= FRAMEWORK_SHARE,
            "{:.2f} at the least",
        ),
        f"{IMAGES:,} images in under {SECONDS:.0f} s of device time: "
        + _said(taken, lambda value: value < SECONDS, "{:.1f} s"),
    ]
    why = "" if counts else " (small networks, or no GPU)"
    return f"Wanted on an H100 or H200 of {NETWORK} with {METHOD}{why}: " + "; ".join(lines) + "."


def _said(value: float | None, reached: Callable[[float], bool], shown: str) -> str:
    if value is None:
        return "not measured"
    return f"{'reached' if reached(value) else 'not reached'} ({shown.format(value)})"
