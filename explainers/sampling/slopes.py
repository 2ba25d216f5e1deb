"""Gradients at many variants of each image, for whatever target a caller asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from keras import ops

from explainers.engine import Tensor
from explainers.network import Network
from explainers.sampling.runner import Piece, RunnerByTarget, Spec, gradient_program
from explainers.targets import Goal


class Slopes:
    """`d score / d x` at `vary(x, *extras, *spec)`: one program for classes, one for the last function."""

    def __init__(self, what: str, net: Network, vary: Callable[..., Tensor], limit: int):
        self.net = net
        self._runner = RunnerByTarget(what, lambda function: gradient_program(net, vary, function), limit)

    def __call__(self, inputs: tuple[Any, ...], goal: Goal, samples: int, spec: Spec) -> Iterator[Piece]:
        """Gradients of all `images x samples`, image by image, in order."""
        tensors = tuple(_tensor(value, self.net.dtype) for value in inputs)
        return self._runner(goal.function)(tensors, goal, samples, spec)


def _tensor(value: Any, dtype: str) -> Tensor:
    value = np.asarray(value)
    return ops.convert_to_tensor(value.astype(dtype) if np.issubdtype(value.dtype, np.floating) else value)
