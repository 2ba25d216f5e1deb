"""What a rule is: a frozen dataclass, `(site, constants, a, z, R) -> Flow`; and the arithmetic they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from keras import ops

from explainers.engine import Tensor
from explainers.graph import Node

# Denominators of positive sums below this are zero: a quotient by less could overflow.
TINY = 1e-25

Constants = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Site:
    """Where a rule works: the node and what is statically known about its values.

    `non_negative`: every input is >= 0. `active`: `z` is the output of the ReLU that alone reads
    this node, and `R` is 0 where it is 0. `low`, `high`: bounds of the node's input, where the
    method was given the model's input range.
    """

    node: Node
    non_negative: bool = False
    active: bool = False
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
    # The rule needs a separable convolution as one map (it splits signs).
    composite: ClassVar[bool] = True

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


def stab(z: Tensor, eps: float) -> Tensor:
    """`z + eps sign(z)` with `sign(0) = +1`."""
    return ops.where(z >= 0, z + eps, z - eps)


def none(R: Tensor) -> Tensor:
    """0 per image."""
    return ops.zeros_like(total(R))
