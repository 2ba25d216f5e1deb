"""Which activation a function is: by identity within Keras, else by what it does to a row of numbers."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np

# two rows: ordinary numbers, and extremes, where a cap or a floor shows
_ROWS = np.stack([np.linspace(-4, 5, 40), [*np.linspace(-8, 8, 35), -1e4, -60, 0, 60, 1e4]]).astype("float32")
_FAMILIAR = (
    "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "hard_silu", "sigmoid", "hard_sigmoid",
    "softplus", "softsign", "tanh", "softmax", "log_softmax",
)  # fmt: skip
_MIXING = ("log_softmax", "sparsemax", "glu")  # of Keras; softmax has a rule of its own


def function_name(activation: Any) -> str:
    """The Keras name of an activation; `custom NAME` for an element-wise function of one's own and
    `mixing NAME` for one whose outputs depend on several inputs.

    A function of one's own (or of another library, `tf.nn.softmax`) gets the name of the Keras
    activation that gives the same numbers.
    """
    name = getattr(activation, "__name__", None) or getattr(activation, "name", type(activation).__name__)
    if getattr(keras.activations, str(name), None) is not activation:
        return _by_values(activation, str(name))
    return f"mixing {name}" if name in _MIXING and name != "log_softmax" else str(name)


def kind_and_note(function: str) -> tuple[str, str]:
    """The kind of a node with this function, and why there is none."""
    if function == "softmax":
        return "softmax", ""
    if function != "log_softmax" and not function.startswith("mixing "):
        return "activation", ""
    name = function.removeprefix("mixing ")
    return "unknown", f"activation {name!r} is not element-wise; only softmax has a rule inside a network"


@functools.lru_cache(maxsize=256)
def _by_values(activation: Any, name: str) -> str:
    try:
        values, reverse, alone = (_apply(activation, x) for x in (_ROWS, _ROWS[:, ::-1], _ROWS[:, 20:21]))
    except Exception:  # whatever it needs, it is no function of single numbers
        return f"mixing {name}"
    if values.shape != _ROWS.shape:
        return f"mixing {name}"
    for known in _FAMILIAR:
        if _same(values, _apply(getattr(keras.activations, known), _ROWS)):
            return known
    element_wise = _same(values[:, ::-1], reverse) and _same(values[:, 20:21], alone)
    return f"{'custom' if element_wise else 'mixing'} {name}"


def _apply(activation: Any, x: np.ndarray) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(activation(keras.ops.convert_to_tensor(x.copy()))))


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and np.allclose(one, other, rtol=1e-5, atol=1e-6)
