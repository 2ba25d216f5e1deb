"""Rules for linear nodes: frozen dataclasses, `(site, constants, a, z, R) -> Flow`.

`a` is the node's input, `z` its output with bias, `R` the relevance at its output. `constants` are
the kernels that a rule derives from the weights; they are made once per fit by `constants(site)`.
Notation and conventions: `stab(z) = z + eps sign(z)`, `sign(0) = +1`; a ratio whose denominator is
exactly zero is 0; no rule returns inf or nan for finite input.

Sources: Bach et al. 2015 (Zero, Epsilon, AlphaBeta), Montavon et al. 2017 (ZPlus, WSquare, ZBox),
Montavon et al. 2019 (Gamma), Lapuschkin et al. 2017 (Flat), Andeol et al. 2021 (generalised Gamma).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from keras import ops

from explainers.engine import Tensor, after
from explainers.errors import InvalidParameter
from explainers.model.linear import Conv, Dense
from explainers.rules.base import TINY, Constants, Flow, Parts, Rule, Site, divide, none, stab, total


@dataclass(frozen=True)
class Epsilon(Rule):
    """`R_i = sum_k a_i w_ik / stab(z_k) R_k`; a separable convolution is two such steps."""

    eps: float = 1e-6
    form: ClassVar[str] = "stages"
    weighted: ClassVar[bool] = True

    def constants(self, site: Site) -> dict[str, Any]:
        node = site.node
        stages = node.linear.stages(node.kernel)
        return {f"t{i}": linear.flip(w, fast=site.active) for i, (linear, w) in enumerate(stages)} | {
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
        plus, minus = (node.linear.by_sign(node.kernel, f) for f in (_positive, _negative))
        other = not site.non_negative  # a- w- and a- w+ exist
        shares = self._shares(site)
        made: dict[str, Any] = {}
        if self.alpha:
            summed = not (shares and self.beta)
            rough = shares and not site.tiny
            made |= Parts.kernels(
                linear, "positive", plus, *[minus] * other, back=self.alpha, apply=summed, fast=rough
            )
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
        exact = site.tiny or self.bias == "both"
        quotient = divide if exact else ops.divide_no_nan
        if self.beta:
            negative, bias = self._summed(parts, c, "negative", exact)
            ratios["negative"] = quotient(R, negative)
            accounts.append((ratios["negative"], bias, -self.beta))
        if self.alpha:
            if negative is not None and self._shares(site):
                positive, bias = z + negative, c.get("positive b")  # R is 0 unless z > 0: no cancellation
            else:
                positive, bias = self._summed(parts, c, "positive", exact)
                if parts.is_fast(c, "positive"):  # then rounded by neighbours, and never below z
                    positive = ops.maximum(positive, z)
            ratios["positive"] = quotient(R, positive)
            accounts.append((ratios["positive"], bias, self.alpha))
        return Flow((parts.back(c, ratios),), lambda: _accounts(accounts, R))

    def _shares(self, site: Site) -> bool:
        """Whether `positive = z + negative` wherever R is not 0. The positive quotient is then at most
        `R / z`, so that convolutions which round relative to neighbouring values may be used around it."""
        return site.active and self.bias == "signed"

    def _summed(self, parts: Parts, c: Constants, sign: str, exact: bool) -> tuple[Tensor, Any]:
        """Sum of the magnitudes of one sign with its bias; and that bias."""
        bias = c.get(f"{sign} b")
        if bias is not None and self.bias == "both":
            bias = bias - c["negative b" if sign == "positive" else "positive b"]
        summed = parts.apply(c, sign)
        if self.bias == "both":
            return summed if bias is None else summed + bias, bias
        if exact:
            return ops.relu(summed if bias is None else summed + bias), bias
        # the shift makes sums too small to divide by exactly zero; a relu fuses with the convolution
        return ops.relu(summed - TINY if bias is None else summed + (bias - TINY)), bias

    def cost(self, site: Site) -> float:
        halves = 1.0 if site.non_negative else 2.0
        shared = self.alpha and self.beta and self._shares(site)
        return halves * (2.0 * (bool(self.alpha) + bool(self.beta)) - bool(shared))


def _positive(w: np.ndarray) -> np.ndarray:
    return np.maximum(w, 0)


def _negative(w: np.ndarray) -> np.ndarray:
    return np.maximum(-w, 0)


def _accounts(parts: list, R: Tensor) -> tuple[Tensor, Tensor]:
    absorbed, lost = none(R), none(R)
    for ratio, bias, factor in parts:
        if bias is not None:
            absorbed = absorbed + factor * total(ratio * bias)
        lost = lost + total(ops.where(ratio == 0, factor * R, ops.zeros_like(R)))
    return absorbed, lost


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
class WSquare(Rule):
    """`R_i = sum_k w_ik^2 / sum_j w_jk^2 R_k`; the bias plays no part, padding has no share."""

    proportional: ClassVar[bool | None] = False
    weighted: ClassVar[bool] = True

    def kernel(self, w: np.ndarray) -> np.ndarray:
        return np.square(w)

    def constants(self, site: Site) -> dict[str, Any]:
        linear, w = site.node.linear.whole, site.node.linear.composite(site.node.kernel)
        w = self.kernel(w)
        return {"w": w, "t": linear.flip(w)}

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        linear = site.node.linear.whole
        summed = linear.apply(ops.ones_like(a[0][:1]), c["w"])
        ratio = divide(R, ops.broadcast_to(summed, ops.shape(R)))
        relevance = linear.transpose(ratio, c["t"], a[0]) * ops.ones_like(a[0])
        return Flow((relevance,), lambda: _accounts([(ratio, None, 1.0)], R))


@dataclass(frozen=True)
class Flat(WSquare):
    """Every input that is really connected (padding is not) gets the same share.

    With all weights 1 the output channels can be summed first, and what is left of a convolution is
    a box filter with one channel.
    """

    def kernel(self, w: np.ndarray) -> np.ndarray:
        return np.ones_like(w)

    def constants(self, site: Site) -> dict[str, Any]:
        linear, w = site.node.linear.whole, site.node.linear.composite(site.node.kernel)
        if not self._boxes(linear):
            return super().constants(site)
        w = np.ones((*w.shape[:-2], 1, 1))
        return {"w": w, "t": linear.flip(w)}

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        linear = site.node.linear.whole
        if not self._boxes(linear):
            return super().__call__(site, c, a, z, R)
        one = a[0][..., :1]
        channels = a[0].shape[-1]
        summed = linear.apply(ops.ones_like(one[:1]), c["w"]) * channels
        received = ops.sum(R, axis=-1, keepdims=True)
        ratio = divide(received, summed)
        relevance = linear.transpose(ratio, c["t"], one) * ops.ones_like(a[0])
        return Flow((relevance,), lambda: _accounts([(ratio, None, 1.0)], received))

    @staticmethod
    def _boxes(linear: Any) -> bool:
        return isinstance(linear, Dense) or (isinstance(linear, Conv) and linear.groups == 1)

    def cost(self, site: Site) -> float:
        return 0.0 if self._boxes(site.node.linear.whole) else 1.0


@dataclass(frozen=True)
class ZBox(Rule):
    """`(a_i w_ik - l_i w_ik+ - h_i w_ik-) / (same, summed over j)` for inputs in `[l, h]`.

    `low`, `high` are in the model's input space, one number or one per channel; a rescaling or
    normalisation at the input is applied to them. Computed as `(a-l) w+ + (a-h) w-`, which is the
    same and does not cancel. The bias plays no part.
    """

    low: float | tuple[float, ...] = -1.0
    high: float | tuple[float, ...] = 1.0
    proportional: ClassVar[bool | None] = False
    form: ClassVar[str] = "signed"
    weighted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        low, high = np.asarray(self.low, float), np.asarray(self.high, float)
        for name, value in (("low", self.low), ("high", self.high)):
            if isinstance(value, (list, np.ndarray)):
                object.__setattr__(self, name, tuple(float(v) for v in value))
        if np.any(low > high) or not (np.all(np.isfinite(low)) and np.all(np.isfinite(high))):
            raise InvalidParameter(
                f"box bounds need low <= high, finite; received low={self.low}, high={self.high}"
            )

    def constants(self, site: Site) -> dict[str, Any]:
        node = site.node
        plus, minus = (node.linear.by_sign(node.kernel, f) for f in (_positive, _negative))
        low = self.low if site.low is None else site.low
        high = self.high if site.high is None else site.high
        box = {"low": np.asarray(low, float), "high": np.asarray(high, float)}
        return box | Parts.kernels(node.linear.signed, "box", plus, minus)

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        x = after(a[0], R)
        parts = Parts(site.node.linear.signed, x - c["low"], c["high"] - x)
        ratio = divide(R, parts.apply(c, "box"))
        relevance = parts.back(c, {"box": ratio})
        return Flow((relevance,), lambda: _accounts([(ratio, None, 1.0)], R))

    def cost(self, site: Site) -> float:
        return 4.0


@dataclass(frozen=True)
class Gradient(Rule):
    """The plain chain rule: `R_i = sum_k w_ik R_k`."""

    proportional: ClassVar[bool | None] = False
    form: ClassVar[str] = "stages"
    weighted: ClassVar[bool] = True

    def constants(self, site: Site) -> dict[str, Any]:
        return {"t": site.node.linear.flip(site.node.kernel, fast=True)}

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        relevance = site.node.linear.transpose(R, c["t"], a[0])
        return Flow((relevance,), lambda: (none(R), total(R) - total(relevance)))


__all__ = [
    "AlphaBeta", "Constants", "Epsilon", "Flat", "Flow", "Gamma", "Gradient", "Rule", "Site", "WSquare",
    "ZBox", "ZPlus", "Zero", "divide", "stab", "total",
]  # fmt: skip
