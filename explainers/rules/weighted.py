"""Rules for linear nodes: frozen dataclasses, `(site, constants, a, z, R) -> Flow`.

`a` is the node's input, `z` its output with bias, `R` the relevance at its output. `constants` are
the kernels that a rule derives from the weights; they are made once per fit by `constants(site)`.
Notation and conventions: `stab(z) = z + eps sign(z)`, `sign(0) = +1`; a ratio whose denominator is
exactly zero is 0; no rule returns inf or nan for finite input.

Sources: Bach et al. 2015 (Zero, Epsilon, AlphaBeta), Montavon et al. 2017 (ZPlus), Montavon et al. 2019
(Gamma), Andeol et al. 2021 (generalised Gamma).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from keras import ops

from explainers.engine import Tensor, after
from explainers.errors import InvalidParameter
from explainers.rules.base import (
    TINY,
    Constants,
    Flow,
    Parts,
    Rule,
    Site,
    divide,
    divide_by_sum,
    negative_part,
    none,
    positive_part,
    shares_account,
    stab,
    total,
)


@dataclass(frozen=True)
class Epsilon(Rule):
    """`R_i = sum_k a_i w_ik / stab(z_k) R_k`; a separable convolution is two such steps."""

    eps: float = 1e-6
    form: ClassVar[str] = "stages"
    weighted: ClassVar[bool] = True

    def constants(self, site: Site) -> dict[str, Any]:
        node = site.node
        stages = node.linear.stages(node.kernel)
        return {f"t{i}": linear.flip(w) for i, (linear, w) in enumerate(stages)} | {
            f"w{i}": w for i, (_, w) in enumerate(stages[:-1])
        }

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        node = site.node
        stages = node.linear.stages(node.kernel)
        inputs = [a[0]]
        for i, (linear, _) in enumerate(stages[:-1]):
            inputs.append(linear.apply(inputs[-1], c[f"w{i}"]))
        outputs, lost = [*inputs[1:], z], []
        relevance, first = R, None
        for i in reversed(range(len(stages))):
            ratio = self._ratio(relevance, outputs[i], site.active and i == len(stages) - 1)
            first = ratio if first is None else first
            lost.append((relevance, ratio, outputs[i]))
            relevance = inputs[i] * stages[i][0].transpose(ratio, c[f"t{i}"], inputs[i])

        def account() -> tuple[Tensor, Tensor]:
            absorbed = none(R) if node.bias is None else total(first * c["bias"])
            return absorbed, sum(total(r - ratio * value) for r, ratio, value in lost)

        return Flow((relevance,), account)

    def _ratio(self, R: Tensor, z: Tensor, active: bool) -> Tensor:
        if self.eps <= TINY:
            return divide(R, z)
        return R / (z + self.eps) if active else R / stab(z, self.eps)


@dataclass(frozen=True)
class Zero(Epsilon):
    """`R_i = sum_k a_i w_ik / z_k R_k`, with 0 where `z_k` is 0."""

    eps: float = 0.0

    def __post_init__(self) -> None:
        if self.eps:
            raise InvalidParameter(f"rule Zero has no stabiliser, received eps={self.eps}; use Epsilon")


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """`R_i = sum_k [ alpha (a_i w_ik)+ / (sum_j (a_j w_jk)+ + b_k+)
    - beta (a_i w_ik)- / (sum_j (a_j w_jk)- + b_k-) ] R_k`.

    `bias` says what of the bias stands in a denominator: `signed` (b+ in the positive, b- in the
    negative: the formula above), `both` (the whole bias in each, as iNNvestigate 2 does), `none`.
    For inputs >= 0 only the first half of `(a w)+ = a+ w+ + a- w-` exists.
    """

    alpha: float = 1.0
    beta: float = 0.0
    bias: str = "signed"
    form: ClassVar[str] = "signed"
    weighted: ClassVar[bool] = True
    reads_output: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if abs(self.alpha - self.beta - 1) > 1e-9 or self.alpha < 0 or self.beta < 0:
            raise InvalidParameter(
                f"alpha - beta must be 1 with both >= 0, received alpha={self.alpha}, beta={self.beta}"
            )
        if self.bias not in ("signed", "both", "none"):
            raise InvalidParameter(f"bias must be 'signed', 'both' or 'none', received {self.bias!r}")

    def constants(self, site: Site) -> dict[str, Any]:
        node = site.node
        linear = node.linear.signed
        plus, minus = (node.linear.by_sign(node.kernel, f) for f in (positive_part, negative_part))
        other = not site.non_negative  # a- w- and a- w+ exist
        made: dict[str, Any] = {}
        if self.alpha:
            summed = not (self.beta and self._shares(site))
            made |= Parts.kernels(linear, "positive", plus, *[minus] * other, back=self.alpha, apply=summed)
        if self.beta:
            made |= Parts.kernels(linear, "negative", minus, *[plus] * other, back=-self.beta)
        if node.bias is not None and self.bias != "none":
            made |= {"positive b": np.maximum(node.bias, 0), "negative b": np.maximum(-node.bias, 0)}
        return made

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        x = after(a[0], R)
        halves = (x,) if site.non_negative else (ops.relu(x), ops.relu(-x))
        parts = Parts(site.node.linear.signed, *halves)
        ratios, accounts, negative = {}, [], None
        quotient = divide if self.bias == "both" else divide_by_sum
        if self.beta:
            negative, bias = self._summed(parts, c, "negative")
            ratios["negative"] = quotient(R, negative)
            accounts.append((ratios["negative"], bias, -self.beta))
        if self.alpha:
            if negative is not None and self._shares(site):
                positive, bias = z + negative, c.get("positive b")  # R is 0 unless z > 0: no cancellation
            else:
                positive, bias = self._summed(parts, c, "positive")
            ratios["positive"] = quotient(R, positive)
            accounts.append((ratios["positive"], bias, self.alpha))
        return Flow((parts.back(c, ratios),), lambda: shares_account(accounts, R))

    def _shares(self, site: Site) -> bool:
        """Whether `positive = z + negative` wherever R is not 0."""
        return site.active and self.bias == "signed"

    def _summed(self, parts: Parts, c: Constants, sign: str) -> tuple[Tensor, Any]:
        """Sum of the magnitudes of one sign with its bias; and that bias."""
        bias = c.get(f"{sign} b")
        if bias is not None and self.bias == "both":
            bias = bias - c["negative b" if sign == "positive" else "positive b"]
        summed = parts.apply(c, sign)
        summed = summed if bias is None else summed + bias
        # rounding can leave a sum of magnitudes below 0; a relu fuses with the convolution
        return summed if self.bias == "both" else ops.relu(summed), bias

    def cost(self, site: Site) -> float:
        halves = 1.0 if site.non_negative else 2.0
        shared = self.alpha and self.beta and self._shares(site)
        return halves * (2.0 * (bool(self.alpha) + bool(self.beta)) - bool(shared))


@dataclass(frozen=True)
class ZPlus(AlphaBeta):
    """`AlphaBeta(1, 0)` without the bias."""

    bias: str = "none"


@dataclass(frozen=True)
class Gamma(Rule):
    """Epsilon with every contribution of the output's own sign strengthened by `1 + gamma`:
    for `z_k >= 0`, `(a w + gamma (a w)+) / stab(sum_j same + b + gamma b+)`, for `z_k < 0` the same
    with the negative parts (Andeol et al. 2021; for `a, z >= 0` it is Gamma of Montavon et al. 2019)."""

    gamma: float = 0.25
    eps: float = 1e-6
    form: ClassVar[str] = "signed"
    weighted: ClassVar[bool] = True

    def constants(self, site: Site) -> dict[str, Any]:
        node = site.node
        linear = node.linear.signed
        plus = node.linear.by_sign(node.kernel, lambda w: w + self.gamma * np.maximum(w, 0))
        minus = node.linear.by_sign(node.kernel, lambda w: w + self.gamma * np.minimum(w, 0))
        other = not site.non_negative
        made: dict[str, Any] = Parts.kernels(linear, "positive", plus, *[minus] * other)
        if not site.active:
            made |= Parts.kernels(linear, "negative", minus, *[plus] * other)
        if node.bias is not None:
            made |= {
                "positive b": node.bias + self.gamma * np.maximum(node.bias, 0),
                "negative b": node.bias + self.gamma * np.minimum(node.bias, 0),
            }
        return made

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        x = after(a[0], R)
        parts = Parts(site.node.linear.signed, *((x,) if site.non_negative else (ops.relu(x), -ops.relu(-x))))
        ratios, accounts = {}, []
        for sign, mask in (
            (("positive", z >= 0),) if site.active else (("positive", z >= 0), ("negative", z < 0))
        ):
            own = R if site.active else ops.where(mask, R, ops.zeros_like(R))
            bias, summed = c.get(f"{sign} b"), parts.apply(c, sign)
            summed = summed if bias is None else summed + bias
            ratio = own / stab(summed, self.eps) if self.eps > TINY else divide(own, summed)
            accounts.append((own, ratio, summed, bias))
            ratios[sign] = ratio

        def account() -> tuple[Tensor, Tensor]:
            absorbed = [total(ratio * b) for _, ratio, _, b in accounts if b is not None]
            return sum(absorbed, none(R)), sum(total(own - ratio * s) for own, ratio, s, _ in accounts)

        return Flow((parts.back(c, ratios),), account)

    def cost(self, site: Site) -> float:
        return 2.0 * (1 if site.non_negative else 2) * (1 if site.active else 2)


@dataclass(frozen=True)
class Gradient(Rule):
    """The plain chain rule: `R_i = sum_k w_ik R_k`."""

    proportional: ClassVar[bool | None] = False
    form: ClassVar[str] = "stages"
    weighted: ClassVar[bool] = True

    def constants(self, site: Site) -> dict[str, Any]:
        return {"t": site.node.linear.flip(site.node.kernel)}

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        relevance = site.node.linear.transpose(R, c["t"], a[0])
        return Flow((relevance,), lambda: (none(R), total(R) - total(relevance)))
