"""The only file that knows a framework: vector-Jacobian products, compilation, execution order.

Everything else is written in `keras.ops`. TensorFlow is the engine; JAX and PyTorch serve the same
functions when Keras runs on them (`KERAS_BACKEND`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

Tensor = Any
PRECISIONS = ("float32", "tf32", "bfloat16")
_precision = ""  # of products; empty: as the framework does them unasked
_xla = False  # whether programs are compiled by XLA that did not ask for it themselves


def backend() -> str:
    """Name of the framework that Keras runs on: `tensorflow`, `jax` or `torch`."""
    return keras.backend.backend()


def vjp(function: Callable[..., Tensor], primals: Sequence[Tensor], cotangent: Tensor) -> tuple[Tensor, ...]:
    """`J^T cotangent` of `function` at `primals`, one tensor per primal (zeros where unconnected).

    In a compiled program the forward values of a linear function are never computed: only their
    shapes are needed, and the framework prunes the rest.
    """
    return _VJP[backend()](function, tuple(primals), cotangent)


def compile(function: Callable[..., Any], weights: Any, jit: bool = False) -> Callable[..., Any]:
    """`function(weights, *arguments)` as one compiled program of the arguments, per input shape.

    `jit` asks for XLA (TensorFlow) or torch.compile; JAX always compiles.
    """
    programs: dict[Any, Callable[..., Any]] = {}  # what is compiled in one precision stays in it

    def run(*arguments: Any) -> Any:
        if (key := (_precision, jit or _xla)) not in programs:
            # a function of its own: frameworks keep what they compiled by the function that they were given
            programs[key] = _COMPILE[backend()](functools.partial(function), weights, jit or _xla)
        return programs[key](*arguments)

    return run


def shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function(weights, *arguments)`, compiled once for all weights of the same shapes.

    What :func:`compile` makes need not hand its weights over at every call, which takes some milliseconds
    where there are many.
    """
    programs: dict[str, Callable[..., Any]] = {}

    def run(weights: Any, *arguments: Any) -> Any:
        if _precision not in programs:
            programs[_precision] = _SHARED[backend()](functools.partial(function))
        return programs[_precision](weights, *arguments)

    return run


@contextmanager
def precision(name: str) -> Iterator[None]:
    """While it lasts, products of this process (convolutions, matrices) are computed in precision `name`.

    `float32`: in all its bits; `tf32`: with operands of 10 bits, where a GPU can, elsewhere as `float32`;
    `bfloat16`: operands and results are rounded to 7 bits. What lies between products stays float32. Fit
    outside: fitting compares two ways of computing the same, to more digits than these have.
    Raises ValueError for another name.
    """
    global _precision
    if name not in PRECISIONS:
        raise ValueError(f"precision {name!r} is not known; valid: {', '.join(PRECISIONS)}")
    before = _precision
    _precision = name
    try:
        with _TENSOR_CORES[backend()](name == "tf32"):
            yield
    finally:
        _precision = before


@contextmanager
def xla() -> Iterator[None]:
    """While it lasts, TensorFlow compiles programs as a whole by XLA: fewer passes over the memory.

    JAX always does; PyTorch takes `torch.compile`. Fit outside: fitting compiles what runs once.
    """
    global _xla
    before, _xla = _xla, True
    try:
        yield
    finally:
        _xla = before


def is_uncompilable(error: BaseException) -> bool:
    """Whether XLA has no way to compute an operation, in TensorFlow's words."""
    said = f"{type(error).__name__}: {error}".casefold()
    return "xla" in said and ("unsupported operations" in said or "unimplemented" in said)


def is_exhausted(error: BaseException) -> bool:
    """Whether a framework gave up for want of memory, in its words: they share no type."""
    said = f"{type(error).__name__}: {error}".casefold()
    words = ("resourceexhausted", "resource_exhausted", "out of memory", "outofmemory", "oom when allocating")
    return isinstance(error, MemoryError) or any(word in said for word in words)


def multiply(function: Callable[[Tensor, Tensor], Tensor], a: Tensor, w: Tensor) -> Tensor:
    """`function(a, w)`, a product of the two, in the precision that holds; in the type of `a`."""
    if _precision != "bfloat16":
        return function(a, w)
    cast = keras.ops.cast
    return cast(function(cast(a, "bfloat16"), cast(w, "bfloat16")), a.dtype)


def add_bias(z: Tensor, bias: Tensor) -> Tensor:
    """`z + bias`, said so that TensorFlow knows a bias: it makes one operation of a convolution, its bias, a
    sum of branches and a ReLU. Of ordinary sums it would add up the branches first, and the bias to all."""
    if backend() != "tensorflow" or len(bias.shape) != 1 or z.shape[-1] != bias.shape[0]:
        return z + bias
    import tensorflow as tf

    return tf.nn.bias_add(z, bias)


def after(value: Tensor, dependency: Tensor) -> Tensor:
    """`value`, not to be consumed before `dependency` exists.

    Keeps the executor from computing pieces of the backward pass during the forward pass, where
    they would sit in memory until needed.
    """
    if backend() != "tensorflow":
        return value
    import tensorflow as tf

    if tf.executing_eagerly():
        return value
    with tf.control_dependencies([dependency]):
        return tf.identity(value)


