"""What a rule is: a frozen dataclass, `(site, constants, a, z, R) -> Flow`; and the arithmetic they share."""

from __future__ import annotations

import functools
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from keras import ops

from explainers.engine import Tensor
from explainers.model.graph import Node
from explainers.model.linear import Linear

# Denominators below this are zero: a quotient by less could overflow.
TINY = 1e-25
# No quotient is larger: what is multiplied with it stays finite.
LARGE = 1e30

Constants = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Site:
    """Where a rule works: the node and what is statically known about its values.

    `non_negative`: every input is >= 0. `active`: `z` is the output of the ReLU that alone reads
    this node, and `R` is 0 where it is 0. `spare`: which summand of a sum need not be kept, as it is `z`
    less the others. `low`, `high`: bounds of the node's input, where the method was given the model's
    input range.
    """

    node: Node
    non_negative: bool = False
    active: bool = False
    spare: int | None = None
    low: np.ndarray | None = None
    high: np.ndarray | None = None


class Flow(NamedTuple):
    """Relevance of each input, and a function that accounts for the rest when a ledger is wanted:
    `(absorbed by bias, lost in the stabiliser or at empty denominators)`, one number per image."""

    inputs: tuple[Tensor, ...]
    account: Callable[[], tuple[Tensor, Tensor]]


class Rule(ABC):
    """How relevance crosses a node. Stateless, comparable, printable."""

    # Whether R_in vanishes wherever the input does: True where R_in is `a` times something, None
    # where it does if R vanishes wherever the output does, False where it need not.
    proportional: ClassVar[bool | None] = True
    # What the rule makes of a separable convolution: its `stages`, a `signed` map or the `whole` kernel.
    form: ClassVar[str] = "whole"
    # The rule is one of linear nodes: it reads their weights.
    weighted: ClassVar[bool] = False
    # It looks at `z` where that is not the output of a ReLU.
    reads_output: ClassVar[bool] = True

    def constants(self, site: Site) -> dict[str, Any]:
        """What the rule derives from weights and bounds: host arrays, made once per fit."""
        return {}

    @abstractmethod
    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        """Relevance at the inputs."""

    def cost(self, site: Site) -> float:
        """Applications of the linear operator, the forward pass not counted."""
        return 1.0


def total(x: Tensor) -> Tensor:
    """Sum per image."""
    return ops.sum(ops.reshape(x, (ops.shape(x)[0], -1)), axis=1)


def divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """`numerator / denominator`, 0 where the denominator is too small for a finite quotient."""
    small = ops.abs(denominator) <= TINY
    return ops.where(
        small,
        ops.zeros_like(numerator),
        numerator / ops.where(small, ops.ones_like(denominator), denominator),
    )


def divide_by_sum(numerator: Tensor, summed: Tensor) -> Tensor:
    """`numerator / summed` for a sum of magnitudes, 0 where it is 0; at most LARGE.

    However small the sum is, what its summands get is no more than the numerator.
    """
    return ops.clip(ops.divide_no_nan(numerator, summed), -LARGE, LARGE)


def stab(z: Tensor, eps: float) -> Tensor:
    """`z + eps sign(z)` with `sign(0) = +1`."""
    return ops.where(z >= 0, z + eps, z - eps)


def positive_part(w: np.ndarray) -> np.ndarray:
    """`w+`."""
    return np.maximum(w, 0)


def negative_part(w: np.ndarray) -> np.ndarray:
    """The magnitude of `w-`."""
    return np.maximum(-w, 0)


def none(R: Tensor) -> Tensor:
    """0 per image."""
    return ops.zeros_like(total(R))


def shares_account(shares: Sequence[tuple[Tensor, Tensor | None, float]], R: Tensor) -> tuple[Tensor, Tensor]:
    """`(absorbed, lost)` of shares `(ratio, bias in the denominator, factor)`; lost: met an empty sum."""
    absorbed, lost = none(R), none(R)
    for ratio, bias, factor in shares:
        if bias is not None:
            absorbed = absorbed + factor * total(ratio * bias)
        lost = lost + total(ops.where(ratio == 0, factor * R, ops.zeros_like(R)))
    return absorbed, lost


class Parts:
    """An input as parts that each meet a kernel of their own, `sum_p apply(x_p, w_p)`.

    Where the operator allows, the parts are joined into one input with one kernel: one wide
    convolution instead of several narrow ones.
    """

    def __init__(self, linear: Linear, *parts: Tensor):
        self.linear, self.parts = linear, parts
        self.joined = len(parts) == 1 or linear.joins
        if self.joined:
            self.parts = (parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1),)
        self.channels, self.count = parts[0].shape[-1], len(parts)

    @staticmethod
    def kernels(
        linear: Linear, name: str, *kernels: Any, back: float = 1.0, apply: bool = True
    ) -> dict[str, Any]:
        """The constants that `apply` (if it will be asked) and `back` (times a factor) need as `name`."""
        if linear.joins and len(kernels) > 1:
            kernels = (np.concatenate(kernels, axis=-2),)
        backward = kernels if back == 1 else [linear.scale_output(w, np.asarray(back)) for w in kernels]
        flipped = {f"{name}{i} flipped": linear.flip(w) for i, w in enumerate(backward)}
        return flipped | ({f"{name}{i}": w for i, w in enumerate(kernels)} if apply else {})

    def apply(self, c: Constants, name: str) -> Tensor:
        """`sum_p apply(x_p, w_p)`."""
        terms = [self.linear.apply(x, c[f"{name}{i}"]) for i, x in enumerate(self.parts)]
        return functools.reduce(operator.add, terms)

    def back(self, c: Constants, ratios: Mapping[str, Tensor]) -> Tensor:
        """`sum_p x_p sum_name transpose(s_name, w_p,name)`: what each input element gets."""
        terms = []
        for i, x in enumerate(self.parts):
            shares = [self.linear.transpose(s, c[f"{name}{i} flipped"], x) for name, s in ratios.items()]
            terms.append(x * functools.reduce(operator.add, shares))
        if self.joined and self.count > 1:
            terms = ops.split(terms[0], self.count, axis=-1)
        return functools.reduce(operator.add, terms)
