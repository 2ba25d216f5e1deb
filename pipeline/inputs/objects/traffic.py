"""What the object stores were asked for by this process, and how often a request had to be repeated."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True)
class Amount:
    """``requests`` that were answered, their ``bytes``, and how many were ``repeated`` for which reason."""

    requests: int = 0
    bytes: int = 0
    repeated: Mapping[str, int] = field(default_factory=dict)

    def __sub__(self, before: Amount) -> Amount:
        repeated = Counter(self.repeated)
        repeated.subtract(before.repeated)
        return Amount(self.requests - before.requests, self.bytes - before.bytes, dict(+repeated))

    def to_dict(self) -> dict[str, Any]:
        """For a run's manifest; empty where no store was asked."""
        if not self.requests and not self.repeated:
            return {}
        repeated = dict(sorted(self.repeated.items()))
        return {"requests": self.requests, "bytes": self.bytes, "repeated": repeated}

    @property
    def line(self) -> str:
        """In words, for people; empty where no store was asked."""
        if not self.requests and not self.repeated:
            return ""
        text = f"object store: {self.requests:,} requests, {self.bytes / 1e6:,.1f} MB"
        if not self.repeated:
            return f"{text}; none was repeated"
        reasons = ", ".join(f"{count} x {why}" for why, count in sorted(self.repeated.items()))
        return f"{text}; {sum(self.repeated.values())} were repeated ({reasons})"


class Traffic:
    """A sum over all threads of a process, and what of it was told already."""

    def __init__(self) -> None:
        self._told = Amount()
        self._lock = threading.Lock()
        self._requests, self._bytes = 0, 0
        self._repeated: Counter[str] = Counter()

    def answered(self, size: int) -> None:
        """A request was answered, with ``size`` bytes of content."""
        with self._lock:
            self._requests += 1
            self._bytes += size

    def repeat(self, why: str) -> None:
        """A request is made again."""
        with self._lock:
            self._repeated[why] += 1

    def add(self, amount: Amount) -> None:
        """What another process asked for."""
        with self._lock:
            self._requests += amount.requests
            self._bytes += amount.bytes
            self._repeated.update(amount.repeated)

    @property
    def amount(self) -> Amount:
        """Until now."""
        with self._lock:
            return Amount(self._requests, self._bytes, dict(self._repeated))

    @property
    def untold(self) -> Amount:
        """Since :meth:`tell`, or from the begin on."""
        return self.amount - self._told

    def tell(self) -> Amount:
        """What is untold, and is told by this."""
        untold = self.untold
        self._told = self.amount
        return untold


TRAFFIC: Final = Traffic()  # of this process
