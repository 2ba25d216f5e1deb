"""The explained number at many variants of each image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from explainers.engine import Tensor
from explainers.network import Network
from explainers.sampling.runner import SampleRunner, Spec, output_program
from explainers.targets import Goal

# (output, image index, sample index) of a batch of items -> one number per item
Measure = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class Trials:
    """The model at `vary(x, *extras, *spec)`; `extras` are arrays with one row per image."""

    def __init__(self, what: str, net: Network, vary: Callable[..., Tensor], limit: int):
        self.net = net
        self._runner = SampleRunner(what, output_program(net, vary), net.weights, limit)

    def scores(
        self,
        inputs: Sequence[Any],
        goal: Goal,
        samples: int,
        spec: Spec,
        measure: Measure | None = None,
    ) -> np.ndarray:
        """`b samples` float64: the goal's number, or what `measure` makes of the output."""
        tensors = tuple(ops.convert_to_tensor(value) for value in inputs)
        scores = np.zeros((len(goal.classes), samples))
        for rows, which, output in self._runner(tensors, goal, samples, spec):
            values = goal.scores(output, rows) if measure is None else measure(output, rows, which)
            scores[rows, which] = values
        return scores
