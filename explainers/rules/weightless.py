"""Rules for nodes without weights: activations, max pooling, products, reshapes, attention.

Sources: Bach et al. 2015; Arras et al. 2017 (gates); Achtibat et al. 2024 (AttnLRP: softmax, matmul,
normalisation); Zeiler and Fergus 2014 (Deconvnet); Springenberg et al. 2015 (Guided Backprop).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from keras import ops

from explainers import engine
from explainers.engine import Tensor
from explainers.errors import InvalidParameter
from explainers.rules.base import Constants, Flow, Rule, Site, divide, none, stab, total


def _remainder(R: Tensor, parts: tuple[Tensor, ...]) -> Tensor:
    return total(R) - sum(total(part) for part in parts)


def aligned(x: Tensor, like: Tensor) -> Tensor:
    """`x` with the rank of `like`: axes of 1 behind the batch's, where Keras' merging layers put them."""
    for _ in range(len(like.shape) - len(x.shape)):
        x = ops.expand_dims(x, 1)
    return x


def sum_to(x: Tensor, like: Tensor) -> Tensor:
    """Sum `x` over the axes along which `like` was broadcast to it."""
    extra = len(x.shape) - len(like.shape)
    if extra:
        x = ops.sum(x, axis=tuple(range(1, 1 + extra)))
    axes = [i for i in range(1, len(x.shape)) if like.shape[i] == 1 and x.shape[i] != 1]
    return ops.sum(x, axis=tuple(axes), keepdims=True) if axes else x


@dataclass(frozen=True)
class Pass(Rule):
    """`R_in = R`, one to one: element-wise activations, normalisations."""

    proportional: ClassVar[bool | None] = None

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        return Flow((sum_to(R, a[0]),), lambda: (none(R), none(R)))

    def cost(self, site: Site) -> float:
        return 0.0


@dataclass(frozen=True)
class Adjoint(Rule):
    """`R_in = A^T R` of a linear rearrangement `A`: concat, reshape, permute, pad, crop, up-sample."""

    proportional: ClassVar[bool | None] = None

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        parts = engine.vjp(site.node.call, a, R)

        def account() -> tuple[Tensor, Tensor]:
            ones, zeros = (site.node.call(*(like(x) for x in a)) for like in (ops.ones_like, ops.zeros_like))
            return none(R), total(R * (1 - (ones - zeros)))  # a layer of one's own may add constants

        return Flow(parts, account)


@dataclass(frozen=True)
class ChainRule(Rule):
    """The plain chain rule through the node: what gradient methods use everywhere."""

    proportional: ClassVar[bool | None] = False

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        parts = engine.vjp(site.node.call, a, R)
        return Flow(parts, lambda: (none(R), _remainder(R, parts)))


@dataclass(frozen=True)
class Deconvolve(Rule):
    """Deconvnet's activation: `R_in = max(R, 0)`."""

    proportional: ClassVar[bool | None] = False

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        parts = (ops.relu(R),)
        return Flow(parts, lambda: (none(R), _remainder(R, parts)))


@dataclass(frozen=True)
class Guided(Rule):
    """Guided Backprop's activation: the chain rule applied to `max(R, 0)`."""

    proportional: ClassVar[bool | None] = False

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        parts = engine.vjp(site.node.call, a, ops.relu(R))
        return Flow(parts, lambda: (none(R), _remainder(R, parts)))


