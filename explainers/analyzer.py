"""Analyzer (hyper-parameters) -> fit(model) -> Fitted -> analyze(x, target) -> Explanation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from explainers.errors import InvalidParameter
from explainers.inputs import check_input, explained_index
from explainers.network import STARTS, Head, Network, network
from explainers.rules.backward import Ledger
from explainers.rules.bounds import check_boxes
from explainers.rules.presets import Preset
from explainers.targets import Goal, resolve

Target = int | Sequence[int] | np.ndarray | Callable[[Any], Any] | None


class Explanation(NamedTuple):
    """The relevance of each input element for one output of the model, image by image.

    `relevance` b h w c; `output` b k, the explained outputs (logits); `target` b (-1: a function of
    the output); `reason` says per row why a map is undefined (its relevance is then 0 everywhere); `ledger`
    on request.
    """

    relevance: np.ndarray
    output: np.ndarray
    target: np.ndarray
    reason: tuple[str | None, ...]
    ledger: Ledger | None = None


@dataclass(frozen=True)
class Analyzer(ABC):
    """A method and its hyper-parameters: a frozen dataclass, so comparable and printable."""

    @abstractmethod
    def fit(self, model: Any, data: Any = None) -> Fitted:
        """Bind to a Keras model or traced Graph: a new object. `data` for methods that estimate."""

    def get_config(self) -> dict[str, Any]:
        """The hyper-parameters by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


class Fitted(ABC):
    """An analyzer bound to a model."""

    analyzer: Analyzer
    network: Network

    @abstractmethod
    def analyze(self, x: Any, target: Target = None, ledger: bool = False) -> Explanation:
        """Explain a batch `b h w c` in the model's (preprocessed) input space.

        `target`: None for the predicted class, a class, one per image, or a function of the output.
        """


@dataclass(frozen=True)
class BackwardAnalyzer(Analyzer):
    """Base of the methods that are a preset on the shared backward pass."""

    @abstractmethod
    def preset(self) -> Preset:
        """The (condition, rule) pairs."""

    def start(self) -> str:
        """Start relevance at the target: `logit`, `one` or `probability`."""
        return "one"

    def fold(self) -> bool:
        """Whether BatchNorm is folded."""
        return True

    def times_input(self) -> bool:
        """Whether the result is multiplied by the input."""
        return False

    def undefined(self, logit: float) -> str | None:
        """Why there is no map for this target logit."""
        return None

    def fit(self, model: Any, data: Any = None) -> BackwardFitted:
        if self.start() not in STARTS:
            raise InvalidParameter(f"start must be one of {', '.join(STARTS)}, received {self.start()!r}")
        preset = self.preset()
        net = network(model, self.fold(), preset.subgraphs())
        return BackwardFitted(self, net, net.head(preset, self.start(), self.times_input()))


class BackwardFitted(Fitted):
    """A preset bound to a network."""

    def __init__(self, analyzer: BackwardAnalyzer, net: Network, head: Head):
        self.analyzer, self.network, self.head = analyzer, net, head

    def __repr__(self) -> str:
        return f"{self.analyzer!r}.fit({self.network.graph.model.name!r})"

    def analyze(self, x: Any, target: Target = None, ledger: bool = False) -> Explanation:
        return _run(self.network, [self], x, target, ledger)[0]


def analyze_many(fitted: Sequence[Fitted], x: Any, target: Target = None) -> list[Explanation]:
    """Explain one batch by several methods; those on the shared backward pass share one forward pass."""
    results: dict[int, Explanation] = {}
    groups: dict[int, list[BackwardFitted]] = {}
    for one in fitted:
        if isinstance(one, BackwardFitted):
            groups.setdefault(id(one.network), []).append(one)
        else:
            results[id(one)] = one.analyze(x, target)
    for members in groups.values():
        unique = list({id(one): one for one in members}.values())
        explained = _run(unique[0].network, unique, x, target, False)
        results.update({id(one): e for one, e in zip(unique, explained, strict=True)})
    return [results[id(one)] for one in fitted]


def _run(
    net: Network, fitted: Sequence[BackwardFitted], x: Any, target: Target, ledger: bool
) -> list[Explanation]:
    inputs = check_input(net, x)
    for one in fitted:
        check_boxes(one.head.steps, inputs[explained_index(net)])
    goal = check_target(net, inputs, target)
    output, chosen, results = net.run([one.head for one in fitted], inputs, goal, ledger)
    output = ops.convert_to_numpy(output)
    goal = goal if goal.function else Goal(ops.convert_to_numpy(chosen))
    return [
        _explain(one, ops.convert_to_numpy(r), output, goal, ops.convert_to_numpy(lines) if ledger else None)
        for one, (r, lines) in zip(fitted, results, strict=True)
    ]


def _explain(
    one: BackwardFitted,
    relevance: np.ndarray,
    output: np.ndarray,
    goal: Goal,
    lines: np.ndarray | None,
) -> Explanation:
    assert isinstance(one.analyzer, BackwardAnalyzer)
    logits = goal.scores(output, np.arange(len(output)))
    reasons = []
    for row, logit in enumerate(logits):
        reason = one.analyzer.undefined(float(logit))
        if reason is None and not np.all(np.isfinite(relevance[row])):
            reason = "the relevance is not finite"
        if reason is None and one.head.start == "logit" and logit == 0:
            reason = "the target's logit is 0"
        reasons.append(reason)
    if any(reasons):
        keep = np.array([reason is None for reason in reasons])
        relevance = np.where(keep.reshape(-1, *[1] * (relevance.ndim - 1)), relevance, 0).astype(
            relevance.dtype
        )
    book = None
    if lines is not None:
        names = tuple(step.site.node.name for step in one.head.steps)
        book = Ledger(names, *lines)
    return Explanation(relevance, output, goal.classes, tuple(reasons), book)


def check_target(net: Network, inputs: tuple[np.ndarray, ...], target: Target) -> Goal:
    """What is explained; class -1 is the predicted one. Raises InvalidInput; see `targets.resolve`."""
    batch = len(inputs[0])
    if target is None:
        return Goal(np.full(batch, -1, "int32"))
    if callable(target):
        return resolve(target, net.logits(inputs))
    return resolve(target, np.zeros((batch, int(net.graph[net.graph.output].shape[-1] or 0) or 1)))
