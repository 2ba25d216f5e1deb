"""Gradient and input x gradient, as a preset of chain rules on the shared backward pass."""

from __future__ import annotations

from dataclasses import dataclass

from explainers.analyzer import BackwardAnalyzer
from explainers.registry import register
from explainers.rules.presets import GRADIENT, Preset, by_chain_rule
from explainers.rules.weightless import Deconvolve, Guided


@register(
    "gradient",
    family="gradient",
    paper="Simonyan, Vedaldi, Zisserman 2014 (arXiv:1312.6034)",
)
@dataclass(frozen=True)
class GradientAnalyzer(BackwardAnalyzer):
    """`R = d logit / d x`."""

    def preset(self) -> Preset:
        return GRADIENT


@register(
    "input_x_gradient",
    family="gradient",
    paper="Shrikumar et al. 2016 (arXiv:1605.01713)",
)
@dataclass(frozen=True)
class InputTimesGradient(BackwardAnalyzer):
    """`R = x * d logit / d x`."""

    def preset(self) -> Preset:
        return by_chain_rule("input_x_gradient")

    def times_input(self) -> bool:
        return True


@register(
    "deconvnet",
    family="gradient",
    paper="Zeiler, Fergus 2014 (arXiv:1311.2901)",
)
@dataclass(frozen=True)
class Deconvnet(BackwardAnalyzer):
    """The chain rule with `max(R, 0)` at every activation, whatever it passed forward."""

    def preset(self) -> Preset:
        return by_chain_rule("deconvnet", Deconvolve())


@register(
    "guided_backprop",
    family="gradient",
    paper="Springenberg et al. 2015 (arXiv:1412.6806)",
)
@dataclass(frozen=True)
class GuidedBackprop(BackwardAnalyzer):
    """The chain rule with `max(R, 0)` before the derivative of every activation."""

    def preset(self) -> Preset:
        return by_chain_rule("guided_backprop", Guided())
