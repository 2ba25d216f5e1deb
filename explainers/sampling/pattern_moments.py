"""Estimating patterns: the direction in which a neuron's input varies with its output.

For `y = w^T x` and a signal `a y` with a distractor that is uncorrelated with y (Haufe et al. 2014;
Kindermans et al. 2018, equations 6 and 8):

    linear         a  = cov[x, y] / (w^T cov[x, y])
    two components a+ = (E+[x y] - E+[x] E[y]) / (w^T E+[x y] - w^T E+[x] E[y]),  E+ over y > 0

Both are computed from centred moments: `E+[x y] - E+[x] E[y] = cov+[x, y] + E+[x] (E+[y] - E[y])`.
The sums over patches, `sum x y`, are weight gradients of the linear map with cotangent y: no patch is
ever cut out, and every kind of linear node is served alike. Batches are merged in float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from explainers import engine
from explainers.engine import Tensor
from explainers.errors import InvalidInput
from explainers.inputs import stream
from explainers.model.convolutions import ConvTranspose, DepthwiseConv
from explainers.model.graph import Graph, Node
from explainers.model.linear import Linear
from explainers.network import Network
from explainers.progress import report

_TINY = 1e-12


def rectified(graph: Graph, node: Node) -> bool:
    """Only a ReLU reads the node: examples with y <= 0 never get past it."""
    children = graph.children(node)
    return len(children) == 1 and children[0].activation.rectifies and node.name != graph.output


def per_output(linear: Linear, kernel: np.ndarray) -> np.ndarray:
    """Sum of a kernel-shaped array over the inputs of each output channel."""
    if isinstance(linear, ConvTranspose):
        return kernel.sum(axis=(*range(kernel.ndim - 2), kernel.ndim - 1))
    if isinstance(linear, DepthwiseConv):
        return kernel.sum(axis=tuple(range(kernel.ndim - 2))).reshape(-1)
    return kernel.reshape(-1, kernel.shape[-1]).sum(axis=0)


@dataclass
class Joint:
    """Moments of a node's input and output over a set of examples chosen per output channel.

    `count`, `y` per channel; `x` (mean input) and `products` (`sum (x - mean)(y - mean)`) in the
    shape of the kernel; `y_all`, `count_all` over all examples, chosen or not.
    """

    linear: Linear
    count: np.ndarray
    y: np.ndarray
    x: np.ndarray
    products: np.ndarray
    count_all: float
    y_all: np.ndarray

    def merged(self, other: Joint) -> Joint:
        """The moments of both sets together."""
        count = self.count + other.count
        share = np.divide(other.count, count, out=np.zeros_like(count), where=count > 0)
        dx, dy = other.x - self.x, other.y - self.y
        products = self.products + other.products + self.linear.scale_output(dx, dy * self.count * share)
        total = self.count_all + other.count_all
        return Joint(
            self.linear,
            count,
            self.y + dy * share,
            self.x + self.linear.scale_output(dx, share),
            products,
            total,
            self.y_all + (other.y_all - self.y_all) * (other.count_all / total),
        )

    def pattern(self, kernel: np.ndarray) -> np.ndarray:
        """`a` in the kernel's shape; 0 for a channel that was never chosen or never varied."""
        scale = self.linear.scale_output
        per_example = np.divide(1.0, self.count, out=np.zeros_like(self.count), where=self.count > 0)
        top = scale(self.products, per_example) + scale(self.x, self.y - self.y_all)
        below = per_output(self.linear, kernel * top)
        size = np.sqrt(per_output(self.linear, np.square(kernel)) * per_output(self.linear, np.square(top)))
        inverse = np.divide(
            1.0, below, out=np.zeros_like(below), where=np.abs(below) > _TINY * np.maximum(size, _TINY)
        )
        return scale(top, inverse)


def estimate(net: Network, data: Any, method: str) -> dict[str, np.ndarray]:
    """The patterns of all linear nodes by name, float32. `data`: images b h w c or an iterable of batches."""
    nodes = [node for node in net.graph if node.traits.neurons]
    program = engine.compile(_moments_of(net, nodes), net.weights)
    joints: dict[str, Joint] = {}
    for done, batch in enumerate(stream(net, data, method), start=1):
        for node, sums in zip(nodes, program(net.tensors(batch)), strict=True):
            arrays = [np.asarray(ops.convert_to_numpy(s), np.float64) for s in sums]
            if not all(np.isfinite(array).all() for array in arrays):
                raise InvalidInput(
                    f"{method}: products of the inputs and outputs of node {node.name!r} are not finite; "
                    "valid: weights and images of usual size"
                )
            joint = _joint(node.linear.whole, arrays)
            before = joints.get(node.name)
            joints[node.name] = joint if before is None else before.merged(joint)
        report(f"{method}: batches of the data", done, done)
    return {
        node.name: joints[node.name]
        .pattern(np.asarray(node.linear.composite(node.kernel), np.float64))
        .astype(net.dtype)
        for node in nodes
    }


def _moments_of(net: Network, nodes: Iterable[Node]) -> Any:
    """The program: a batch's sums for every node, in the order that `_joint` takes."""
    nodes = tuple(nodes)
    positive = [rectified(net.graph, node) for node in nodes]
    kernels = [net.put(node.linear.composite(node.kernel)) for node in nodes]

    def program(weights: Mapping[str, Any], x: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
        record = net.record(weights, x)
        return [
            _sums(node.linear.whole, kernel, record[node.inputs[0]], record[node.name], only)
            for node, kernel, only in zip(nodes, kernels, positive, strict=True)
        ]

    return program


def _sums(linear: Linear, kernel: Tensor, a: Tensor, y: Tensor, positive: bool) -> tuple[Tensor, ...]:
    """Count, mean y, mean y of all per channel; `sum x`, `sum x (y - mean)` per weight; count of all."""
    chosen = ops.cast(y > 0, y.dtype) if positive else ops.ones_like(y)
    axes = tuple(range(len(y.shape) - 1))
    count = ops.sum(chosen, axis=axes)
    mean = ops.sum(y * chosen, axis=axes) / ops.maximum(count, ops.ones_like(count))
    sum_x, products = (
        engine.vjp(lambda w: linear.apply(a, w), (kernel,), cotangent)[0]
        for cotangent in (chosen, (y - mean) * chosen)
    )
    return count, mean, ops.mean(y, axis=axes), sum_x, products, ops.sum(ops.ones_like(y[..., 0]))


def _joint(linear: Linear, sums: list[np.ndarray]) -> Joint:
    count, mean, mean_all, sum_x, products, count_all = sums
    per_example = np.divide(1.0, count, out=np.zeros_like(count), where=count > 0)
    return Joint(
        linear, count, mean, linear.scale_output(sum_x, per_example), products, float(count_all), mean_all
    )
