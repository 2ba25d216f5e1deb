"""The rule of sums without weights: add, subtract, average, average pooling (Bach et al. 2015)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from explainers import engine
from explainers.engine import Tensor
from explainers.rules.base import Constants, Flow, Rule, Site, divide, none, stab, total
from explainers.rules.weightless import aligned, sum_to


@dataclass(frozen=True)
class Norm(Rule):
    """Shares by value, `R_i = a_i / stab(sum_j a_j) R`: add, subtract, average, average pooling.

    What a layer of one's own adds besides its inputs (learned positions) absorbs its share.
    """

    eps: float = 1e-6

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        pools = site.node.kind == "avg_pool"
        count = _window(site, a[0]) if pools else float(len(a)) if site.node.kind == "average" else None
        summed = z if count is None else z * count
        ratio = self._ratio(site, summed, R)
        if pools:
            parts = (a[0] * engine.vjp(site.node.call, a, ratio * count)[0],)
        else:
            parts = tuple(sum_to(term * ratio, x) for term, x in zip(_terms(site, a, z), a, strict=True))

        def account() -> tuple[Tensor, Tensor]:
            constant = summed - sum(aligned(x, z) for x in a) if site.node.foreign and not pools else 0.0
            return total(ratio * constant) if site.node.foreign else none(R), total(R - ratio * summed)

        return Flow(parts, account)

    def _ratio(self, site: Site, summed: Tensor, R: Tensor) -> Tensor:
        """`R / stab(summed)`."""
        if not self.eps:
            return divide(R, summed)
        sure = site.non_negative and site.node.kind != "subtract" and not site.node.foreign
        return R / (summed + self.eps) if sure or site.active else R / stab(summed, self.eps)

    def cost(self, site: Site) -> float:
        return 0.0


def _terms(site: Site, a: tuple[Tensor, ...], z: Tensor) -> list[Tensor]:
    """The summands in the rank of `z`; one that nothing else keeps is `z` less the others.

    Where a ReLU cut `z` off there is no relevance, and what is said of that summand does not matter.
    """
    terms = [aligned(x, z) for x in a]
    if site.node.kind == "subtract":
        terms[1] = -terms[1]
    if site.spare is not None:
        terms[site.spare] = z - sum(term for i, term in enumerate(terms) if i != site.spare)
    return terms


def _window(site: Site, a: Tensor) -> float | np.ndarray:
    """Number of inputs in each window of an average pooling (fewer at padded borders)."""
    node = site.node
    if node.window is None:  # a mean over whole axes
        shape = [a.shape[i] for i in range(len(a.shape))]
        outside = int(np.prod([n for n in node.shape[1:] if n is not None] or [1]))
        return float(np.prod(shape[1:])) / outside
    if node.layer.padding == "valid":
        return float(np.prod(node.window))
    counts = np.ones(())
    for size, window, stride in zip(a.shape[1:-1], node.window, node.layer.strides, strict=True):
        steps = -(-size // stride)
        low = max((steps - 1) * stride + window - size, 0) // 2
        starts = np.arange(steps) * stride - low
        axis = np.minimum(starts + window, size) - np.maximum(starts, 0)
        counts = counts[..., None] * axis
    return counts[None, ..., None].astype("float64")
