"""Analyzer (hyper-parameters) -> fit(model) -> Fitted -> analyze(x, target) -> Explanation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from keras import ops

from explainers.differentiable import MapFunction
from explainers.errors import InvalidParameter
from explainers.inputs import check_input, explained_index
from explainers.model.decomposition import FOLDED, Decomposition
from explainers.network import Head, Network, network
from explainers.rules.assign import assign
from explainers.rules.bounds import check_boxes
from explainers.rules.ledger import Ledger
from explainers.rules.presets import Preset
from explainers.targets import Goal, resolve

Target = int | Sequence[int] | np.ndarray | Callable[[Any], Any] | None
State = Mapping[str, np.ndarray]  # what a method estimated, by name


ZERO_MAP = "the map is zero everywhere"


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


class Origin(NamedTuple):
    """How `create_analyzer` made an analyzer: the method's name and all its parameters."""

    method: str
    params: Mapping[str, Any]


@dataclass(frozen=True)
class Analyzer(ABC):
    """A method and its hyper-parameters: a frozen dataclass, so comparable and printable.

    It says by which rules it goes back through a network (`preset`), whether `fit` needs images to estimate
    from (`estimates`), to which form of a model it binds (`network_of`) and what it then is (`bind`).
    """

    estimates: ClassVar[bool] = False
    origin: Origin | None = field(default=None, kw_only=True, compare=False, repr=False)

    def preset(self) -> Preset | None:
        """The (condition, rule) pairs of its backward pass; None: it only evaluates the network."""
        return None

    def passes(self, crossing: float) -> float:
        """What an image costs in forward passes, when one forward and one backward pass cost `crossing`."""
        return crossing

    def decomposition(self) -> Decomposition:
        """How the network is taken apart into nodes."""
        return FOLDED

    def decomposed(self, how: Decomposition) -> Self:
        """The same on a network that is taken apart in another way.

        Raises InvalidParameter for a method to which that is no parameter.
        """
        name = self.origin.method if self.origin else type(self).__name__
        raise InvalidParameter(
            f"{name}: how a network is taken apart into nodes is a matter of methods by rules only; valid: "
            "lrp.*, deep_taylor, deep_taylor.bounded, excitation_backprop"
        )

    def plain(self) -> Self:
        """The same with hyper-parameters as plain floats and tuples, so that equal ones compare equal."""
        return self

    def network_of(self, model: Any) -> Network:
        """The network that it binds to. Raises ExplainError where the model cannot be traced or canonised."""
        preset = self.preset()
        return network(model, self.decomposition(), () if preset is None else preset.subgraphs())

    def check(self, net: Network) -> None:
        """Raises the ExplainError for which it cannot explain this network, as far as no data are needed."""
        preset = self.preset()
        if preset is not None:
            assign(preset, net.graph)
        if not self.estimates:
            self.bind(net, self.estimate(net, None))

    def estimate(self, net: Network, data: Any) -> State:
        """The state that the method keeps, mostly of `data`; methods without one ignore `data`."""
        return {}

    @abstractmethod
    def bind(self, net: Network, state: State) -> Fitted:
        """The fitted analyzer for a network and a state, estimated or loaded."""

    def fit(self, model: Any, data: Any = None) -> Fitted:
        """Bind to a Keras model or traced Graph: a new object. `data` for methods that estimate."""
        net = self.network_of(model)
        return self.bind(net, self.estimate(net, data))

    def get_config(self) -> dict[str, Any]:
        """The hyper-parameters by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "origin"}


class Fitted(ABC):
    """An analyzer bound to a network, with its `state`: arrays by name, empty when it estimates nothing.

    `head` is the backward pass that it is, which others of the same network may share a forward pass with;
    None when an explanation is more than that.
    """

    head: Head | None = None

    def __init__(self, analyzer: Analyzer, net: Network, state: State):
        self.analyzer, self.network, self.state = analyzer, net, dict(state)

    def __repr__(self) -> str:
        return f"{self.analyzer!r}.fit({self.network.graph.model.name!r})"

    @abstractmethod
    def analyze(self, x: Any, target: Target = None, ledger: bool = False) -> Explanation:
        """Explain a batch `b h w c` in the model's (preprocessed) input space.

        `target`: None for the predicted class, a class, one per image, or a function of the output.
        """

    def function(self, live: bool = False) -> MapFunction:
        """The map as a function of tensors, to be differentiated by the inputs; `live`: by the weights, too.

        Raises InvalidParameter for a method that is more than one backward pass.
        """
        raise InvalidParameter(
            f"{self.analyzer!r} is no single backward pass, so there is no function to differentiate; valid: "
            "gradient, input_x_gradient and the lrp methods"
        )


@dataclass(frozen=True)
class BackwardAnalyzer(Analyzer):
    """Base of the methods that are a preset on the shared backward pass."""

    @abstractmethod
    def preset(self) -> Preset:
        """The (condition, rule) pairs."""

    def start(self) -> str:
        """Start relevance at the target: `logit`, `one` or `probability`."""
        return "one"

    def times_input(self) -> bool:
        """Whether the result is multiplied by the input."""
        return False

    def undefined(self, logit: float) -> str | None:
        """Why there is no map for this target logit."""
        return None

    def check(self, net: Network) -> None:
        assign(self.preset(), net.graph)

    def bind(self, net: Network, state: State) -> BackwardFitted:
        return self.by(self.preset(), net, state)

    def by(self, preset: Preset, net: Network, state: State) -> BackwardFitted:
        """The fitted analyzer with the rules of this preset."""
        return BackwardFitted(self, net, state, preset)


class BackwardFitted(Fitted):
    """A preset bound to a network."""

    analyzer: BackwardAnalyzer
    head: Head

    def __init__(self, analyzer: BackwardAnalyzer, net: Network, state: State, preset: Preset):
        super().__init__(analyzer, net, state)
        self.preset = preset
        self.head = net.head(preset, analyzer.start(), analyzer.times_input())

    def analyze(self, x: Any, target: Target = None, ledger: bool = False) -> Explanation:
        return _run(self.network, [self], x, target, ledger)[0]

    def function(self, live: bool = False) -> MapFunction:
        return MapFunction(self.network, self.preset, self.head, live, self.analyzer.decomposition())


def analyze_many(fitted: Sequence[Fitted], x: Any, target: Target = None) -> list[Explanation]:
    """Explain one batch by several methods; those on the shared backward pass share one forward pass."""
    results: dict[int, Explanation] = {}
    for member in fitted:
        if not isinstance(member, BackwardFitted):
            results[id(member)] = member.analyze(x, target)
    for members in grouped(fitted):
        explained = _run(members[0].network, members, x, target, False)
        results.update({id(member): e for member, e in zip(members, explained, strict=True)})
    return [results[id(member)] for member in fitted]


def grouped(fitted: Sequence[Fitted]) -> list[list[BackwardFitted]]:
    """Those on the shared backward pass, each once, by the network whose forward pass they share."""
    groups: dict[int, dict[int, BackwardFitted]] = {}
    for member in fitted:
        if isinstance(member, BackwardFitted):
            groups.setdefault(id(member.network), {})[id(member)] = member
    return [list(members.values()) for members in groups.values()]


def _run(
    net: Network, fitted: Sequence[BackwardFitted], x: Any, target: Target, ledger: bool
) -> list[Explanation]:
    inputs = check_input(net, x)
    for member in fitted:
        check_boxes(member.head.steps, inputs[explained_index(net)])
    goal = check_target(net, inputs, target)
    output, chosen, results = net.run([member.head for member in fitted], inputs, goal, ledger)
    output = ops.convert_to_numpy(output)
    goal = goal if goal.function else Goal(ops.convert_to_numpy(chosen))
    return [
        explanation_of(
            member, ops.convert_to_numpy(r), output, goal, ops.convert_to_numpy(lines) if ledger else None
        )
        for member, (r, lines) in zip(fitted, results, strict=True)
    ]


def explanation_of(
    fitted: BackwardFitted,
    relevance: np.ndarray,
    output: np.ndarray,
    goal: Goal,
    lines: np.ndarray | None,
) -> Explanation:
    logits = goal.scores(output, np.arange(len(output)))
    reasons = tuple(_reason(fitted, row, float(logit)) for row, logit in zip(relevance, logits, strict=True))
    if any(reasons):
        keep = np.array([reason is None for reason in reasons])
        relevance = np.where(keep.reshape(-1, *[1] * (relevance.ndim - 1)), relevance, 0).astype(
            relevance.dtype
        )
    book = None
    if lines is not None:
        book = Ledger(tuple(step.site.node.name for step in fitted.head.steps), *lines)
    return Explanation(relevance, output, goal.classes, reasons, book)


def _reason(fitted: BackwardFitted, relevance: np.ndarray, logit: float) -> str | None:
    """Why an image has no map."""
    reason = fitted.analyzer.undefined(logit)
    if reason is None and not np.all(np.isfinite(relevance)):
        return "the relevance is not finite"
    if reason is None and fitted.head.start == "logit" and logit == 0:
        return "the target's logit is 0"
    if reason is None and not np.any(relevance):
        return ZERO_MAP
    return reason


def check_target(net: Network, inputs: tuple[np.ndarray, ...], target: Target) -> Goal:
    """What is explained; class -1 is the predicted one. Raises InvalidInput; see `targets.resolve`."""
    batch = len(inputs[0])
    if target is None:
        return Goal(np.full(batch, -1, "int32"))
    if callable(target):
        return resolve(target, net.logits(inputs))
    return resolve(target, np.zeros((batch, int(net.graph[net.graph.output].shape[-1] or 0) or 1)))
