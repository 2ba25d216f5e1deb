"""Rules for the first linear node, whose input is the image: by shares that do not depend on its values
(WSquare, Flat), or by distance to the bounds of the input range (ZBox). They serve any linear node.

Sources: Montavon et al. 2017 (WSquare, ZBox), Lapuschkin et al. 2017 (Flat).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from keras import ops

from explainers.engine import Tensor, after
from explainers.errors import InvalidParameter
from explainers.model.convolutions import Conv
from explainers.model.linear import Dense
from explainers.rules.base import (
    Constants,
    Flow,
    Parts,
    Rule,
    Site,
    divide,
    negative_part,
    positive_part,
    shares_account,
)


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
        return Flow((relevance,), lambda: shares_account([(ratio, None, 1.0)], R))


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
        channel = a[0][..., :1]
        channels = a[0].shape[-1]
        summed = linear.apply(ops.ones_like(channel[:1]), c["w"]) * channels
        received = ops.sum(R, axis=-1, keepdims=True)
        ratio = divide(received, summed)
        relevance = linear.transpose(ratio, c["t"], channel) * ops.ones_like(a[0])
        return Flow((relevance,), lambda: shares_account([(ratio, None, 1.0)], received))

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
        plus, minus = (node.linear.by_sign(node.kernel, f) for f in (positive_part, negative_part))
        low = self.low if site.low is None else site.low
        high = self.high if site.high is None else site.high
        box = {"low": np.asarray(low, float), "high": np.asarray(high, float)}
        return box | Parts.kernels(node.linear.signed, "box", plus, minus)

    def __call__(self, site: Site, c: Constants, a: tuple[Tensor, ...], z: Tensor, R: Tensor) -> Flow:
        x = after(a[0], R)
        parts = Parts(site.node.linear.signed, x - c["low"], c["high"] - x)
        ratio = divide(R, parts.apply(c, "box"))
        relevance = parts.back(c, {"box": ratio})
        return Flow((relevance,), lambda: shares_account([(ratio, None, 1.0)], R))

    def cost(self, site: Site) -> float:
        return 4.0
