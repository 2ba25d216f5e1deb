"""What is computed from the perturbation curves of one image and method: a registry.

A metric is one function decorated with :func:`curve_metric` here; its parameters name the curves that it is
computed from, and nothing else has to be touched to add one. Pure NumPy.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from pipeline.terms import CurveOrder

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class CurveMetric:
    """One number per image and method.

    Attributes:
        name: as in the ``scores`` table.
        about: what it is, in one line.
        unit: unit of the value.
        better: whether a higher or a lower value means that the map describes the network better.
        orders: the curves that it is computed from.
        function: those curves, each (L + 1,), in that order, to the value.
    """

    name: str
    about: str
    unit: str
    better: Better
    orders: tuple[CurveOrder, ...]
    function: Callable[..., float] = field(repr=False)

    @property
    def sign(self) -> float:
        """1 where higher is better, else -1."""
        return 1.0 if self.better == "higher" else -1.0

    def __call__(self, curves: Mapping[CurveOrder, np.ndarray]) -> float:
        """The value of the ``curves`` of one image and method, which hold all of :attr:`orders`."""
        return self.function(*(np.asarray(curves[order], np.float64) for order in self.orders))


CURVE_METRICS: Final[dict[str, CurveMetric]] = {}


def curve_metric(unit: str, better: Better) -> Callable[[Callable[..., float]], Callable[..., float]]:
    """Register the decorated function under its own name; its docstring's first line is ``about``."""

    def register(function: Callable[..., float]) -> Callable[..., float]:
        name, about = function.__name__, (function.__doc__ or "").strip().partition("\n")[0]
        if name in CURVE_METRICS:
            raise ValueError(f"curve metric {name!r} is registered twice")
        orders = tuple(map(CurveOrder, inspect.signature(function).parameters))
        CURVE_METRICS[name] = CurveMetric(name, about, unit, better, orders, function)
        return function

    return register


def metrics_of(orders: Collection[CurveOrder]) -> tuple[CurveMetric, ...]:
    """The metrics that curves of these orders allow, in the order in which they are registered."""
    return tuple(m for m in CURVE_METRICS.values() if set(m.orders) <= set(orders))


def aopc(curve: np.ndarray) -> float:
    """``1 / (L + 1) sum_{k=0..L} f(x_0) - f(x_k)`` of ``curve`` (L + 1,), Samek et al. 2017, equation 12."""
    return float(np.mean(curve[0] - curve))


def area_under(curve: np.ndarray) -> float:
    """Trapezoidal area under a curve over the share of perturbed pixels, equally spaced from 0 to 1."""
    return float(np.trapezoid(curve, dx=1 / (len(curve) - 1)))


@curve_metric("score", "higher")
def aopc_morf(morf: np.ndarray) -> float:
    """Mean drop of the score, most relevant regions first."""
    return aopc(morf)


@curve_metric("score", "lower")
def aopc_lerf(lerf: np.ndarray) -> float:
    """Mean drop of the score, least relevant regions first."""
    return aopc(lerf)


@curve_metric("score", "higher")
def aopc_random(random: np.ndarray) -> float:
    """Mean drop of the score, regions in random order: the same for every method."""
    return aopc(random)


@curve_metric("score", "higher")
def aopc_morf_random(morf: np.ndarray, random: np.ndarray) -> float:
    """``aopc_morf - aopc_random``: what the map knows beyond chance."""
    return aopc(morf) - aopc(random)


@curve_metric("score", "higher")
def aopc_gap(morf: np.ndarray, lerf: np.ndarray) -> float:
    """``aopc_morf - aopc_lerf``: the area between the two curves."""
    return aopc(morf) - aopc(lerf)


@curve_metric("probability", "lower")
def deletion_auc(deletion: np.ndarray) -> float:
    """Area under the deletion curve (Petsiuk et al. 2018)."""
    return area_under(deletion)


@curve_metric("probability", "higher")
def insertion_auc(insertion: np.ndarray) -> float:
    """Area under the insertion curve (Petsiuk et al. 2018)."""
    return area_under(insertion)
