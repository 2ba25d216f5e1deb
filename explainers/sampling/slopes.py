"""Gradients at many variants of each image, for whatever target a caller asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from explainers.engine import Tensor
from explainers.network import Network
from explainers.sampling.evaluator import Evaluator, Piece, Spec, gradient_program
from explainers.targets import Function, Goal


class Slopes:
    """`d score / d x` at `vary(x, *extras, *spec)`: one program for classes, one for the last function."""

    def __init__(self, what: str, net: Network, vary: Callable[..., Tensor], limit: int):
        self.what, self.net, self.vary, self.limit = what, net, vary, limit
        self._known: tuple[Function | None, Evaluator] | None = None

    def __call__(self, inputs: tuple[Any, ...], goal: Goal, samples: int, spec: Spec) -> Iterator[Piece]:
        """Gradients of all `images x samples`, image by image, in order."""
        if self._known is None or self._known[0] is not goal.function:
            program, weights = gradient_program(self.net, self.vary, goal.function)
            self._known = goal.function, Evaluator(self.what, program, weights, self.limit)
        tensors = tuple(_tensor(value, self.net.dtype) for value in inputs)
        return self._known[1](tensors, goal, samples, spec)


def _tensor(value: Any, dtype: str) -> Tensor:
    from keras import ops

    value = np.asarray(value)
    return ops.convert_to_tensor(value.astype(dtype) if np.issubdtype(value.dtype, np.floating) else value)
