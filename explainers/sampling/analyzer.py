"""Methods that evaluate the model many times per image, or not at all: their base classes."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from explainers.analyzer import ZERO_MAP, Analyzer, Explanation, Fitted, State
from explainers.checks import per_channel
from explainers.errors import InvalidParameter
from explainers.inputs import channels, check_input, explained_index
from explainers.network import Network
from explainers.rules.ledger import Ledger
from explainers.targets import Goal, resolve


@dataclass(frozen=True)
class SamplingAnalyzer(Analyzer):
    """Base of the methods that evaluate the model many times per image."""

    method: ClassVar[str] = ""


class Maps(NamedTuple):
    """Maps of a batch, why rows are undefined, and what the maps should sum to, if there is such a number."""

    relevance: np.ndarray
    reasons: tuple[str | None, ...] | None = None
    sums_to: np.ndarray | None = None


class SamplingFitted(Fitted):
    """A sampling method bound to a model."""

    # Whether the maps sum to a known number: then `ledger=True` gives the completeness gap.
    complete: ClassVar[bool] = False

    def __init__(self, analyzer: SamplingAnalyzer, net: Network, state: State):
        super().__init__(analyzer, net, state)
        self.prepare()

    def prepare(self) -> None:
        """Check the parameters against the network, make what every call needs."""

    @abstractmethod
    def explain(self, x: np.ndarray, inputs: tuple[np.ndarray, ...], goal: Goal, output: np.ndarray) -> Maps:
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


def guarded(result: Maps, image: np.ndarray) -> tuple[np.ndarray, tuple[str | None, ...]]:
    """The maps in the input's dtype, 0 where undefined, and the reasons."""
    with np.errstate(over="ignore"):  # what is too large is not finite, which is said below
        relevance = np.asarray(result.relevance).astype(image.dtype)
    reasons = list(result.reasons or (None,) * len(image))
    for row, reason in enumerate(reasons):
        if reason is None and not np.all(np.isfinite(relevance[row])):
            reasons[row] = "the relevance is not finite"
        if reasons[row] is None and not np.any(relevance[row]):
            reasons[row] = ZERO_MAP
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
