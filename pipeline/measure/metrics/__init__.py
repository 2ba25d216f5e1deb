"""Metrics of one explanation: a registry, and :func:`measure`, which applies them to a batch.

A metric is one function decorated with :func:`metric` in any module of this package; nothing else has to be
touched to add one. Undefined is ``nan`` inside, null with a reason in the tables, never 0 and never dropped.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Literal

import numpy as np

from pipeline.config import ConfigError
from pipeline.schema import STATUS_FAILED, STATUS_OK

Pooling = Literal["abs_sum", "sum", "positive"]

ZERO_MAP = "the map is zero everywhere"
NOT_FINITE = "the map holds values that are not finite"


@dataclass(frozen=True)
class MaskedMaps:
    """What a metric sees: the maps and masks of the images for which it can be defined.

    Attributes:
        relevance: signed relevance in the model's input geometry, ``n h w c``.
        mask: M, union of the boxes in the same geometry, ``n h w`` bool.
        pooling: how the channels became one map; see :func:`pool`.
    """

    relevance: np.ndarray
    mask: np.ndarray
    pooling: Pooling = "abs_sum"

    @cached_property
    def pooled(self) -> np.ndarray:
        """The pooled map P >= 0, ``n h w``."""
        return pool(self.relevance, self.pooling)

    @cached_property
    def positive(self) -> np.ndarray:
        """R+: positive part of the relevance summed over channels, whatever the pooling, ``n h w``."""
        return self.pooled if self.pooling == "positive" else pool(self.relevance, "positive")

    @cached_property
    def inside(self) -> np.ndarray:
        """Sum of P inside the boxes, ``n`` float64."""
        return masked_sum(self.pooled, self.mask)

    @cached_property
    def total(self) -> np.ndarray:
        """Sum of P, ``n`` float64."""
        return self.pooled.sum(axis=(1, 2), dtype=np.float64)

    @cached_property
    def outside(self) -> np.ndarray:
        """Sum of P outside the boxes, ``n`` float64; summed itself, since a difference would not reach 0."""
        return masked_sum(self.pooled, ~self.mask)

    @cached_property
    def size(self) -> np.ndarray:
        """|M|, pixels inside, ``n``."""
        return self.mask.sum(axis=(1, 2))

    @property
    def pixels(self) -> int:
        """Pixels of one map."""
        return self.mask.shape[1] * self.mask.shape[2]

    @property
    def area(self) -> np.ndarray:
        """A = |M| / (h w), ``n``."""
        return self.size / self.pixels


@dataclass(frozen=True)
class Metric:
    """One number per image and map.

    Attributes:
        name: as in the ``scores`` table and the configuration.
        about: what it is, in one line.
        unit: unit of the value.
        direction: whether a higher or a lower value means better localisation; "none" for a plain quantity.
        range: smallest and largest possible value.
        undefined: reason that is stored where ``function`` returns nan.
        needs: "mask" when the image needs a visible box that does not cover everything.
        function: ``MaskedMaps -> (n,)`` float64.
    """

    name: str
    about: str
    unit: str
    direction: Literal["higher", "lower", "none"]
    range: tuple[float, float]
    undefined: str
    needs: frozenset[str]
    function: Callable[[MaskedMaps], np.ndarray] = field(repr=False)


_REGISTRY: dict[str, Metric] = {}


def metric(
    unit: str,
    direction: Literal["higher", "lower", "none"],
    range: tuple[float, float],
    undefined: str = "the value is not defined",
    needs: frozenset[str] = frozenset({"mask"}),
) -> Callable[[Callable[[MaskedMaps], np.ndarray]], Callable[[MaskedMaps], np.ndarray]]:
    """Register the decorated function under its own name; its docstring's first line is ``about``."""

    def register(function: Callable[[MaskedMaps], np.ndarray]) -> Callable[[MaskedMaps], np.ndarray]:
        about = (function.__doc__ or "").strip().partition("\n")[0]
        name = function.__name__
        if name in _REGISTRY:
            raise ValueError(f"metric {name!r} is registered twice")
        _REGISTRY[name] = Metric(name, about, unit, direction, range, undefined, needs, function)
        return function

    return register


