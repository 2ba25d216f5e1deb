"""The operators of a policy: what a value must be."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Final

Value = float | str


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
    """``none_of``"""

    def holds(self, value: Value) -> bool:
        return value not in self.limit

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