def host(value: Any) -> np.ndarray:
    """The value of a variable or tensor as it is now, on the host; not to be written to.

    A view where the framework copies on write: a TensorFlow variable on a CPU that gets another
    value leaves its buffer to those who hold it.
    """
    if backend() != "tensorflow":
        return np.array(keras.ops.convert_to_numpy(value))
    import tensorflow as tf

    return np.asarray(tf.convert_to_tensor(value))


def buffers(values: Iterable[Any]) -> dict[int, Tensor]:
    """Tensors by the address of their data on the host, for those of which `host` gives views."""
    if backend() != "tensorflow":
        return {}
    import tensorflow as tf

    tensors = [tf.convert_to_tensor(value) for value in values]
    return {np.asarray(t).ctypes.data: t for t in tensors if "CPU" in t.device and t.dtype.is_floating}


def _vjp_tensorflow(function: Callable[..., Tensor], primals: tuple, cotangent: Tensor) -> tuple:
    import tensorflow as tf

    if len({id(primal) for primal in primals}) < len(primals):  # x * x: the tape would add up both shares
        primals = tuple(tf.identity(primal) for primal in primals)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(primals)
        value = function(*primals)
    gradients = tape.gradient(
        value, primals, output_gradients=cotangent, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return tuple(gradients)


def _vjp_jax(function: Callable[..., Tensor], primals: tuple, cotangent: Tensor) -> tuple:
    import jax

    return tuple(jax.vjp(function, *primals)[1](cotangent))


def _vjp_torch(function: Callable[..., Tensor], primals: tuple, cotangent: Tensor) -> tuple:
    import torch

    again = torch.is_grad_enabled()  # someone differentiates what comes out: keep the graph
    with torch.enable_grad():
        leaves = tuple(_leaf_torch(primal, again) for primal in primals)
        value = function(*leaves)
        gradients = torch.autograd.grad(value, leaves, cotangent, create_graph=again, allow_unused=True)
    zipped = zip(gradients, leaves, strict=True)
    return tuple(torch.zeros_like(leaf) if g is None else g for g, leaf in zipped)


def _leaf_torch(primal: Any, again: bool) -> Any:
    """What is differentiated by: the tensor apart from what made it, or, to go on, a tensor of its own."""
    return primal.view_as(primal) if again and primal.requires_grad else primal.detach().requires_grad_()


def _compile_tensorflow(function: Callable[..., Any], weights: Any, jit: bool) -> Callable[..., Any]:
    import tensorflow as tf

    return tf.function(functools.partial(function, weights), autograph=False, jit_compile=jit or None)


def _compile_jax(function: Callable[..., Any], weights: Any, jit: bool) -> Callable[..., Any]:
    import jax

    # weights are an argument: as constants they would be copied into every compiled program
    return functools.partial(jax.jit(function), weights)


def _compile_torch(function: Callable[..., Any], weights: Any, jit: bool) -> Callable[..., Any]:
    import torch

    compiled = torch.compile(function) if jit else function

    def without_tape(*arguments: Any) -> Any:
        with torch.no_grad():
            return compiled(weights, *arguments)

    return without_tape


def _shared_tensorflow(function: Callable[..., Any]) -> Callable[..., Any]:
    import tensorflow as tf

    return tf.function(function, autograph=False)


def _shared_jax(function: Callable[..., Any]) -> Callable[..., Any]:
    import jax

    return jax.jit(function)


def _shared_torch(function: Callable[..., Any]) -> Callable[..., Any]:
    import torch

    def without_tape(*arguments: Any) -> Any:
        with torch.no_grad():
            return function(*arguments)

    return without_tape


@contextmanager
def _tensor_cores_tensorflow(allowed: bool) -> Iterator[None]:
    import tensorflow as tf

    settings = tf.config.experimental
    before = settings.tensor_float_32_execution_enabled()
    settings.enable_tensor_float_32_execution(allowed)
    try:
        yield
    finally:
        settings.enable_tensor_float_32_execution(before)


@contextmanager
def _tensor_cores_jax(allowed: bool) -> Iterator[None]:
    import jax

    with jax.default_matmul_precision("tensorfloat32" if allowed else "highest"):
        yield


@contextmanager
def _tensor_cores_torch(allowed: bool) -> Iterator[None]:
    import torch

    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = cuda.allow_tf32, cudnn.allow_tf32
    cuda.allow_tf32 = cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        cuda.allow_tf32, cudnn.allow_tf32 = before


_VJP = {"tensorflow": _vjp_tensorflow, "jax": _vjp_jax, "torch": _vjp_torch}
_COMPILE = {"tensorflow": _compile_tensorflow, "jax": _compile_jax, "torch": _compile_torch}
_SHARED = {"tensorflow": _shared_tensorflow, "jax": _shared_jax, "torch": _shared_torch}
_TENSOR_CORES = {
    "tensorflow": _tensor_cores_tensorflow,
    "jax": _tensor_cores_jax,
    "torch": _tensor_cores_torch,
}
