"""The ledger: where the relevance of each image went, node by node."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from keras import ops

from explainers.engine import Tensor
from explainers.rules.base import Flow, total


class Ledger(NamedTuple):
    """Where the relevance of each image went, node by node, in backward order.

    Arrays are `nodes x images`: relevance `received` at the node's output, `passed` to its inputs,
    `absorbed` by its bias, `lost` in the stabiliser or at empty denominators, count of `non_finite`
    values, and `magnitude`, the absolute relevance that the sums are made of.
    """

    nodes: tuple[str, ...]
    received: np.ndarray
    passed: np.ndarray
    absorbed: np.ndarray
    lost: np.ndarray
    non_finite: np.ndarray
    magnitude: np.ndarray

    @property
    def gap(self) -> np.ndarray:
        """`|received - passed - absorbed - lost|` relative to the magnitude, `nodes x images`."""
        difference = np.abs(self.received - self.passed - self.absorbed - self.lost)
        return difference / np.maximum(self.magnitude, 1e-30)


def entry(R: Tensor, flow: Flow) -> tuple[Tensor, ...]:
    """One line of the ledger: received, passed, absorbed, lost, non-finite count, magnitude."""
    absorbed, lost = flow.account()
    parts = flow.inputs
    passed = sum(total(part) for part in parts)
    bad = sum(total(ops.cast(~ops.isfinite(part), R.dtype)) for part in parts)
    magnitude = ops.maximum(total(ops.abs(R)), sum(total(ops.abs(part)) for part in parts))
    return total(R), passed, absorbed, lost, bad, magnitude
