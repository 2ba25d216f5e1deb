"""Slow, float64, textbook oracles for LRP: numpy only, nothing of the code under test.

A linear node is unrolled into its matrix by applying it to every basis vector, which is exact: convolution,
stride, dilation, groups and padding all become one ``W (in, out)``. The rules are then written literally, one
short function each: ``a (in,)``, ``W (in, out)``, ``b (out,)``, ``R (out,)`` -> ``R_in (in,)``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


# The matrix of a linear node


def unroll(linear: Callable[[Array], Array], shape: tuple[int, ...]) -> Array:
    """Matrix ``W (in, out)`` of ``linear``, a function of a batch (without bias), for inputs of ``shape``."""
    basis = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    return np.asarray(linear(basis), dtype=np.float64).reshape(len(basis), -1)


# Ratios


def divide(numerator: Array, denominator: Array) -> Array:
    """``numerator / denominator``; 0 where the denominator is exactly 0."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)


def stab(z: Array, eps: float) -> Array:
    """``z + eps * sign(z)`` with ``sign(0) = +1``."""
    return z + eps * np.where(z >= 0, 1.0, -1.0)


def positive(x: Array) -> Array:
    """``max(x, 0)``."""
    return np.maximum(x, 0)


def negative(x: Array) -> Array:
    """``min(x, 0)``."""
    return np.minimum(x, 0)


# The rules of linear nodes


def zero(a: Array, w: Array, b: Array, r: Array) -> Array:
    """``sum_k a_i w_ik / z_k R_k``."""
    return a * (w @ divide(r, a @ w + b))


def epsilon(a: Array, w: Array, b: Array, r: Array, eps: float = 1e-6) -> Array:
    """``sum_k a_i w_ik / stab(z_k) R_k``."""
    return a * (w @ (r / stab(a @ w + b, eps)))


def gamma(a: Array, w: Array, b: Array, r: Array, gamma: float = 0.25, eps: float = 1e-6) -> Array:
    """Contributions (and bias) of the sign of ``z_k`` are weighted ``1 + gamma`` (Andeol et al. 2021)."""
    c = a[:, None] * w
    up = (a @ w + b) >= 0
    weighted = c + gamma * np.where(up, positive(c), negative(c))
    bias = b + gamma * np.where(up, positive(b), negative(b))
    return weighted @ (r / stab(weighted.sum(0) + bias, eps))


def alpha_beta(a: Array, w: Array, b: Array, r: Array, alpha: float, beta: float) -> Array:
    """Positive and negative contributions apart, each with its own part of the bias."""
    c = a[:, None] * w
    up = positive(c) @ divide(r, positive(c).sum(0) + positive(b))
    down = negative(c) @ divide(r, negative(c).sum(0) + negative(b))
    return alpha * up - beta * down


def z_plus(a: Array, w: Array, b: Array, r: Array) -> Array:
    """``alpha_beta(1, 0)`` without bias."""
    return alpha_beta(a, w, np.zeros_like(b), r, 1.0, 0.0)


def w_square(a: Array, w: Array, b: Array, r: Array) -> Array:
    """``sum_k w_ik^2 / sum_j w_jk^2 R_k``."""
    return w**2 @ divide(r, (w**2).sum(0))


def flat(a: Array, w: Array, b: Array, r: Array) -> Array:
    """Every connected input gets the same share (of a matrix without accidental zeros)."""
    connected = (w != 0).astype(np.float64)
    return connected @ divide(r, connected.sum(0))


def z_box(a: Array, w: Array, b: Array, r: Array, low: Array | float, high: Array | float) -> Array:
    """``a_i w_ik - l_i w_ik+ - h_i w_ik-`` over its sum."""
    low, high = np.broadcast_to(low, a.shape), np.broadcast_to(high, a.shape)
    c = a[:, None] * w - low[:, None] * positive(w) - high[:, None] * negative(w)
    return c @ divide(r, c.sum(0))


# Other nodes


def norm(parts: list[Array], r: Array, eps: float = 1e-6) -> list[Array]:
    """Add: each summand's share of ``stab(sum)``."""
    s = r / stab(np.sum(parts, axis=0), eps)
    return [part * s for part in parts]


def norm_pool(a: Array, member: Array, r: Array, eps: float = 1e-6) -> Array:
    """Average pooling: shares of the sum over each window; ``member (in, out)`` is 0 or 1."""
    return epsilon(a, member, np.zeros(member.shape[1]), r, eps)


def max_pool(a: Array, r: Array, size: tuple[int, int], stride: tuple[int, int]) -> Array:
    """All to the first winner in row-major order; ``a (h, w, c)``, ``r (h', w', c)``, no padding."""
    out = np.zeros_like(a)
    for y, x, c in np.ndindex(*r.shape):
        top, left = y * stride[0], x * stride[1]
        window = a[top : top + size[0], left : left + size[1], c]
        dy, dx = divmod(int(window.argmax()), window.shape[1])
        out[top + dy, left + dx, c] += r[y, x, c]
    return out
