"""The model's inputs: checked arrays, batches of them, and which of them is the explained one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from keras import ops

from explainers.errors import InvalidInput, InvalidParameter
from explainers.network import Network


def check_input(net: Network, x: Any) -> tuple[np.ndarray, ...]:
    """The model's inputs as arrays of its dtype. Raises InvalidInput."""
    names = net.graph.inputs
    if isinstance(x, dict):
        missing = [name for name in names if name not in x]
        if missing:
            raise InvalidInput(f"input {missing[0]!r} is missing; the model's inputs: {', '.join(names)}")
        given = tuple(x[name] for name in names)
    else:
        given = tuple(x) if isinstance(x, (tuple, list)) and len(names) > 1 else (x,)
    if len(given) != len(names):
        raise InvalidInput(f"the model has {len(names)} inputs ({', '.join(names)}), received {len(given)}")
    return tuple(_check_array(net, name, value) for name, value in zip(names, given, strict=True))


def _check_array(net: Network, name: str, value: Any) -> np.ndarray:
    array = np.asarray(value if isinstance(value, np.ndarray) else ops.convert_to_numpy(value))
    shape = net.graph[name].shape
    fits = array.ndim == len(shape) and all(
        n in (None, m) for n, m in zip(shape[1:], array.shape[1:], strict=True)
    )
    if not fits:
        valid = ", ".join("b" if i == 0 else str(n or "any") for i, n in enumerate(shape))
        raise InvalidInput(f"input {name!r} has shape {array.shape}; valid: ({valid})")
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise InvalidInput(
            f"input {name!r} has dtype {array.dtype}; valid: a floating-point or integer dtype"
        )
    if len(array) == 0:
        raise InvalidInput(f"input {name!r} is an empty batch; valid: at least one image")
    array = array.astype(net.dtype, copy=False)
    if not np.all(np.isfinite(array)):
        rows = sorted({int(i) for i in np.argwhere(~np.isfinite(array))[:, 0]})[:5]
        raise InvalidInput(
            f"input {name!r} holds nan or infinite values in rows {rows}; valid: finite values"
        )
    return array


def explained_index(net: Network) -> int:
    """Position of the explained input among the model's inputs."""
    return net.graph.inputs.index(net.graph.explained)


def channels(net: Network) -> int:
    """Channels of the explained input."""
    count = net.graph[net.graph.explained].shape[-1]
    if count is None:
        raise InvalidParameter("the model's input has any number of channels; valid: a fixed number")
    return count


def image_shape(net: Network, method: str) -> tuple[int | None, int | None, int]:
    """Height, width, channels of the explained input. Raises InvalidParameter unless it is an image."""
    shape = net.graph[net.graph.explained].shape
    if len(shape) != 4:
        raise InvalidParameter(f"{method} explains images (b h w c); the model's input is {shape}")
    return shape[1], shape[2], channels(net)


@runtime_checkable
class SupportsArray(Protocol):
    """An array or tensor of whatever library."""

    def __array__(self) -> np.ndarray: ...


def is_array(data: Any) -> bool:
    """Whether the data are one array, as opposed to an iterable of batches."""
    return isinstance(data, SupportsArray)


def stream(net: Network, data: Any, method: str) -> Iterator[tuple[np.ndarray, ...]]:
    """Batches of the model's inputs from an array or an iterable of batches. Raises InvalidInput if empty."""
    if data is None:
        raise InvalidInput(
            f"{method} estimates from data; valid: fit(model, data) with an array b h w c or its batches"
        )
    if is_array(data) or isinstance(data, dict):
        yield check_input(net, data)
        return
    seen = 0
    for batch in data:
        seen += 1
        yield check_input(net, batch)
    if not seen:
        raise InvalidInput(f"{method}: the data hold no batch; valid: at least one image")
