"""The linear operator of a node: `apply(a, w)` without bias, and its transpose.

Weights are arguments, never state, so a rule can put `w+`, `w^2` or ones where the model has `w`.
`flip(w)` turns a kernel into what `transpose` wants; it runs once per fit, on the host. A stride-1
convolution is transposed as a *forward* convolution with the kernel rotated by 180 degrees and its
channel axes swapped, which on a CPU is 1 to 3 times faster than the framework's own; one that strides may be
transposed by phases.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from keras import ops

from explainers import engine
from explainers.engine import Tensor


class Linear(ABC):
    """A bias-free linear map `a -> z` of fixed structure, bilinear in `(a, w)`."""

    @abstractmethod
    def apply(self, a: Tensor, w: Tensor) -> Tensor:
        """`z_k = sum_i a_i w_ik`."""

    def flip(self, w: Any) -> Any:
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
        return engine.multiply(ops.matmul, a, w)

    def transpose(self, s: Tensor, flipped: Tensor, like: Tensor) -> Tensor:
        return engine.multiply(ops.matmul, s, ops.transpose(flipped))

    def scale_output(self, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        return w * g

    def scale_input(self, w: np.ndarray, g: np.ndarray) -> np.ndarray | None:
        return w * np.broadcast_to(g, w.shape[:1])[:, None]

    def shift_input(self, w: np.ndarray, c: np.ndarray) -> np.ndarray | None:
        return np.broadcast_to(c, w.shape[:1]) @ w


@dataclass(frozen=True)
class Einsum(Linear):
    """`einsum(equation, a, w)`."""

    equation: str

    def apply(self, a: Tensor, w: Tensor) -> Tensor:
        return engine.multiply(partial(ops.einsum, self.equation), a, w)

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
