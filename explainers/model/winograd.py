"""Winograd's minimal filtering F(4, 3) along the height of a stride-1 convolution, in `keras.ops`.

Four outputs of a column of three weights take six multiplications instead of twelve; what the transforms
cost instead grows with the channels, not with their product, so wide layers gain up to a third.
Rounding is relative to the largest value within six rows (1e-6 of it, with coefficients up to 8), not
to each sum itself: not for sums that become denominators of anything larger, and a loss of digits where
neighbouring rows differ by many orders of magnitude.

Source: Lavin and Gray 2016, "Fast algorithms for convolutional neural networks", section 4.1; the
interpolation points 0, 1, -1, 2, -2 and infinity.
"""

from __future__ import annotations

import numpy as np
from keras import ops

from explainers.engine import Tensor

_KERNEL = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
# Below this many channels (in * out / (in + out)) the transforms cost more than they save.
_WORTH = 40


def suits(kernel_size: tuple[int, ...], w: np.ndarray) -> bool:
    """Whether a stride-1 convolution over two axes with this kernel is faster by `convolve`."""
    channels_in, channels_out = w.shape[-2:]
    wide = channels_in * channels_out >= _WORTH * (channels_in + channels_out)
    return len(kernel_size) == 2 and kernel_size[0] == 3 and w.ndim == 4 and wide


def transform(w: np.ndarray) -> np.ndarray:
    """The kernel (3, width, in, out) as `convolve` takes it: (6, 1, width, in, out)."""
    return np.einsum("ph,hwio->pwio", _KERNEL, np.asarray(w, np.float64))[:, None].astype(w.dtype)


def convolve(a: Tensor, transformed: Tensor, padding: str) -> Tensor:
    """The stride-1 convolution of `a` (b h w c) with the kernel that was transformed."""
    height, width, channels = a.shape[1:]
    low, out = (1, height) if padding == "same" else (0, height - 2)
    tiles = -(-out // 4)
    a = ops.pad(a, [(0, 0), (low, 4 * tiles + 4 - height - low), (0, 0), (0, 0)])
    a = ops.reshape(a, (-1, tiles + 1, 4, width, channels))
    d0, d1, d2, d3 = (a[:, :-1, i] for i in range(4))
    d4, d5 = a[:, 1:, 0], a[:, 1:, 1]
    p, q, u, v = d4 - d2, 2 * (d3 - d1), d4 - 4 * d2, d3 - 4 * d1
    points = (p - 4 * (d2 - d0), u + v, u - v, p + q, p - q, d5 - d3 - 2 * q)
    m = [ops.conv(x, transformed[i], (1, 1), padding, "channels_last", (1, 1)) for i, x in enumerate(points)]
    s, d, t, e = m[1] + m[2], m[1] - m[2], m[3] + m[4], 2 * (m[3] - m[4])
    y = ops.stack((m[0] + s + t, d + e, s + 4 * t, m[5] + d + 4 * e), axis=2)
    return ops.reshape(y, (-1, 4 * tiles, *y.shape[3:]))[:, :out]
