"""Activations as data, and which of them a function is: by identity within Keras, else by what it does
to a row of numbers."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np


@dataclass(frozen=True)
class Activation:
    """What holds for an activation.

    `non_negative`: `f(x) >= 0` for every x. `keeps_zero`: `f(0) = 0`. `ends`: as the last layer it turns
    logits into probabilities or their logarithms, and is cut. `mixing`: not element-wise.
    `by_values`: Keras has it by this name with one choice of its parameters, so that a function of one's
    own with the same values is it.
    """

    name: str
    non_negative: bool = False
    keeps_zero: bool = False
    ends: bool = False
    mixing: bool = False
    by_values: bool = True

    @property
    def rectifies(self) -> bool:
        """Nothing below zero gets past it."""
        return self.non_negative and self.keeps_zero


_ALL = (
    Activation("relu", non_negative=True, keeps_zero=True),
    Activation("relu6", non_negative=True, keeps_zero=True),
    Activation("leaky_relu", keeps_zero=True),
    Activation("elu", keeps_zero=True),
    Activation("selu", keeps_zero=True),
    Activation("gelu", keeps_zero=True),
    Activation("silu", keeps_zero=True),
    Activation("hard_silu", keeps_zero=True),
    Activation("sigmoid", non_negative=True, ends=True),
    Activation("hard_sigmoid", non_negative=True),
    Activation("softplus", non_negative=True),
    Activation("softsign", keeps_zero=True),
    Activation("tanh", keeps_zero=True),
    Activation("softmax", non_negative=True, ends=True, mixing=True),
    Activation("log_softmax", ends=True, mixing=True),
    Activation("celu", keeps_zero=True, by_values=False),
    Activation("prelu", keeps_zero=True, by_values=False),
    Activation("thresholded_relu", by_values=False),  # with a slope below its threshold f(0) is not 0
    Activation("clip", by_values=False),  # its bounds are anything
)
ACTIVATIONS: dict[str, Activation] = {activation.name: activation for activation in _ALL}

# two rows: ordinary numbers, and extremes, where a cap or a floor shows
_ROWS = np.stack([np.linspace(-4, 5, 40), [*np.linspace(-8, 8, 35), -1e4, -60, 0, 60, 1e4]]).astype("float32")
_MIXING = ("sparsemax", "glu")  # of Keras, besides those of the table


def activation(name: str) -> Activation:
    """What holds for the activation of this name; of a function of one's own nothing is claimed."""
    return ACTIVATIONS.get(name, Activation(name))


def function_name(function: Any) -> str:
    """The Keras name of an activation; `custom NAME` for an element-wise function of one's own and
    `mixing NAME` for one whose outputs depend on several inputs.

    A function of one's own (or of another library, `tf.nn.softmax`) gets the name of the Keras
    activation that gives the same numbers.
    """
    name = getattr(function, "__name__", None) or getattr(function, "name", type(function).__name__)
    if getattr(keras.activations, str(name), None) is not function:
        return _by_values(function, str(name))
    return f"mixing {name}" if name in _MIXING else str(name)


def kind_and_note(function: str) -> tuple[str, str]:
    """The kind of a node with this function, and why there is none."""
    if function == "softmax":
        return "softmax", ""
    if not activation(function).mixing and not function.startswith("mixing "):
        return "activation", ""
    name = function.removeprefix("mixing ")
    return "unknown", f"activation {name!r} is not element-wise; only softmax has a rule inside a network"


@functools.lru_cache(maxsize=256)
def _by_values(function: Any, name: str) -> str:
    try:
        values, reverse, alone = (_apply(function, x) for x in (_ROWS, _ROWS[:, ::-1], _ROWS[:, 20:21]))
    except Exception:  # whatever it needs, it is no function of single numbers
        return f"mixing {name}"
    if values.shape != _ROWS.shape:
        return f"mixing {name}"
    for familiar in (entry.name for entry in _ALL if entry.by_values):
        if _same(values, _apply(getattr(keras.activations, familiar), _ROWS)):
            return familiar
    element_wise = _same(values[:, ::-1], reverse) and _same(values[:, 20:21], alone)
    return f"{'custom' if element_wise else 'mixing'} {name}"


def _apply(function: Any, x: np.ndarray) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(x.copy()))))


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    return first.shape == second.shape and np.allclose(first, second, rtol=1e-5, atol=1e-6)
