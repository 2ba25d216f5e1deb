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
from explainers.linear import Conv, Dense
from explainers.rule import TINY, Constants, Flow, Rule, Site, divide, none, stab, total


@dataclass(frozen=True)
class Epsilon(Rule):
    """`R_i = sum_k a_i w_ik / stab(z_k) R_k`; a separable convolution is two such steps."""

    eps: float = 1e-6
    composite: ClassVar[bool] = False

    def constants(self, site: Site) -> dict[str, Any]:
        node = site.node
        return {f"t{i}": linear.flip(w) for i, (linear, w) in enumerate(node.linear.stages(node.kernel))} | {
            f"w{i}": w for i, (_, w) in enumerate(node.linear.stages(node.kernel)[:-1])
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

    def __post_init__(self) -> None:
        if abs(self.alpha - self.beta - 1) > 1e-9 or self.alpha < 0 or self.beta < 0:
            raise InvalidParameter(
                f"alpha - beta must be 1 with both >= 0, received alpha={self.alpha}, beta={self.beta}"
            )
        if self.bias not in ("signed", "both", "none"):
            raise InvalidParameter(f"bias must be 'signed', 'both' or 'none', received {self.bias!r}")

    def constants(self, site: Site) -> dict[str, Any]:
        node = site.node
        linear, w = node.linear.whole, node.linear.composite(node.kernel)
        plus, minus = np.maximum(w, 0), np.maximum(-w, 0)
        made: dict[str, Any] = {"p": plus, "pt": linear.flip(plus)}
        if self.beta or not site.non_negative:
            made |= {"n": minus, "nt": linear.flip(minus)}
        if node.bias is not None and self.bias != "none":
            made |= {"bp": np.maximum(node.bias, 0), "bn": np.maximum(-node.bias, 0)}
        return made

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        linear = site.node.linear.whole
        x = after(a[0], R)
        halves = [(x, "p", "n")] if site.non_negative else [(ops.relu(x), "p", "n"), (ops.relu(-x), "n", "p")]
        relevance, accounts = 0.0, []
        for factor, side in ((self.alpha, 0), (-self.beta, 1)):
            if not factor:
                continue
            pairs = [(half, keys[side]) for half, *keys in halves]
            ratio, bias = self._ratio(linear, c, pairs, side, factor * R)
            accounts.append((ratio, bias, factor))
            for half, key in pairs:
                relevance = relevance + half * linear.transpose(ratio, c[key + "t"], x)
        return Flow((relevance,), lambda: _accounts(accounts, R))

    def _ratio(self, linear: Any, c: Constants, pairs: list, side: int, R: Tensor) -> tuple[Tensor, Any]:
        """`R / sum of the parts of one sign`, all magnitudes; and the bias in the denominator."""
        summed = sum(linear.apply(half, c[key]) for half, key in pairs)
        bias = None
        if "bp" in c:
            own, other = (c["bp"], c["bn"]) if side == 0 else (c["bn"], c["bp"])
            bias = own - other if self.bias == "both" else own
        if self.bias == "both":
            return divide(R, summed if bias is None else summed + bias), bias
        # the shift by TINY makes sums too small to divide by exactly zero; relu fuses with the convolution
        shifted = ops.relu(summed - TINY if bias is None else summed + (bias - TINY))
        return ops.divide_no_nan(R, shifted), bias

    def cost(self, site: Site) -> float:
        halves = 1 if site.non_negative else 2
        return 2.0 * halves * (bool(self.alpha) + bool(self.beta))


def _accounts(parts: list, R: Tensor) -> tuple[Tensor, Tensor]:
    absorbed, lost = none(R), none(R)
    for ratio, bias, factor in parts:
        if bias is not None:
            absorbed = absorbed + total(ratio * bias)
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

    def constants(self, site: Site) -> dict[str, Any]:
        node = site.node
        linear, w = node.linear.whole, node.linear.composite(node.kernel)
        plus, minus = w + self.gamma * np.maximum(w, 0), w + self.gamma * np.minimum(w, 0)
        made = {"p": plus, "pt": linear.flip(plus), "n": minus, "nt": linear.flip(minus)}
        if node.bias is not None:
            made |= {
                "bp": node.bias + self.gamma * np.maximum(node.bias, 0),
                "bn": node.bias + self.gamma * np.minimum(node.bias, 0),
            }
        return made

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        linear = site.node.linear.whole
        x = after(a[0], R)
        halves = (
            [(x, "p", "n")] if site.non_negative else [(ops.relu(x), "p", "n"), (-ops.relu(-x), "n", "p")]
        )
        sides = [(z >= 0, 0, "bp")] if site.active else [(z >= 0, 0, "bp"), (z < 0, 1, "bn")]
        relevance, accounts = 0.0, []
        for mask, side, bias in sides:
            pairs = [(half, keys[side]) for half, *keys in halves]
            own = ops.where(mask, R, ops.zeros_like(R))
            summed = sum(linear.apply(half, c[key]) for half, key in pairs)
            summed = summed + c[bias] if bias in c else summed
            ratio = own / stab(summed, self.eps) if self.eps > TINY else divide(own, summed)
            accounts.append((own, ratio, summed, c.get(bias)))
            for half, key in pairs:
                relevance = relevance + half * linear.transpose(ratio, c[key + "t"], x)

        def account() -> tuple[Tensor, Tensor]:
            absorbed = [total(ratio * b) for _, ratio, _, b in accounts if b is not None]
            return sum(absorbed, none(R)), sum(total(own - ratio * s) for own, ratio, s, _ in accounts)

        return Flow((relevance,), account)

    def cost(self, site: Site) -> float:
        return 2.0 * (1 if site.non_negative else 2) * (1 if site.active else 2)


@dataclass(frozen=True)
class WSquare(Rule):
    """`R_i = sum_k w_ik^2 / sum_j w_jk^2 R_k`; the bias plays no part, padding has no share."""

    proportional: ClassVar[bool | None] = False

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
        ratio = divide(ops.sum(R, axis=-1, keepdims=True), summed)
        relevance = linear.transpose(ratio, c["t"], one) * ops.ones_like(a[0])
        return Flow((relevance,), lambda: (none(R), none(R)))

    @staticmethod
    def _boxes(linear: Any) -> bool:
        return isinstance(linear, Dense) or (isinstance(linear, Conv) and linear.groups == 1)

    def cost(self, site: Site) -> float:
        return 0.0 if self._boxes(site.node.linear) else 1.0


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
        linear, w = site.node.linear.whole, site.node.linear.composite(site.node.kernel)
        plus, minus = np.maximum(w, 0), np.maximum(-w, 0)
        low = self.low if site.low is None else site.low
        high = self.high if site.high is None else site.high
        return {
            "p": plus, "pt": linear.flip(plus), "n": minus, "nt": linear.flip(minus),
            "low": np.asarray(low, float), "high": np.asarray(high, float),
        }  # fmt: skip

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        linear = site.node.linear.whole
        x = after(a[0], R)
        above, below = x - c["low"], c["high"] - x
        ratio = divide(R, linear.apply(above, c["p"]) + linear.apply(below, c["n"]))
        relevance = above * linear.transpose(ratio, c["pt"], x) + below * linear.transpose(ratio, c["nt"], x)
        return Flow((relevance,), lambda: _accounts([(ratio, None, 1.0)], R))

    def cost(self, site: Site) -> float:
        return 4.0


@dataclass(frozen=True)
class Gradient(Rule):
    """The plain chain rule: `R_i = sum_k w_ik R_k`."""

    proportional: ClassVar[bool | None] = False
    composite: ClassVar[bool] = False

    def constants(self, site: Site) -> dict[str, Any]:
        return {"t": site.node.linear.flip(site.node.kernel)}

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        relevance = site.node.linear.transpose(R, c["t"], a[0])
        return Flow((relevance,), lambda: (none(R), total(R) - total(relevance)))


__all__ = [
    "AlphaBeta", "Constants", "Epsilon", "Flat", "Flow", "Gamma", "Gradient", "Rule", "Site", "WSquare",
    "ZBox", "ZPlus", "Zero", "divide", "stab", "total",
]  # fmt: skip
