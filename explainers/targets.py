"""What of the model's output is explained: a class per image, or a function of the output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from explainers import engine
from explainers.engine import Tensor
from explainers.errors import InvalidInput

Function = Callable[[Any], Any]


@dataclass(frozen=True, eq=False)
class Goal:
    """`classes` b int32 (-1 where a function is explained) and, if so, that function: b k -> b."""

    classes: np.ndarray
    function: Function | None = None

    def scores(self, output: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The explained number of each output row; `rows` says which image it belongs to."""
        if self.function is not None:
            return _values(self.function, output).astype(np.float64)
        return output[np.arange(len(output)), self.classes[rows]].astype(np.float64)


def start_of(function: Function | None, output: Tensor, target: Tensor) -> Tensor:
    """`d score / d output`, b k."""
    if function is None:
        return ops.one_hot(target, output.shape[-1], dtype=output.dtype)
    return engine.vjp(function, (output,), ops.ones_like(output[:, 0]))[0]


def resolve(target: Any, output: np.ndarray) -> Goal:
    """The goal that a caller's `target` means for this output `b k`.

    `target`: None for the predicted class, a class, one per image, or a function of the output. A
    function that gives whole numbers chooses classes, one that gives real numbers is explained
    itself; it then has to be written in `keras.ops` for methods that differentiate.

    Raises InvalidInput for a target that is neither, or out of range.
    """
    batch, classes = output.shape
    if target is None:
        return Goal(np.argmax(output, axis=-1).astype("int32"))
    if callable(target):
        chosen = _values(target, output)
        if np.issubdtype(chosen.dtype, np.floating):
            if chosen.shape != (batch,):
                raise InvalidInput(
                    f"target function gives shape {chosen.shape}; valid: one number per image, ({batch},)"
                )
            return Goal(np.full(batch, -1, "int32"), target)
    else:
        chosen = np.asarray(target)
    if not np.issubdtype(chosen.dtype, np.integer) or chosen.shape not in ((), (batch,)):
        raise InvalidInput(
            f"target is {chosen.dtype} of shape {chosen.shape}; valid: None, a class, one class per image "
            f"(shape ({batch},)) or a function of the output"
        )
    if np.any(chosen < 0) or np.any(chosen >= classes):
        bad = chosen[(chosen < 0) | (chosen >= classes)].flat[0]
        raise InvalidInput(f"target {bad} is out of range; valid: 0 to {classes - 1}")
    return Goal(np.broadcast_to(chosen, (batch,)).astype("int32"))


def _values(function: Function, output: np.ndarray) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(function(ops.convert_to_tensor(output))))
