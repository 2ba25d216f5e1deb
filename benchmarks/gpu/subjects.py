"""What is timed: the framework's own gradient of the predicted logit, and the maps of a method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from benchmarks.gpu.products import counted
from explainers import create_analyzer, engine
from explainers.analyzer import BackwardFitted
from explainers.network import network
from explainers.targets import Goal


@dataclass(frozen=True)
class Subject:
    """One way to maps.

    Attributes:
        on_device: maps of a batch that lies on the device, left there.
        whole: the maps of a batch on the host, on the host: what `analyze` takes.
        flop: of its products, per image; 0: not counted.
    """

    on_device: Callable[[], Any]
    whole: Callable[[], np.ndarray]
    flop: float


def of_method(method: str, model: keras.Model, x: np.ndarray) -> Callable[[str], Subject]:
    """The subject by precision. Raises ExplainError where the network cannot be explained by it."""
    fitted = create_analyzer(method).fit(model)
    assert isinstance(fitted, BackwardFitted)
    net, head = fitted.network, fitted.head
    with engine.precision("float32"), counted() as count:  # it is compiled for this one anyway
        net.run([head], (x,), Goal(np.full(len(x), -1, "int32")))
    (program,) = head.programs.values()
    inputs = net.tensors((x,)), keras.ops.convert_to_tensor(np.full(len(x), -1, "int32"))

    def subject(precision: str) -> Subject:
        def on_device() -> Any:
            with engine.precision(precision):
                return program(*inputs)[2][0][0]

        def whole() -> np.ndarray:
            with engine.precision(precision):
                return fitted.analyze(x).relevance

        return Subject(on_device, whole, count.flop / len(x))

    return subject


def of_framework(
    make: Callable[[], keras.Model], model: keras.Model, x: np.ndarray
) -> Callable[[str], Subject]:
    """The framework's best: one compiled gradient, in bfloat16 by Keras' own policy of mixed precision.

    Its products are those of a forward pass, each with its transpose.
    """
    on_device, net = keras.ops.convert_to_tensor(x), network(model)
    with counted() as count:
        net.record(net.weights, net.tensors((x[:1],)))
    flop = 2.0 * count.flop

    def subject(precision: str) -> Subject:
        subject_model = _mixed(make, model) if precision == "bfloat16" else model
        gradient = _GRADIENTS[keras.backend.backend()](subject_model)

        def run(value: Any) -> Any:
            # of bfloat16 the policy takes care
            with engine.precision("float32" if precision == "bfloat16" else precision):
                return gradient(value)

        return Subject(
            lambda: run(on_device),
            lambda: keras.ops.convert_to_numpy(run(keras.ops.convert_to_tensor(x))),
            flop,
        )

    return subject


def _mixed(make: Callable[[], keras.Model], model: keras.Model) -> keras.Model:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        made = make()
    finally:
        keras.config.set_dtype_policy(before)
    made.set_weights(model.get_weights())
    return made


def _gradient_jax(model: keras.Model) -> Callable[[Any], Any]:
    import jax

    def logit(x: Any, trained: Any, others: Any) -> Any:
        output, _ = model.stateless_call(trained, others, x, training=False)
        return output.max(axis=-1).sum().astype("float32")

    gradient = jax.jit(jax.grad(logit))
    weights = [[v.value for v in vs] for vs in (model.trainable_variables, model.non_trainable_variables)]
    return lambda x: gradient(x, *weights)


def _gradient_torch(model: keras.Model) -> Callable[[Any], Any]:
    import torch

    for parameter in model.parameters():
        parameter.requires_grad_(False)

    def gradient(x: Any) -> Any:
        leaf = x.detach().requires_grad_()
        with torch.enable_grad():
            logit = model(leaf, training=False).max(dim=-1).values.sum()
        return torch.autograd.grad(logit, leaf)[0]

    return gradient


_GRADIENTS = {"jax": _gradient_jax, "torch": _gradient_torch}
