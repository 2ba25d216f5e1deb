"""Convolutions as linear operators: plain, depthwise, separable, transposed; channels last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from keras import ops

from explainers import engine
from explainers.engine import Tensor
from explainers.model.linear import Linear
from explainers.model.live import double
from explainers.model.phases import Pads, Phases


@dataclass(frozen=True)
class Conv(Linear):
    """Convolution over 1, 2 or 3 spatial axes, channels last; `w` is (*kernel, in / groups, out).

    `pads` is explicit zero padding before a `valid` convolution (a ZeroPadding layer that was merged).
    """

    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: str
    dilation: tuple[int, ...]
    groups: int = 1
    pads: Pads | None = None

    def apply(self, a: Tensor, w: Tensor) -> Tensor:
        a = _pad(a, self.pads)
        if self.groups == 1:
            return self._convolve(a, w)
        pieces = zip(ops.split(a, self.groups, axis=-1), ops.split(w, self.groups, axis=-1), strict=True)
        return ops.concatenate([self._convolve(x, k) for x, k in pieces], axis=-1)

    def _convolve(self, a: Tensor, w: Tensor) -> Tensor:
        def product(a: Tensor, w: Tensor) -> Tensor:
            return ops.conv(a, w, self.strides, self.padding, "channels_last", self.dilation)

        return engine.multiply(product, a, w)

    @property
    def joins(self) -> bool:
        return self.groups == 1

    @property
    def _rotates(self) -> bool:
        return set(self.strides) == {1} and self.groups == 1

    @property
    def _phases(self) -> Phases | None:
        """How it is transposed where it strides, if that pays."""
        phases = Phases(self.kernel_size, self.strides)
        return phases if self.groups == 1 and set(self.dilation) == {1} and phases.pay else None

    def flip(self, w: np.ndarray) -> np.ndarray:
        if self._rotates:
            return np.swapaxes(np.flip(w, tuple(range(len(self.kernel_size)))), -1, -2)
        return w if self._phases is None else self._phases.kernel(w)

    def transpose(self, s: Tensor, flipped: Tensor, like: Tensor) -> Tensor:
        if not self._rotates:
            if self._phases is None:
                return super().transpose(s, flipped, like)
            lows = None if self.padding == "same" else [low for low, _ in self._all_pads()]
            pads, steps = self._phases.pads(s, like, lows), (1,) * len(self.strides)
            taps = Conv(self._phases.taps, steps, "valid", self.dilation, pads=pads)
            return self._phases.spread(taps.apply(s, flipped), like, lows)
        extents = [d * (k - 1) for k, d in zip(self.kernel_size, self.dilation, strict=True)]
        pads = tuple((e - low, e - high) for e, (low, high) in zip(extents, self._all_pads(), strict=True))
        if all(pad == (e // 2, e - e // 2) for pad, e in zip(pads, extents, strict=True)):
            return replace(self, padding="same", pads=None).apply(s, flipped)
        return replace(self, padding="valid", pads=pads).apply(s, flipped)

    def _all_pads(self) -> Pads:
        """Zero padding on both sides of each axis, at stride 1 if it is "same"."""
        if self.padding == "valid":
            return self.pads or ((0, 0),) * len(self.kernel_size)
        extents = [d * (k - 1) for k, d in zip(self.kernel_size, self.dilation, strict=True)]
        return tuple((e // 2, e - e // 2) for e in extents)

    def scale_output(self, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        return w * g

    def scale_input(self, w: np.ndarray, g: np.ndarray) -> np.ndarray | None:
        if self.groups != 1:
            return None
        return w * np.broadcast_to(g, w.shape[-2:-1])[:, None]

    def shift_input(self, w: np.ndarray, c: np.ndarray) -> np.ndarray | None:
        pointwise = all(k == 1 for k in self.kernel_size)
        if self.groups != 1 or self.pads or (self.padding == "same" and not pointwise):
            return None
        return np.broadcast_to(c, w.shape[-2:-1]) @ w.reshape(-1, *w.shape[-2:]).sum(axis=0)


@dataclass(frozen=True)
class DepthwiseConv(Linear):
    """Every channel by its own kernels; `w` is (*kernel, in, multiplier)."""

    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: str
    dilation: tuple[int, ...]
    pads: Pads | None = None

    def apply(self, a: Tensor, w: Tensor) -> Tensor:
        def product(a: Tensor, w: Tensor) -> Tensor:
            return ops.depthwise_conv(a, w, self.strides, self.padding, "channels_last", self.dilation)

        return engine.multiply(product, _pad(a, self.pads), w)

    def scale_output(self, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        return w * np.broadcast_to(g, (w.shape[-2] * w.shape[-1],)).reshape(w.shape[-2:])


@dataclass(frozen=True)
class Separable(Linear):
    """A depthwise convolution, then a pointwise one; the kernel is the pair of theirs.

    One linear map for rules that take its weights apart (`composite`), two for Epsilon (`stages`). With a
    `multiplier` of 1 each of its weights is one product `d p`, and `f(d p) = |d| f(sign(d) p)`: what is done
    by sign stays separable, with twice the channels in the middle.
    """

    depthwise: DepthwiseConv
    pointwise: Conv
    multiplier: int = 1

    def apply(self, a: Tensor, w: Any) -> Tensor:
        return self.pointwise.apply(self.depthwise.apply(a, w[0]), w[1])

    def flip(self, w: Any) -> Any:
        return self.depthwise.flip(w[0]), self.pointwise.flip(w[1])

    def transpose(self, s: Tensor, flipped: Any, like: Tensor) -> Tensor:
        depthwise, pointwise = flipped
        middle = engine.multiply(ops.matmul, s, ops.reshape(pointwise, pointwise.shape[-2:]))
        return self.depthwise.transpose(middle, depthwise, like)

    def scale_output(self, w: Any, g: np.ndarray) -> Any:
        return w[0], self.pointwise.scale_output(w[1], g)

    @property
    def whole(self) -> Linear:
        d = self.depthwise
        return Conv(d.kernel_size, d.strides, d.padding, d.dilation, pads=d.pads)

    def composite(self, w: Any) -> np.ndarray:
        depthwise, pointwise = map(double, w)
        return np.einsum(
            "...im,imo->...io", depthwise, pointwise.reshape(*depthwise.shape[-2:], -1), optimize=True
        )

    @property
    def signed(self) -> Linear:
        return self if self.multiplier == 1 else self.whole

    def by_sign(self, w: Any, f: Callable[[np.ndarray], np.ndarray]) -> Any:
        if self.multiplier != 1:
            return f(self.composite(w))
        depthwise, pointwise = w
        halves = np.concatenate([np.maximum(depthwise, 0), np.maximum(-depthwise, 0)], axis=-1)
        twice = np.stack([f(pointwise), f(-pointwise)], axis=-2)
        return halves, twice.reshape(*pointwise.shape[:-2], -1, pointwise.shape[-1])

    def stages(self, w: Any) -> tuple[tuple[Linear, Any], ...]:
        return (self.depthwise, w[0]), (self.pointwise, w[1])


@dataclass(frozen=True)
class ConvTranspose(Linear):
    """Transposed ("fractionally strided") convolution; `w` is (*kernel, out, in)."""

    strides: tuple[int, ...]
    padding: str
    output_padding: tuple[int, ...] | None
    dilation: tuple[int, ...]

    def apply(self, a: Tensor, w: Tensor) -> Tensor:
        def product(a: Tensor, w: Tensor) -> Tensor:
            return ops.conv_transpose(
                a, w, self.strides, self.padding, self.output_padding, "channels_last", self.dilation
            )

        return engine.multiply(product, a, w)

    def scale_output(self, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        return w * np.broadcast_to(g, w.shape[-2:-1])[:, None]


def _pad(a: Tensor, pads: Pads | None) -> Tensor:
    """Zero-pad the spatial axes; a negative pad crops."""
    if not pads or all(pad == (0, 0) for pad in pads):
        return a
    if any(low < 0 or high < 0 for low, high in pads):
        crop = [slice(max(-low, 0), high if high < 0 else None) for low, high in pads]
        a = a[(slice(None), *crop, slice(None))]
    return ops.pad(a, [(0, 0), *((max(low, 0), max(high, 0)) for low, high in pads), (0, 0)])
