"""PatternNet and PatternAttribution: the direction of the signal in place of the filter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from explainers.analyzer import BackwardAnalyzer, BackwardFitted, State
from explainers.engine import Tensor
from explainers.model.kinds import WEIGHTED, WEIGHTLESS
from explainers.network import Network
from explainers.registry import register
from explainers.rules.base import Constants, Flow, Rule, Site, total
from explainers.rules.presets import Kinds, Preset
from explainers.rules.weightless import ChainRule
from explainers.sampling.pattern_moments import estimate

KINDERMANS = "Kindermans et al. 2018 (arXiv:1705.05598)"
FITTING = "about 3 forward passes per image of the data"


@dataclass(frozen=True, eq=False)
class AlongPattern(Rule):
    """`R_i = sum_k p_ik R_k` with the pattern `a_ik`, or `w_ik a_ik`, in place of the weight."""

    patterns: Mapping[str, np.ndarray] = field(repr=False)
    times_weight: bool
    proportional: ClassVar[bool | None] = False

    def constants(self, site: Site) -> dict[str, Any]:
        node = site.node
        if node.kind == "scale":  # one input per output: the pattern of w is 1 / w
            w = np.asarray(node.kernel, np.float64)
            pattern = np.divide(1.0, w, out=np.zeros_like(w), where=w != 0)
        else:
            w, pattern = node.linear.composite(node.kernel), self.patterns[node.name]
        return {"t": node.linear.whole.flip(w * pattern if self.times_weight else pattern)}

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        relevance = site.node.linear.whole.transpose(R, c["t"], a[0])
        return Flow((relevance,), lambda: (total(R) * 0, total(R) - total(relevance)))


@dataclass(frozen=True)
class PatternAnalyzer(BackwardAnalyzer):
    """Base of both: patterns from data, then one backward pass from the logit.

    The pattern of a linear node in front of a ReLU is estimated from the examples that make it
    positive (the two-component estimator), any other one from all of them (the linear estimator).
    Works on any graph that the gradient crosses; a node that is called twice has two patterns.
    """

    method: ClassVar[str] = ""
    estimates: ClassVar[bool] = True
    times_weight: ClassVar[bool] = False

    def preset(self) -> Preset:
        """Which rule meets which node; the patterns are there once the analyzer is bound."""
        return self._along({})

    def start(self) -> str:
        return "logit"

    def estimate(self, net: Network, data: Any) -> State:
        self.check(net)  # refuses unknown layers before the work
        return estimate(net, data, self.method)

    def bind(self, net: Network, state: State) -> BackwardFitted:
        """The fitted analyzer for estimated or loaded patterns, by node name."""
        return self.by(self._along(state), net, state)

    def _along(self, state: State) -> Preset:
        along = AlongPattern(dict(state), self.times_weight)
        kinds = tuple(kind for kind in WEIGHTED if kind != "einsum")
        return Preset(self.method, ((Kinds(*kinds), along), (Kinds(*WEIGHTLESS), ChainRule())))


@register("pattern_net", family="signal", paper=KINDERMANS, fitting=FITTING, needs=("data",))
@dataclass(frozen=True)
class PatternNet(PatternAnalyzer):
    """The signal at the input: every filter `w` replaced by its pattern `a`."""

    method: ClassVar[str] = "pattern_net"


@register("pattern_attribution", family="signal", paper=KINDERMANS, fitting=FITTING, needs=("data",))
@dataclass(frozen=True)
class PatternAttribution(PatternAnalyzer):
    """The attribution of the signal: every filter `w` replaced by `w * a`."""

    method: ClassVar[str] = "pattern_attribution"
    times_weight: ClassVar[bool] = True
