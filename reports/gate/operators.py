"""The operators of a policy: what a value must be, in the light of its uncertainty."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from reports.gate.state import State

Value = float | str


@dataclass(frozen=True)
class Estimate:
    """A value and what it may be instead.

    Attributes:
        low, high: its interval (95 %), or for a count of classes what it is at least and at most once the
            undecided ones are decided; None where the value is exact or nothing is known of its uncertainty.
        may_become: for a word, what it may become once it is decided; empty where it is.
        missing: why there is no value.
    """

    value: Value | None
    low: float | None = None
    high: float | None = None
    may_become: tuple[str, ...] = ()
    missing: str = ""

    @property
    def has_interval(self) -> bool:
        return self.low is not None and self.high is not None

    @property
    def candidates(self) -> Sequence[Value]:
        """What it may be: the value, and either the ends of its interval or the words it may become."""
        ends = [end for end in (self.low, self.high) if end is not None]
        return [] if self.value is None else [self.value, *ends, *self.may_become]

    def __str__(self) -> str:
        if self.value is None:
            return "missing"
        if not self.has_interval or self.low == self.high:
            return show(self.value)
        return f"{show(self.value)} [{show(float(self.low or 0))}, {show(float(self.high or 0))}]"


@dataclass(frozen=True)
class Operator(ABC):
    """Decides whether a value is acceptable, and words what it demands: the message cannot disagree."""

    limit: Any

    @abstractmethod
    def holds(self, value: Value) -> bool:
        """Whether ``value`` is acceptable."""

    @abstractmethod
    def __str__(self) -> str:
        """What is demanded, after "must be"."""

    def judge(self, estimate: Estimate) -> State:
        """Pass or fail where all that the value may be agrees; inconclusive where it does not, or is missing.

        All operators on numbers are monotone: what holds at both ends of an interval holds inside.
        """
        held = {self.holds(candidate) for candidate in estimate.candidates}
        if len(held) != 1:
            return State.INCONCLUSIVE
        return State.PASS if held == {True} else State.FAIL


class AtLeast(Operator):
    """``min``"""

    def holds(self, value: Value) -> bool:
        return value >= self.limit

    def __str__(self) -> str:
        return f"at least {show(self.limit)}"


class AtMost(Operator):
    """``max``"""

    def holds(self, value: Value) -> bool:
        return value <= self.limit

    def __str__(self) -> str:
        return f"at most {show(self.limit)}"


class Above(Operator):
    """``above``"""

    def holds(self, value: Value) -> bool:
        return value > self.limit

    def __str__(self) -> str:
        return f"above {show(self.limit)}"


class Below(Operator):
    """``below``"""

    def holds(self, value: Value) -> bool:
        return value < self.limit

    def __str__(self) -> str:
        return f"below {show(self.limit)}"


class OneOf(Operator):
    """``one_of``"""

    def holds(self, value: Value) -> bool:
        return value in self.limit

    def __str__(self) -> str:
        return "one of " + ", ".join(map(show, self.limit))


class NoneOf(Operator):
    """``none_of``: a word that is named fails, also one that may still change."""

    def holds(self, value: Value) -> bool:
        return value not in self.limit

    def judge(self, estimate: Estimate) -> State:
        named = estimate.value is not None and not self.holds(estimate.value)
        return State.FAIL if named else super().judge(estimate)

    def __str__(self) -> str:
        return "none of " + ", ".join(map(show, self.limit))


OPERATORS: Final[dict[str, type[Operator]]] = {
    "min": AtLeast,
    "max": AtMost,
    "above": Above,
    "below": Below,
    "one_of": OneOf,
    "none_of": NoneOf,
}
ON_WORDS: Final = ("one_of", "none_of")  # the others judge numbers


def show(value: Value) -> str:
    """A value as people write it: 4 significant digits, whole numbers whole."""
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e15):
        return str(int(value))
    return f"{value:.4g}"
