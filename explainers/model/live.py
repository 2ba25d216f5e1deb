"""Weights that stay the framework's tensors, so that what is derived from them can be differentiated.

Canonisation and rules derive kernels from kernels by NumPy's functions (`w+`, rotations, folded BatchNorm). A
`Live` array answers these (NumPy enhancement proposals 13 and 18) with the same functions of Keras' ops. What
depends on the values of weights is answered as if nothing were known of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
import numpy as np
from keras import ops

from explainers import engine
from explainers.engine import Tensor

_reading: ContextVar[bool] = ContextVar("live weights", default=False)


@contextmanager
def live_weights() -> Iterator[None]:
    """While it lasts, a model that is traced gives its variables' tensors, not their values on the host."""
    token = _reading.set(True)
    try:
        yield
    finally:
        _reading.reset(token)


def reads_live() -> bool:
    """Whether weights are read as tensors."""
    return _reading.get()


def host_array(variable: Any) -> Any:
    """A variable's value on the host, in full precision (or live), or a number of the model's code."""
    if isinstance(variable, keras.Variable):
        return Live(ops.convert_to_tensor(variable)) if reads_live() else engine.host(variable)
    return np.array(ops.convert_to_numpy(variable))


def double(value: Any) -> Any:
    """An array in float64; a live one as it is."""
    return value if isinstance(value, Live) else np.asarray(value, np.float64)


def as_tensor(value: Any, dtype: Any) -> Any:
    """An array, live or not, or a tuple of them, as tensors of one precision."""
    if isinstance(value, tuple):
        return tuple(as_tensor(part, dtype) for part in value)
    return ops.cast(value.tensor, dtype) if isinstance(value, Live) else ops.convert_to_tensor(value, dtype)


class Live(np.lib.mixins.NDArrayOperatorsMixin):
    """A tensor that NumPy's functions take for an array."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __repr__(self) -> str:
        return f"Live({self.tensor!r})"

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def astype(self, dtype: Any) -> Live:
        """Itself: the framework's precision is that of the variable."""
        return self

    def reshape(self, *shape: Any) -> Live:
        """With another shape, given as one tuple or number by number."""
        return Live(ops.reshape(self.tensor, shape[0] if isinstance(shape[0], tuple) else shape))

    def sum(self, axis: Any = None) -> Live:
        """Sum over axes."""
        return Live(ops.sum(self.tensor, axis=axis))

    def __getitem__(self, key: Any) -> Live:
        return Live(self.tensor[key])

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc in _COMPARISONS:
            return np.False_  # nothing is known
        if method != "__call__" or options or ufunc not in _UFUNCS:
            raise TypeError(f"a derived weight takes numpy.{ufunc.__name__}, which live weights do not know")
        return Live(_UFUNCS[ufunc](*(self._alike(x) for x in inputs)))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function not in _FUNCTIONS:
            raise TypeError(
                f"a derived weight takes numpy.{function.__name__}, which live weights do not know"
            )
        return _FUNCTIONS[function](self, *args, **kwargs)

    def _alike(self, x: Any) -> Tensor:
        """Another operand as a tensor of the same precision."""
        return ops.cast(ops.convert_to_tensor(x.tensor if isinstance(x, Live) else x), self.tensor.dtype)


_COMPARISONS = (np.greater, np.greater_equal, np.less, np.less_equal, np.equal)

_UFUNCS: dict[Any, Callable[..., Tensor]] = {
    np.add: ops.add,
    np.subtract: ops.subtract,
    np.multiply: ops.multiply,
    np.true_divide: ops.divide,
    np.matmul: ops.matmul,
    np.negative: ops.negative,
    np.maximum: ops.maximum,
    np.minimum: ops.minimum,
    np.square: ops.square,
    np.sqrt: ops.sqrt,
    np.absolute: ops.abs,
}

_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.concatenate: lambda own, arrays, axis=0: Live(ops.concatenate([own._alike(a) for a in arrays], axis)),
    np.stack: lambda own, arrays, axis=0: Live(ops.stack([own._alike(a) for a in arrays], axis)),
    np.flip: lambda own, array, axis=None: Live(ops.flip(array.tensor, axis)),
    np.swapaxes: lambda own, array, first, second: Live(ops.swapaxes(array.tensor, first, second)),
    np.broadcast_to: lambda own, array, shape: Live(ops.broadcast_to(array.tensor, shape)),
    np.ones_like: lambda own, array: np.ones(array.shape),
    np.ndim: lambda own, array: array.ndim,
    np.size: lambda own, array: array.size,
    np.shape: lambda own, array: array.shape,
    np.any: lambda own, array: True,  # it may be
    np.einsum: lambda own, spec, *arrays, optimize=True: Live(
        ops.einsum(spec, *(own._alike(a) for a in arrays))
    ),
}
