"""Layer-wise relevance propagation: every preset by name, as data for the shared backward pass."""

from __future__ import annotations

from dataclasses import dataclass

from explainers.analyzer import BackwardAnalyzer
from explainers.presets import Preset, compose, structure
from explainers.registry import register
from explainers.rules import AlphaBeta, Epsilon, Rule, ZPlus

BACH = "Bach et al. 2015 (PLOS ONE 10(7), e0130140)"


@dataclass(frozen=True)
class LRP(BackwardAnalyzer):
    """LRP with one rule by layer; `first` is the input layer's."""

    name: str = "lrp"
    dense: Rule = Epsilon()
    conv: Rule = Epsilon()
    first: Rule = Epsilon()

    def preset(self) -> Preset:
        return compose(self.name, self.dense, self.conv, self.first, structure())

    def start(self) -> str:
        return "logit"


def uniform(name: str, rule: Rule) -> LRP:
    return LRP(name, rule, rule, rule)


@register("lrp.epsilon", family="lrp", paper=BACH, cost="1 forward, 1 backward")
def epsilon(eps: float = 1e-6) -> LRP:
    return uniform("lrp.epsilon", Epsilon(eps))


@register("lrp.z_plus", family="lrp", paper="Montavon et al. 2017", cost="2 forward, 1 backward")
def z_plus() -> LRP:
    return uniform("lrp.z_plus", ZPlus())


@register("lrp.alpha_1_beta_0", family="lrp", paper=BACH, cost="2 forward, 1 backward")
def alpha_1_beta_0() -> LRP:
    return uniform("lrp.alpha_1_beta_0", AlphaBeta(1, 0))


@register(
    "lrp.preset_a",
    family="lrp",
    paper="Lapuschkin et al. 2017",
    cost="2 forward, 1 backward",
    aliases=("lrp.star",),
)
def preset_a(eps: float = 1e-6) -> LRP:
    return LRP("lrp.preset_a", Epsilon(eps), AlphaBeta(1, 0), AlphaBeta(1, 0))
