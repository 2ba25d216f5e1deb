"""What a preset costs, in forward passes: the costs of its rules, weighed by multiply-adds."""

from __future__ import annotations

import functools

import keras
import numpy as np

from explainers.model.graph import Graph, Node
from explainers.network import prepare
from explainers.rules.assign import Step, assign
from explainers.rules.presets import Preset


def cost(graph: Graph, preset: Preset) -> float:
    """Forward passes that one forward and one backward pass cost, from the multiply-adds of linear nodes."""
    forward = sum(work(node) for node in graph)
    behind = sum(_behind(step) for step in assign(preset, graph))
    return 1.0 + behind / max(forward, 1.0)


def words(preset: Preset) -> str:
    """The cost in general: of a convolution between two ReLUs, and the least and most of any other layer."""
    costs = {
        step.site.node.name: 1.0 + _behind(step) / work(step.site.node)
        for step in assign(preset, _every_site())
        if work(step.site.node)
    }
    between = costs.pop(BETWEEN)
    least, most = min(costs.values()), max(costs.values())
    passes = f"{between:g} forward {'pass' if between == 1 else 'passes'}"
    if least == most == between:
        return passes
    elsewhere = f"{least:g}" if least == most else f"{least:g} to {most:g}"
    return f"{passes} in convolutions between ReLUs, elsewhere {elsewhere}"


def _behind(step: Step) -> float:
    """Multiply-adds per image of a step of the backward pass."""
    return step.rule.cost(step.site) * work(step.site.node, step.rule.form)


BETWEEN = "between"


@functools.cache
def _every_site() -> Graph:
    """A network with every site at which rules differ in cost: inputs of both signs or >= 0, with a ReLU
    behind or without, dense, ordinary and depthwise."""
    layers, fixed = keras.layers, {"kernel_initializer": "ones", "dtype": "float32"}
    same = {"padding": "same", **fixed}
    x = keras.Input((4, 4, 2), name="image", dtype="float32")
    t = layers.Conv2D(2, 3, activation="relu", name="first", **same)(x)
    t = layers.Conv2D(2, 3, activation="relu", name=BETWEEN, **same)(t)
    t = layers.DepthwiseConv2D(
        3, padding="same", depthwise_initializer="ones", activation="relu", name="apart", dtype="float32"
    )(t)
    t = layers.Conv2D(2, 3, activation="tanh", name="no_relu_behind", **same)(t)
    t = layers.Conv2D(2, 3, activation="tanh", name="no_relu", **same)(t)
    t = layers.Conv2D(2, 3, activation="relu", name="no_relu_before", **same)(t)
    t = layers.Flatten(name="flat", dtype="float32")(t)
    t = layers.Dense(2, activation="relu", name="hidden", **fixed)(t)
    return prepare(keras.Model(x, layers.Dense(2, name="top", **fixed)(t), name="every_site"))


def work(node: Node, form: str = "stages") -> float:
    """Multiply-adds per image of a linear node in the form that a rule gives it."""
    if node.linear is None:
        return 0.0
    outputs = float(np.prod([n or 1 for n in node.shape[1:]]))
    channels = float(node.shape[-1] or 1)
    if node.kind == "scale":
        return outputs
    kernel = node.kernel
    if form == "signed":
        kernel = node.linear.by_sign(kernel, np.abs)
    elif form == "whole":
        kernel = node.linear.composite(kernel)
    size = sum(np.size(k) for k in kernel) if isinstance(kernel, tuple) else np.size(kernel)
    return outputs * size / channels if node.kind != "einsum" else outputs * size / max(_shared(node), 1.0)


def _shared(node: Node) -> float:
    """Size of the kernel axes that an einsum keeps in its output."""
    kernel, output = node.linear.equation.split(",")[1].split("->")  # type: ignore[union-attr]
    return float(
        np.prod([n for axis, n in zip(kernel, np.shape(node.kernel), strict=False) if axis in output] or [1])
    )
