"""Running one compiled program on many variants of each image, in batches of one size.

All (image, sample) pairs of a call form one list, which is cut into batches of at most `limit`: few
images with many samples and many images with few are equally full. What depends on the samples
only (noise, masks) is the same for every image, so a batch of n equals n batches of 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from explainers import engine
from explainers.engine import Tensor
from explainers.inputs import explained_index
from explainers.network import Network
from explainers.progress import report
from explainers.rules.backward import backward
from explainers.rules.presets import GRADIENT
from explainers.targets import Function, Goal, start_of

# (weights, the model's inputs and extra arrays for the items, target per item, *spec) -> one result per item
Program = Callable[..., Tensor]
# (image index per item, sample index per item) -> arrays, one row per item
Spec = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]]


class Piece(NamedTuple):
    """Results of one batch: image index, sample index and value of each item."""

    rows: np.ndarray
    samples: np.ndarray
    values: np.ndarray


class SampleRunner:
    """A program on many variants of each image.

    `program(weights, items, target, *spec)`: `items` holds, per array of `inputs`, the rows that the
    batch's items belong to.
    """

    def __init__(self, what: str, program: Program, weights: Any, limit: int):
        self.what, self.limit = what, limit

        def gathered(
            weights: Any, inputs: tuple[Tensor, ...], index: Tensor, target: Tensor, *spec: Tensor
        ) -> Tensor:
            items = tuple(ops.take(value, index, axis=0) for value in inputs)
            return program(weights, items, target, *spec)

        self._run = engine.compile(gathered, weights)

    def __call__(self, inputs: tuple[Tensor, ...], goal: Goal, samples: int, spec: Spec) -> Iterator[Piece]:
        """Results of all `images x samples`, image by image, in order."""
        total = len(goal.classes) * samples
        size = batch_size(total, self.limit)
        classes = np.maximum(goal.classes, 0)
        for begin in range(0, total, size):
            count = min(size, total - begin)
            # the last batch is filled up by repeating its last item: one shape, one program
            items = begin + np.minimum(np.arange(size), count - 1)
            rows, which = items // samples, items % samples
            arrays = [ops.convert_to_tensor(array) for array in spec(rows, which)]
            index = ops.convert_to_tensor(rows.astype("int32"))
            target = ops.convert_to_tensor(classes[rows].astype("int32"))
            values = ops.convert_to_numpy(self._run(inputs, index, target, *arrays))
            yield Piece(rows[:count], which[:count], values[:count])
            report(self.what, begin + count, total)


class RunnerByTarget:
    """The runners of a program that depends on what is explained: one for classes or for the last function.

    `make(function)` gives the program and its weights; `function` is None for classes.
    """

    def __init__(self, what: str, make: Callable[[Function | None], tuple[Program, Any]], limit: int):
        self.what, self.make, self.limit = what, make, limit
        self._last: tuple[Function | None, SampleRunner] | None = None

    def __call__(self, function: Function | None) -> SampleRunner:
        """The runner for this target; a caller may make a new function for every call, so one is kept."""
        if self._last is None or self._last[0] is not function:
            self._last = function, SampleRunner(self.what, *self.make(function), self.limit)
        return self._last[1]


def batch_size(total: int, limit: int) -> int:
    """The smallest size that needs no more batches than `limit` does."""
    batches = -(-total // limit)
    return -(-total // batches)


def add_rows(total: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
    """`total[row] += values` of that row, summed in float64; `np.add.at` takes ten times as long."""
    for row in np.unique(rows):
        total[row] += values[rows == row].sum(axis=0, dtype=np.float64)


def output_program(net: Network, vary: Callable[..., Tensor]) -> Program:
    """The model's output for `vary(x, extras, *spec)` in place of the explained input `x`."""

    def program(weights: Any, items: tuple[Tensor, ...], target: Tensor, *spec: Tensor) -> Tensor:
        return net.record(weights, varied(net, items, vary, spec))[net.graph.output]

    return program


def gradient_program(
    net: Network, vary: Callable[..., Tensor], function: Function | None
) -> tuple[Program, Any]:
    """The gradient of the target at `vary(x, *extras, *spec)`, and the weights that the program takes."""
    head = net.head(GRADIENT, "one")

    def program(weights: Any, items: tuple[Tensor, ...], target: Tensor, *spec: Tensor) -> Tensor:
        record = net.record(weights["nodes"], varied(net, items, vary, spec))
        start = {net.graph.output: start_of(function, record[net.graph.output], target)}
        return backward(net.graph, head.steps, weights["head"], record, start)[net.graph.explained]

    return program, {"nodes": net.weights, "head": head.constants}


def varied(
    net: Network, items: tuple[Tensor, ...], vary: Callable[..., Tensor], spec: Any
) -> tuple[Tensor, ...]:
    """The model's inputs with the explained one replaced by its variant."""
    n = len(net.graph.inputs)
    own, extras = list(items[:n]), items[n:]
    i = explained_index(net)
    own[i] = ops.cast(vary(own[i], *extras, *spec), net.dtype)
    return tuple(own)
