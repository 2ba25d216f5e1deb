"""The linear operator of a node: `apply(a, w)` without bias, and its transpose.

Weights are arguments, never state, so a rule can put `w+`, `w^2` or ones where the model has `w`.
`flip(w)` turns a kernel into what `transpose` wants; it runs once per fit, on the host. A stride-1
convolution is transposed as a *forward* convolution with the kernel rotated by 180 degrees and its
channel axes swapped, which on a CPU is 1 to 3 times faster than the framework's own.

`fast(w)` and `flip(w, fast=True)` give kernels in a form by which the same map is faster, precise
relative to the largest of neighbouring values only; see `explainers.model.winograd`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from keras import ops

from explainers import engine
from explainers.engine import Tensor
from explainers.model import winograd


class Linear(ABC):
    """A bias-free linear map `a -> z` of fixed structure, bilinear in `(a, w)`."""

    @abstractmethod
    def apply(self, a: Tensor, w: Tensor) -> Tensor:
        """`z_k = sum_i a_i w_ik`."""

    def fast(self, w: Any) -> Any:
        """The kernel in the form by which `apply` is fastest."""
        return w

    def is_fast(self, w: Any) -> bool:
        """Whether `fast` changed this kernel."""
        return False

    def flip(self, w: Any, fast: bool = False) -> Any:
        """The kernel in the form that `transpose` takes."""
        return w

    def transpose(self, s: Tensor, flipped: Tensor, like: Tensor) -> Tensor:
        """`sum_k w_ik s_k`, in the shape of `like` (an input of the map; its values play no part)."""
        return engine.vjp(lambda a: self.apply(a, flipped), (like,), s)[0]

    @property
    def joins(self) -> bool:
        """Whether kernels can be stacked along their input axis (-2), for an input of several parts."""
        return False

    @property
    def whole(self) -> Linear:
        """The map as one operator with one kernel: what rules that split signs need."""
        return self

    def composite(self, w: Any) -> np.ndarray:
        """The kernel of `whole`."""
        return w

    @property
    def signed(self) -> Linear:
        """The operator that the kernels of `by_sign` are for."""
        return self

    def by_sign(self, w: Any, f: Callable[[np.ndarray], np.ndarray]) -> Any:
        """The kernel of the map whose weights are `f` of this one's, where `f(c w) = c f(w)` for `c >= 0`."""
        return f(w)

    def stages(self, w: Any) -> tuple[tuple[Linear, Any], ...]:
        """The map as a chain of operators: what rules that keep signs need."""
        return ((self, w),)

    @abstractmethod
    def scale_output(self, w: Any, g: np.ndarray) -> Any:
        """The kernel of `g * apply(a, w)`, `g` per output channel or scalar; None where there is none."""

    def scale_input(self, w: np.ndarray, g: np.ndarray) -> np.ndarray | None:
        """The kernel of `apply(g * a, w)`, or None where this map has no such kernel."""
        return None

    def shift_input(self, w: np.ndarray, c: np.ndarray) -> np.ndarray | None:
        """The bias that equals `apply(c, w)` for a constant `c` per channel; None when not exact
        (zero padding: the border does not see the constant)."""
        return None


