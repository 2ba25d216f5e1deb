"""The transpose of a convolution that strides, as one forward convolution: by phases (sub-pixels).

A kernel tap `u s + q` at stride `s` carries output `o` to input `(o + u) s + q`: for every phase `q` that is
a convolution without strides of the taps `u`, rotated. All phases are channels of one convolution, whose
result is spread over blocks of `s` (Shi et al. 2016, arXiv:1609.05158 and 1609.07009).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
from keras import ops

from explainers.engine import Tensor

Pads = tuple[tuple[int, int], ...]
# Multiply-adds, times those of the strided convolution, up to which it is faster than the framework's own.
MOST = 4 / 3


@dataclass(frozen=True)
class Phases:
    """The phases of a kernel of this size (k ...) at these strides (s ...)."""

    size: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def taps(self) -> tuple[int, ...]:
        """Taps per phase; a phase that has fewer gets zeros."""
        return tuple(-(-k // s) for k, s in zip(self.size, self.strides, strict=True))

    @property
    def used(self) -> tuple[int, ...]:
        """Phases that have a tap at all; the others get nothing."""
        return tuple(map(min, self.size, self.strides))

    @property
    def pay(self) -> bool:
        """Whether few of the taps are zeros: of 7 at stride 2, of windows side by side; not of 3 at 2."""
        return prod(self.taps) * prod(self.used) <= MOST * prod(self.size)

    def kernel(self, w: Any) -> Any:
        """From a kernel `k ... in out` that of all phases: `taps ... out (phases in)`."""
        phases = []
        for phase in product(*map(range, self.used)):
            part = w[tuple(slice(q, None, s) for q, s in zip(phase, self.strides, strict=True))]
            for axis, taps in enumerate(self.taps):
                missing = list(part.shape)
                missing[axis] = taps - missing[axis]
                part = np.concatenate([part, np.zeros(missing)], axis=axis) if missing[axis] else part
            phases.append(np.swapaxes(np.flip(part, tuple(range(len(self.size)))), -1, -2))
        return np.concatenate(phases, axis=-1)

    def pads(self, outputs: Tensor, like: Tensor, lows: Sequence[int] | None) -> Pads:
        """Zeros around the outputs `b ... out`, with which the taps reach all of the input `like`.

        `lows`: zeros in front of each axis of `like` that the convolution saw; None: those of "same".
        """
        pads = []
        for axis, (taps, s) in enumerate(zip(self.taps, self.strides, strict=True)):
            n, size = outputs.shape[1 + axis], like.shape[1 + axis]
            reached = None not in (n, size) and (n + taps - 1) * s >= self._low(axis, size, lows) + size
            pads.append((taps - 1, taps - 1 if reached else taps))
        return tuple(pads)

    def spread(self, blocks: Tensor, like: Tensor, lows: Sequence[int] | None) -> Tensor:
        """The phases of `b blocks ... (phases in)` at their places in an array of the shape of `like`."""
        rank, channels = len(self.size), like.shape[-1]
        counts = ops.shape(blocks)[1:-1]
        x = ops.reshape(blocks, (-1, *counts, *self.used, channels))
        axes = [axis for i in range(rank) for axis in (1 + i, 1 + rank + i)]
        x = ops.transpose(x, (0, *axes, 1 + 2 * rank))
        empty = [(0, s - p) for s, p in zip(self.strides, self.used, strict=True)]
        if any(high for _, high in empty):
            x = ops.pad(x, [(0, 0), *(pad for high in empty for pad in ((0, 0), high)), (0, 0)])
        x = ops.reshape(x, (-1, *(n * s for n, s in zip(counts, self.strides, strict=True)), channels))
        sizes = ops.shape(like)[1:-1]
        starts = [self._low(axis, size, lows) for axis, size in enumerate(sizes)]
        cut = (slice(low, low + size) for low, size in zip(starts, sizes, strict=True))
        return x[(slice(None), *cut, slice(None))]

    def _low(self, axis: int, size: Any, lows: Sequence[int] | None) -> Any:
        """Zeros in front of an axis of this size, which may be known only when it is computed."""
        if lows is not None:
            return lows[axis]
        k, s = self.size[axis], self.strides[axis]
        total = ((size + s - 1) // s - 1) * s + k - size
        return max(total, 0) // 2 if isinstance(size, int) else ops.maximum(total, 0) // 2
