"""Methods that evaluate the model many times per image: one compiled program, batches of one size.

All (image, sample) pairs of a call form one list, which is cut into batches of at most `limit`: few
images with many samples and many images with few are equally full. What depends on the samples
only (noise, masks) is the same for every image, so a batch of n equals n batches of 1.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from keras import ops

from explainers import engine
from explainers.analyzer import Analyzer, Explanation, Fitted, check_input
from explainers.checks import per_channel
from explainers.engine import Tensor
from explainers.errors import InvalidInput, InvalidParameter
from explainers.network import Network, network
from explainers.progress import report
from explainers.rules.backward import Ledger, backward
from explainers.rules.presets import by_chain_rule
from explainers.targets import Function, Goal, resolve, start_of

# (weights, the model's inputs and extra arrays for the items, target per item, *spec) -> one result per item
Program = Callable[..., Tensor]
# (image index per item, sample index per item) -> arrays, one row per item
Spec = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]]


class Piece(NamedTuple):
    """Results of one batch: image index, sample index and value of each item."""

    rows: np.ndarray
    samples: np.ndarray
    values: np.ndarray


class Evaluator:
    """A program on many variants of each image.

    `program(weights, items, target, *spec)`: `items` holds, per array of `inputs`, the rows that the
    batch's items belong to.
    """

    def __init__(self, what: str, program: Program, weights: Any, limit: int):
        self.what, self.limit = what, limit

        def gathered(
            weights: Any, inputs: tuple[Tensor, ...], index: Tensor, target: Tensor, *spec: Tensor
        ) -> Tensor:
            items = tuple(ops.take(value, index, axis=0) for value in inputs)
            return program(weights, items, target, *spec)

        self._run = engine.compile(gathered, weights)

    def __call__(self, inputs: tuple[Tensor, ...], goal: Goal, samples: int, spec: Spec) -> Iterator[Piece]:
        """Results of all `images x samples`, image by image, in order."""
        total = len(goal.classes) * samples
        size = batch_size(total, self.limit)
        classes = np.maximum(goal.classes, 0)
        for begin in range(0, total, size):
            count = min(size, total - begin)
            # the last batch is filled up by repeating its last item: one shape, one program
            items = begin + np.minimum(np.arange(size), count - 1)
            rows, which = items // samples, items % samples
            arrays = [ops.convert_to_tensor(array) for array in spec(rows, which)]
            index = ops.convert_to_tensor(rows.astype("int32"))
            target = ops.convert_to_tensor(classes[rows].astype("int32"))
            values = ops.convert_to_numpy(self._run(inputs, index, target, *arrays))
            yield Piece(rows[:count], which[:count], values[:count])
            report(self.what, begin + count, total)


def batch_size(total: int, limit: int) -> int:
    """The smallest size that needs no more batches than `limit` does."""
    batches = -(-total // limit)
    return -(-total // batches)


def add_rows(total: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
    """`total[row] += values` of that row, summed in float64; `np.add.at` takes ten times as long."""
    for row in np.unique(rows):
        total[row] += values[rows == row].sum(axis=0, dtype=np.float64)


def output_program(net: Network, vary: Callable[..., Tensor]) -> Program:
    """The model's output for `vary(x, extras, *spec)` in place of the explained input `x`."""

    def program(weights: Any, items: tuple[Tensor, ...], target: Tensor, *spec: Tensor) -> Tensor:
        return net.record(weights, varied(net, items, vary, spec))[net.graph.output]

    return program


def gradient_program(
    net: Network, vary: Callable[..., Tensor], function: Function | None
) -> tuple[Program, Any]:
    """The gradient of the target at `vary(x, *extras, *spec)`, and the weights that the program takes."""
    head = net.head(by_chain_rule("gradient"), "one")

    def program(weights: Any, items: tuple[Tensor, ...], target: Tensor, *spec: Tensor) -> Tensor:
        record = net.record(weights["nodes"], varied(net, items, vary, spec))
        start = start_of(function, record[net.graph.output], target)
        return backward(net.graph, head.steps, weights["head"], record, start)[net.graph.explained]

    return program, {"nodes": net.weights, "head": head.constants}


def varied(
    net: Network, items: tuple[Tensor, ...], vary: Callable[..., Tensor], spec: Any
) -> tuple[Tensor, ...]:
    """The model's inputs with the explained one replaced by its variant."""
    n = len(net.graph.inputs)
    own, extras = list(items[:n]), items[n:]
    i = explained_index(net)
    own[i] = ops.cast(vary(own[i], *extras, *spec), net.dtype)
    return tuple(own)


def explained_index(net: Network) -> int:
    """Position of the explained input among the model's inputs."""
    return net.graph.inputs.index(net.graph.explained)