@dataclass(frozen=True)
class Dense(Linear):
    """`a @ w` over the last axis; `w` is (in, out)."""

    @property
    def joins(self) -> bool:
        return True

    def apply(self, a: Tensor, w: Tensor) -> Tensor:
        return ops.matmul(a, w)

    def transpose(self, s: Tensor, flipped: Tensor, like: Tensor) -> Tensor:
        return ops.matmul(s, ops.transpose(flipped))

    def scale_output(self, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        return w * g

    def scale_input(self, w: np.ndarray, g: np.ndarray) -> np.ndarray | None:
        return w * np.broadcast_to(g, w.shape[:1])[:, None]

    def shift_input(self, w: np.ndarray, c: np.ndarray) -> np.ndarray | None:
        return np.broadcast_to(c, w.shape[:1]) @ w


Pads = tuple[tuple[int, int], ...]


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
        if self.is_fast(w):
            return winograd.convolve(a, w, self.padding)
        strides, dilation = self.strides, self.dilation
        return ops.conv(a, w, strides, self.padding, "channels_last", dilation)

    @property
    def joins(self) -> bool:
        return self.groups == 1

    @property
    def _rotates(self) -> bool:
        return set(self.strides) == {1} and self.groups == 1

    def fast(self, w: np.ndarray) -> np.ndarray:
        slides = self._rotates and set(self.dilation) == {1}
        if slides and engine.pays_to_multiply_less() and winograd.suits(self.kernel_size, w):
            return winograd.transform(w)
        return w

    def is_fast(self, w: Any) -> bool:
        return len(w.shape) > len(self.kernel_size) + 2

    def flip(self, w: np.ndarray, fast: bool = False) -> np.ndarray:
        if not self._rotates:
            return w
        spatial = tuple(range(len(self.kernel_size)))
        rotated = np.ascontiguousarray(np.swapaxes(np.flip(w, spatial), -1, -2))
        return self.fast(rotated) if fast else rotated

    def transpose(self, s: Tensor, flipped: Tensor, like: Tensor) -> Tensor:
        if not self._rotates:
            return super().transpose(s, flipped, like)
        extents = [d * (k - 1) for k, d in zip(self.kernel_size, self.dilation, strict=True)]
        pads = tuple((e - low, e - high) for e, (low, high) in zip(extents, self._all_pads(), strict=True))
        if all(pad == (e // 2, e - e // 2) for pad, e in zip(pads, extents, strict=True)):
            return replace(self, padding="same", pads=None).apply(s, flipped)
        return replace(self, padding="valid", pads=pads).apply(s, flipped)

    def _all_pads(self) -> Pads:
        """Zero padding on both sides of each axis at stride 1."""
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
        a = _pad(a, self.pads)
        return ops.depthwise_conv(a, w, self.strides, self.padding, "channels_last", self.dilation)

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

    def flip(self, w: Any, fast: bool = False) -> Any:
        return self.depthwise.flip(w[0]), self.pointwise.flip(w[1])

    def transpose(self, s: Tensor, flipped: Any, like: Tensor) -> Tensor:
        depthwise, pointwise = flipped
        middle = ops.matmul(s, ops.reshape(pointwise, pointwise.shape[-2:]))
        return self.depthwise.transpose(middle, depthwise, like)

    def scale_output(self, w: Any, g: np.ndarray) -> Any:
        return w[0], self.pointwise.scale_output(w[1], g)

    @property
    def whole(self) -> Linear:
        d = self.depthwise
        return Conv(d.kernel_size, d.strides, d.padding, d.dilation, pads=d.pads)

    def composite(self, w: Any) -> np.ndarray:
        depthwise, pointwise = (np.asarray(k, np.float64) for k in w)
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
        return ops.conv_transpose(
            a, w, self.strides, self.padding, self.output_padding, "channels_last", self.dilation
        )

    def scale_output(self, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        return w * np.broadcast_to(g, w.shape[-2:-1])[:, None]


@dataclass(frozen=True)
class Einsum(Linear):
    """`einsum(equation, a, w)`."""

    equation: str

    def apply(self, a: Tensor, w: Tensor) -> Tensor:
        return ops.einsum(self.equation, a, w)

    def scale_output(self, w: np.ndarray, g: np.ndarray) -> np.ndarray | None:
        kernel, output = self.equation.split(",")[1].split("->")
        if g.ndim == 0:
            return w * g
        channel = output[-1]
        if channel not in kernel:
            return None
        return w * g.reshape([-1 if axis == channel else 1 for axis in kernel])


@dataclass(frozen=True)
class Scale(Linear):
    """`a * w` element by element: a BatchNorm that could not be folded, a rescaling; `w` broadcasts."""

    def apply(self, a: Tensor, w: Tensor) -> Tensor:
        return a * w

    def transpose(self, s: Tensor, flipped: Tensor, like: Tensor) -> Tensor:
        return s * flipped if s.shape[1:] == like.shape[1:] else super().transpose(s, flipped, like)

    def scale_output(self, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        return w * g

    def scale_input(self, w: np.ndarray, g: np.ndarray) -> np.ndarray | None:
        return w * g

    def shift_input(self, w: np.ndarray, c: np.ndarray) -> np.ndarray | None:
        return w * c


def _pad(a: Tensor, pads: Pads | None) -> Tensor:
    """Zero-pad the spatial axes; a negative pad crops."""
    if not pads or all(pad == (0, 0) for pad in pads):
        return a
    if any(low < 0 or high < 0 for low, high in pads):
        crop = [slice(max(-low, 0), high if high < 0 else None) for low, high in pads]
        a = a[(slice(None), *crop, slice(None))]
    return ops.pad(a, [(0, 0), *((max(low, 0), max(high, 0)) for low, high in pads), (0, 0)])