@cache
def list_metrics() -> tuple[Metric, ...]:
    """Every metric, by name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return tuple(_REGISTRY[name] for name in sorted(_REGISTRY))


def get_metric(name: str) -> Metric:
    """The metric called ``name``. Raises :class:`ConfigError` with the known names."""
    known = {m.name: m for m in list_metrics()}
    if name not in known:
        raise ConfigError(f"metric {name!r} is unknown; known metrics: {', '.join(known)}")
    return known[name]


def pool(relevance: np.ndarray, pooling: Pooling) -> np.ndarray:
    """Channels to one map >= 0, ``n h w c -> n h w``.

    ``abs_sum`` is ``sum_c |R|``, ``sum`` is ``|sum_c R|``, ``positive`` is ``max(sum_c R, 0)`` (the
    "sum, pos" pooling of Arras et al. 2022, CLEVR-XAI, section 3.3).
    """
    if pooling == "abs_sum":
        return channel_sum(np.abs(relevance))
    total = channel_sum(relevance)
    return np.abs(total) if pooling == "sum" else np.maximum(total, 0)


def channel_sum(relevance: np.ndarray) -> np.ndarray:
    """``sum_c R``, ``n h w c -> n h w``; channel by channel, which NumPy does faster than a short axis."""
    total = relevance[..., 0].copy()
    for c in range(1, relevance.shape[-1]):
        total += relevance[..., c]
    return total


def masked_sum(maps: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """``sum_{(i,j) in M} maps``: ``n h w`` and ``n h w`` bool to ``n`` float64."""
    return np.where(mask, maps, 0).sum(axis=(1, 2), dtype=np.float64)


@dataclass(frozen=True)
class Measured:
    """A batch: ``value`` (b, m) float64 with nan for undefined, ``reason`` (b, m) object."""

    names: tuple[str, ...]
    value: np.ndarray
    reason: np.ndarray


def measure(
    relevance: np.ndarray,
    mask: np.ndarray,
    blocked: Sequence[tuple[str, str | None]],
    names: Sequence[str],
    pooling: Pooling,
) -> Measured:
    """Apply the metrics ``names`` to a batch of maps.

    Args:
        relevance: ``b h w c``; mask: ``b h w`` bool.
        blocked: per row the status of the image and, where the method itself is undefined, why.
        names: metrics, in the order of the columns of the result.
        pooling: see :func:`pool`.
    """
    shape = (len(relevance), len(names))
    result = Measured(tuple(names), np.full(shape, np.nan), np.full(shape, None, dtype=object))
    status = np.array([s for s, _ in blocked], dtype=object)
    why = _reasons(relevance, blocked)
    # by whether a metric needs the boxes: the rows it can be defined for, and what it sees of them
    seen: dict[bool, tuple[np.ndarray, MaskedMaps]] = {}
    for column, chosen in enumerate(map(get_metric, names)):
        masked = "mask" in chosen.needs
        if masked not in seen:
            usable = np.array([w is None for w in why], dtype=bool)
            usable &= (status == STATUS_OK) if masked else (status != STATUS_FAILED)
            rows = np.flatnonzero(usable)
            seen[masked] = rows, MaskedMaps(_take(relevance, rows), _take(mask, rows), pooling)
        rows, maps = seen[masked]
        if len(rows):
            result.value[rows, column] = chosen.function(maps)
        reason = result.reason[:, column]
        reason[:] = chosen.undefined
        for row in np.setdiff1d(np.arange(len(why)), rows):
            reason[row] = why[row] or status[row]
        reason[np.isfinite(result.value[:, column])] = None
    return result


def _take(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return array if len(rows) == len(array) else array[rows]


def _reasons(relevance: np.ndarray, blocked: Sequence[tuple[str, str | None]]) -> list[str | None]:
    """Per row: why no metric can be defined, whatever it needs of the mask; None where one can."""
    flat = relevance.reshape(len(relevance), -1)
    # min and max see nan and inf alike, in one pass each and without a temporary
    low, high = flat.min(axis=1), flat.max(axis=1)
    reasons: list[str | None] = []
    for row, (status, reason) in enumerate(blocked):
        if status == STATUS_FAILED or reason:
            reasons.append(reason or status)
        elif not (np.isfinite(low[row]) and np.isfinite(high[row])):
            reasons.append(NOT_FINITE)
        else:
            reasons.append(ZERO_MAP if low[row] == high[row] == 0 else None)
    return reasons