@dataclass(frozen=True)
class Winner(Rule):
    """All to the largest input: max pooling, maximum, minimum.

    `ties="first"`: the first winner in row-major order, like the framework's gradient;
    `ties="equal"`: equal shares among all winners, as the LRP toolbox does.
    """

    proportional: ClassVar[bool | None] = None

    ties: str = "first"

    def __post_init__(self) -> None:
        if self.ties not in ("first", "equal"):
            raise InvalidParameter(f"ties must be 'first' or 'equal', received {self.ties!r}")

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        if len(a) > 1:
            parts = self._between(a, z, R)
        elif self.ties == "equal" and site.node.window is not None:
            parts = (_share_equally(site, a[0], z, R),)
        elif site.node.window is None:
            parts = (self._overall(a[0], R),)
        else:
            parts = engine.vjp(site.node.call, a, R)
        return Flow(parts, lambda: (none(R), _remainder(R, parts)))

    def _between(self, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> tuple[Tensor, ...]:
        wins = [ops.cast(aligned(x, z) == z, R.dtype) for x in a]
        if self.ties == "equal":
            ratio = R / sum(wins)
            return tuple(sum_to(win * ratio, x) for win, x in zip(wins, a, strict=True))
        left, parts = ops.ones_like(R), []
        for win, x in zip(wins, a, strict=True):
            parts.append(sum_to(R * win * left, x))
            left = left * (1 - win)
        return tuple(parts)

    def _overall(self, x: Tensor, R: Tensor) -> Tensor:
        """Over all positions of each channel."""
        shape = ops.shape(x)
        flat = ops.reshape(x, (shape[0], -1, shape[-1]))
        R = ops.reshape(R, (shape[0], 1, shape[-1]))
        if self.ties == "equal":
            wins = ops.cast(flat == ops.max(flat, axis=1, keepdims=True), R.dtype)
            share = wins / ops.sum(wins, axis=1, keepdims=True)
        else:
            best = ops.argmax(flat, axis=1)
            share = ops.one_hot(best, flat.shape[1], axis=1, dtype=R.dtype)
        return ops.reshape(R * share, shape)

    def cost(self, site: Site) -> float:
        return 0.0


def _share_equally(site: Site, a: Tensor, z: Tensor, R: Tensor) -> Tensor:
    """Max pooling with equal shares among tied winners, one window position at a time."""
    layer, window = site.node.layer, site.node.window or ()
    strides, steps = layer.strides, z.shape[1:-1]
    pads = []
    for size, k, stride, n in zip(a.shape[1:-1], window, strides, steps, strict=True):
        extra = max((n - 1) * stride + k - size, 0) if layer.padding == "same" else 0
        pads.append((extra // 2, extra - extra // 2))

    def windows(x: Tensor) -> Tensor:
        x = ops.pad(x, [(0, 0), *pads, (0, 0)])
        pieces = []
        for offset in np.ndindex(*window):
            cut = (slice(o, o + (n - 1) * s + 1, s) for o, n, s in zip(offset, steps, strides, strict=True))
            pieces.append(x[(slice(None), *cut, slice(None))])
        return ops.stack(pieces, axis=-1)

    inside = windows(ops.ones_like(a))
    wins = ops.cast(windows(a) == z[..., None], R.dtype) * inside
    share = wins / ops.sum(wins, axis=-1, keepdims=True)
    return engine.vjp(windows, (a,), share * R[..., None])[0]


@dataclass(frozen=True)
class Split(Rule):
    """A product gives equal shares to its factors (gates, squeeze-and-excite)."""

    proportional: ClassVar[bool | None] = None

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        parts = tuple(sum_to(R / len(a), x) for x in a)
        return Flow(parts, lambda: (none(R), none(R)))

    def cost(self, site: Site) -> float:
        return 0.0


@dataclass(frozen=True)
class Signal(Rule):
    """A signal times a gate: the signal, the first input, takes all (Arras et al. 2017)."""

    proportional: ClassVar[bool | None] = None

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        return Flow((R, *map(ops.zeros_like, a[1:])), lambda: (none(R), none(R)))

    def cost(self, site: Site) -> float:
        return 0.0


@dataclass(frozen=True)
class Tokens(Rule):
    """An embedding: a token gets what its vector gets, summed over the vector."""

    proportional: ClassVar[bool | None] = False

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        return Flow((ops.sum(R, axis=-1),), lambda: (none(R), none(R)))

    def cost(self, site: Site) -> float:
        return 0.0


@dataclass(frozen=True)
class SoftmaxTaylor(Rule):
    """AttnLRP's softmax inside a network: `R_i = x_i (R_i - s_i sum_j R_j)`; the rest is the bias of
    the first-order expansion (Achtibat et al. 2024, proposition 3.1)."""

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        x, *masks = a  # what is hidden has z = 0 and gets R = 0; which it is, is explained by nothing
        relevance = x * (R - z * ops.sum(R, axis=-1, keepdims=True))

        def account() -> tuple[Tensor, Tensor]:
            bias = 1 - x + ops.sum(x * z, axis=-1, keepdims=True)
            return total(bias * R), none(R)

        return Flow((relevance, *map(ops.zeros_like, masks)), account)


@dataclass(frozen=True)
class Bilinear(Rule):
    """AttnLRP's product of two tensors: half to each factor, by contribution:
    `R_a = a * (s b^T) / 2`, `R_b = b * (a^T s) / 2`, `s = R / stab(a b)`."""

    eps: float = 1e-6

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        ratio = R / stab(z, self.eps) if self.eps else divide(R, z)
        parts = tuple(x * g / 2 for x, g in zip(a, engine.vjp(site.node.call, a, ratio), strict=True))
        return Flow(parts, lambda: (none(R), total(R - ratio * z)))


Mapping = Callable[[tuple[Tensor, ...], Tensor, Tensor], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Custom(Rule):
    """A backward mapping of one's own: `function(inputs, output, R) -> relevance of each input`."""

    function: Mapping
    proportional: ClassVar[bool | None] = False

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        result = self.function(a, z, R)
        parts = tuple(result) if isinstance(result, (tuple, list)) else (result,)
        return Flow(parts, lambda: (none(R), _remainder(R, parts)))
