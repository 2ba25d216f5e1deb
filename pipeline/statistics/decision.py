"""When a class gets which verdict: comparisons of its figures with limits, which also word themselves."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.config_sections import RankingConfig
from pipeline.statistics.arrays import Flags
from pipeline.verdicts import MapVerdict

POWER: Final = 0.95  # of the absolute test: that the object was not found must be no accident

# comparison -> (function, in words)
_COMPARISONS: Final[Mapping[str, tuple[Callable[[Any, float], Any], str]]] = {
    "<": (operator.lt, "below"),
    "<=": (operator.le, "at most"),
    ">": (operator.gt, "above"),
    ">=": (operator.ge, "at least"),
}


@dataclass(frozen=True)
class Criterion:
    """``column comparison limit``: what it says is what it decides. An undefined value fulfils none.

    >>> str(Criterion("q_relative", "<=", 0.05)), Criterion("q_relative", "<=", 0.05).demand
    ('q_relative <= 0.05', 'at most 0.05')
    """

    column: str
    comparison: str
    limit: float

    def holds(self, value: Any) -> Any:
        """Whether ``value``, or each of an array, fulfils it."""
        return _COMPARISONS[self.comparison][0](value, self.limit)

    @property
    def demand(self) -> str:
        """What is demanded of the value, after "is" or "must be"."""
        return f"{_COMPARISONS[self.comparison][1]} {self.limit:g}"

    def __str__(self) -> str:
        return f"{self.column} {self.comparison} {self.limit:g}"


def criteria(config: RankingConfig) -> dict[MapVerdict, tuple[Criterion, ...]]:
    """What a class must fulfil, all of it, for a verdict; the first that applies. ``undecided`` is the rest.

    Both ask for the relevant effect: a class is suspicious where it is shown (and is more than classes of
    this run differ), unremarkable where it is excluded.
    """
    enough = Criterion("n", ">=", config.n_min)
    return {
        MapVerdict.SUSPICIOUS: (
            Criterion("q_relative", "<=", config.level),
            enough,
        ),
        MapVerdict.UNFOCUSED: (
            Criterion("q_absolute", ">", config.level),
            Criterion("power_absolute", ">=", POWER),
        ),
        MapVerdict.UNREMARKABLE: (Criterion("low", ">", config.relevant_effect), enough),
    }


def map_verdicts(table: pd.DataFrame, config: RankingConfig) -> NDArray[Any]:
    """The verdict of every row: the first whose :func:`criteria` all hold."""
    rules = criteria(config)
    fulfilled: list[Flags] = [
        np.logical_and.reduce([rule.holds(table[rule.column].to_numpy()) for rule in demanded])
        for demanded in rules.values()
    ]
    return np.select(fulfilled, list(rules), default=MapVerdict.UNDECIDED)