@dataclass(frozen=True)
class SamplingAnalyzer(Analyzer):
    """Base of the methods of this module."""

    def fit(self, model: Any, data: Any = None) -> SamplingFitted:
        net = network(model)
        return self.bind(net, self.estimate(net, data))

    def estimate(self, net: Network, data: Any) -> dict[str, np.ndarray]:
        """What the method keeps of `data`; methods without such a state ignore `data`."""
        return {}

    @abstractmethod
    def bind(self, net: Network, state: Mapping[str, np.ndarray]) -> SamplingFitted:
        """The fitted analyzer for a network and a state, estimated or loaded."""


class Result(NamedTuple):
    """Maps of a batch, why rows are undefined, and what the maps should sum to, if there is such a number."""

    relevance: np.ndarray
    reasons: tuple[str | None, ...] | None = None
    sums_to: np.ndarray | None = None


class SamplingFitted(Fitted):
    """Base of the fitted methods of this module."""

    # Whether the maps sum to a known number: then `ledger=True` gives the completeness gap.
    complete: ClassVar[bool] = False

    def __init__(self, analyzer: SamplingAnalyzer, net: Network, state: Mapping[str, np.ndarray]):
        self.analyzer, self.network, self.state = analyzer, net, dict(state)
        self.prepare()

    def __repr__(self) -> str:
        return f"{self.analyzer!r}.fit({self.network.graph.model.name!r})"

    def prepare(self) -> None:
        """Check the parameters against the network, make what every call needs."""

    @abstractmethod
    def explain(
        self, x: np.ndarray, inputs: tuple[np.ndarray, ...], goal: Goal, output: np.ndarray
    ) -> Result:
        """Maps for the explained input `x` b h w c; `inputs` are all inputs, `output` the logits b k."""

    def analyze(self, x: Any, target: Any = None, ledger: bool = False) -> Explanation:
        if ledger and not self.complete:
            raise InvalidParameter(
                f"{type(self.analyzer).__name__} has no ledger: its maps sum to nothing in particular; "
                "valid: ledger=False"
            )
        inputs = check_input(self.network, x)
        image = inputs[explained_index(self.network)]
        output = self.network.logits(inputs)
        goal = resolve(target, output)
        result = self.explain(image, inputs, goal, output)
        relevance, reasons = guarded(result, image)
        book = _ledger(relevance, result.sums_to) if ledger and result.sums_to is not None else None
        return Explanation(relevance, output, goal.classes, reasons, book)

    def constant(self, name: str, value: Any) -> np.ndarray:
        """A constant per channel as an array of the explained input's rank, without the batch axis."""
        return per_channel(name, value, channels(self.network)).astype(self.network.dtype)


def guarded(result: Result, image: np.ndarray) -> tuple[np.ndarray, tuple[str | None, ...]]:
    """The maps in the input's dtype, 0 where undefined, and the reasons."""
    relevance = np.asarray(result.relevance).astype(image.dtype)
    reasons = list(result.reasons or (None,) * len(image))
    for row, reason in enumerate(reasons):
        if reason is None and not np.all(np.isfinite(relevance[row])):
            reasons[row] = "the relevance is not finite"
        if reasons[row] is not None:
            relevance[row] = 0
    return relevance, tuple(reasons)


def _ledger(relevance: np.ndarray, sums_to: np.ndarray) -> Ledger:
    """One line: what should be explained, what the map holds; the gap is what completeness misses."""
    flat = relevance.reshape(len(relevance), -1).astype(np.float64)
    passed, zero = flat.sum(axis=1), np.zeros(len(flat))
    magnitude = np.maximum(np.abs(sums_to), np.abs(flat).sum(axis=1))
    lines = (np.asarray(sums_to, np.float64), passed, zero, zero, zero, magnitude)
    return Ledger(("completeness",), *(line[None] for line in lines))


def spread(values: np.ndarray, count: int) -> np.ndarray:
    """A map per pixel `... h w` as relevance of `count` channels whose sum it is."""
    return np.repeat(values[..., None] / count, count, axis=-1)


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


def stream(net: Network, data: Any, method: str) -> Iterator[tuple[np.ndarray, ...]]:
    """Batches of the model's inputs from an array or an iterable of batches. Raises InvalidInput if empty."""
    if data is None:
        raise InvalidInput(
            f"{method} estimates from data; valid: fit(model, data) with an array b h w c or its batches"
        )
    if hasattr(data, "shape") or isinstance(data, dict):
        yield check_input(net, data)
        return
    seen = 0
    for batch in data:
        seen += 1
        yield check_input(net, batch)
    if not seen:
        raise InvalidInput(f"{method}: the data hold no batch; valid: at least one image")
