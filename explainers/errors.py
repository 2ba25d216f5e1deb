"""Errors of the explainers: one base class, each carries its fields and words one clear line."""

from __future__ import annotations

from collections.abc import Iterable


class ExplainError(ValueError):
    """Base of every error that a caller of `explainers` can mend (wrong model, method or input)."""


class UnknownMethod(ExplainError):
    """A method name that nobody registered."""

    def __init__(self, name: str, known: Iterable[str]):
        self.name, self.known = name, tuple(sorted(known))
        super().__init__(f"method {name!r} is not known; methods: {', '.join(self.known)}")


class InvalidParameter(ExplainError):
    """A hyper-parameter that a method or a rule does not take."""


class UntraceableModel(ExplainError):
    """A model without a graph, or one of whose outputs or inputs has to be chosen."""


class UnsupportedLayer(ExplainError):
    """A node that no pair of the preset matches, or that nobody can express as a known kind."""

    def __init__(self, preset: str, node: str, layer: str, known: Iterable[str], reason: str | None = None):
        self.preset, self.node, self.layer = preset, node, layer
        self.known, self.reason = tuple(known), reason
        because = f": {reason}" if reason else ""
        super().__init__(
            f"preset {preset!r} has no rule for node {node!r} ({layer}){because}; kinds with a rule: "
            f"{', '.join(self.known)}; add a (condition, rule) pair or register the layer's kind"
        )


class UnequalForward(ExplainError):
    """The canonised model does not compute what the original computes."""

    def __init__(self, figure: float, tolerance: float, detail: str):
        self.figure, self.tolerance = figure, tolerance
        super().__init__(
            f"the canonised model's logits differ from the original's by {figure:.3g} relative L2 "
            f"(tolerance {tolerance:.1g}); {detail}"
        )


class InvalidInput(ExplainError):
    """Images, targets or box bounds that the model cannot take."""
