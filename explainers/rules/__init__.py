"""Rules: how relevance crosses a node. `from explainers.rules import Epsilon, Flat`."""

from explainers.rules.base import Constants, Flow, Rule, Site
from explainers.rules.input_layer import Flat, WSquare, ZBox
from explainers.rules.norm import Norm
from explainers.rules.weighted import AlphaBeta, Epsilon, Gamma, Gradient, Zero, ZPlus
from explainers.rules.weightless import (
    Adjoint,
    Bilinear,
    ChainRule,
    Custom,
    Deconvolve,
    Guided,
    Pass,
    Signal,
    SoftmaxTaylor,
    Split,
    Tokens,
    Winner,
)

__all__ = [
    "Adjoint", "AlphaBeta", "Bilinear", "ChainRule", "Constants", "Custom", "Deconvolve", "Epsilon", "Flat",
    "Flow", "Gamma", "Gradient", "Guided", "Norm", "Pass", "Rule", "Signal", "Site", "SoftmaxTaylor", "Split",
    "Tokens", "WSquare", "Winner", "ZBox", "ZPlus", "Zero",
]  # fmt: skip
