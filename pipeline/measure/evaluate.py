"""Many variants of a few pictures through the network: built on the device, in full batches of one shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from explainers import engine
from explainers.model.graph import Graph
from explainers.network import network


@dataclass(frozen=True)
class Variants:
    """Pictures of which a part is replaced by another picture: one row per variant.

    Attributes:
        pictures: (p, h, w, c) float32, whatever the rows refer to, in the model's input space.
        ranks: (q, rows, columns) int32, orders of regions; see `metrics.perturbation.Grid`.
        under, over: (n,) indices into ``pictures``; order: (n,) index into ``ranks``.
        count: (n,) regions of rank < count show ``over``, the others ``under``.
        side: side of a region, pixel.
    """

    pictures: np.ndarray
    ranks: np.ndarray
    under: np.ndarray
    over: np.ndarray
    order: np.ndarray
    count: np.ndarray
    side: int

    def __len__(self) -> int:
        return len(self.under)


class Evaluator:
    """The forward pass of a model, compiled once per shape. ``passes`` counts the pictures evaluated."""

    def __init__(self, model: keras.Model, batch_size: int) -> None:
        self.network = network(model)
        self.batch_size = batch_size
        self.passes = 0
        self._blend: dict[int, Callable[..., Any]] = {}
        net = self.network
        self._logits = engine.compile(lambda w, x: net.record(w, (x,))[net.graph.output], net.weights)
        self._seen = engine.compile(self._features, net.weights)

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """(n, h, w, c) -> (n, k) logits."""
        parts = []
        for start in range(0, len(inputs), self.batch_size):
            part = inputs[start : start + self.batch_size]
            whole = _padded(part, self.batch_size)
            self.passes += self.batch_size
            parts.append(self.network.logits((whole,))[: len(part)])
        return np.concatenate(parts)

    def seen(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, h, w, c) -> (n, k) logits and (n, d) features (:func:`features_node`), of one pass."""
        logits, features = [], []
        for start in range(0, len(inputs), self.batch_size):
            part = inputs[start : start + self.batch_size]
            (whole,) = self.network.tensors((_padded(part, self.batch_size),))
            self.passes += self.batch_size
            said, seen = (ops.convert_to_numpy(value)[: len(part)] for value in self._seen(whole))
            logits.append(said)
            features.append(seen)
        return np.concatenate(logits), np.concatenate(features)

    def _features(self, weights: Any, x: Any) -> tuple[Any, Any]:
        record = self.network.record(weights, (x,))
        seen = record[features_node(self.network.graph)]
        places = tuple(range(1, len(seen.shape) - 1))
        return record[self.network.graph.output], ops.mean(seen, axis=places) if places else seen

    def variants(self, rows: Variants) -> np.ndarray:
        """(n, k) logits of every variant.

        The pictures and orders go to the device once; a batch is four integers per row. Stacks of the same
        size use the same compiled program, so keep ``pictures`` and ``ranks`` padded to a constant length.
        """
        build = self._blender(rows.side)
        pictures = ops.convert_to_tensor(np.asarray(rows.pictures, self.network.dtype))
        ranks = ops.convert_to_tensor(np.asarray(rows.ranks, np.int32))
        indices = np.stack([rows.under, rows.over, rows.order, rows.count]).astype(np.int32)
        parts = []
        for start in range(0, len(rows), self.batch_size):
            part = indices[:, start : start + self.batch_size].T
            whole = ops.convert_to_tensor(_padded(part, self.batch_size))
            self.passes += self.batch_size
            # kept on the device: waiting for a result before the next batch is sent would leave it idle
            parts.append((self._logits(build(pictures, ranks, whole)), len(part)))
        return np.concatenate([ops.convert_to_numpy(out)[:n] for out, n in parts])

    def _blender(self, side: int) -> Callable[..., Any]:
        if side not in self._blend:

            def run(_: Any, pictures: Any, ranks: Any, rows: Any) -> Any:
                return blend(pictures, ranks, rows, side)

            # fused by XLA it is one pass over the memory instead of six: a quarter of the time
            self._blend[side] = engine.compile(run, (), jit=True)
        return self._blend[side]


def features_node(graph: Graph) -> str:
    """The node that the last layer of neurons reads, whose value says what the network sees in a picture.

    The output itself where branches meet after it.
    """
    node = graph[graph.output]
    while len(node.inputs) == 1:
        if node.traits.neurons:
            return node.inputs[0]
        node = graph[node.inputs[0]]
    return graph.output


def blend(pictures: Any, ranks: Any, rows: Any, side: int) -> Any:
    """The variants (b, h, w, c) of ``rows`` (b, 4): under, over, order, count."""
    under, over = ops.take(pictures, rows[:, 0], axis=0), ops.take(pictures, rows[:, 1], axis=0)
    hit = ops.take(ranks, rows[:, 2], axis=0) < rows[:, 3][:, None, None]
    batch, height, width, channels = under.shape
    r, c = hit.shape[1:]
    # repeat every region over its pixels and channels; a broadcast and a cut are cheaper than a gather
    whole = ops.broadcast_to(hit[:, :, None, :, None, None], (batch, r, side, c, side, channels))
    whole = ops.reshape(whole, (batch, r * side, c * side, channels))
    return ops.where(whole[:, :height, :width], over, under)


def _padded(rows: np.ndarray, size: int) -> np.ndarray:
    return (
        rows if len(rows) == size else np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)])
    )
