"""In which order things are measured, and what is left when the time is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.gpu.wanted import METHOD, NETWORK

FRAMEWORK = "framework's gradient"
AUDIT_LOOP = f"audit loop, {METHOD}"
CURVES, INTERVENTIONS = "curves", "interventions"
LOOPS = (AUDIT_LOOP, CURVES, INTERVENTIONS)
PEERS = "peers (Zennit, Captum)"
FIRST = (FRAMEWORK, METHOD)
LATER = ("gradient", "lrp.epsilon", "lrp.preset_b")


@dataclass(frozen=True)
class Step:
    """One measurement: of ``what`` on ``network`` in ``precision``."""

    network: str
    what: str
    precision: str

    def __str__(self) -> str:
        return " ".join((self.network, self.what, self.precision))


def steps(networks: Sequence[str], precisions: Sequence[str]) -> Iterator[Step]:
    """All of them, what matters most first: what is wanted of a GPU (`benchmarks.gpu.wanted`), the same on
    other networks, the peers, then the rest. float32 comes first: the others are compared with it.
    """
    main = [name for name in networks if name == NETWORK]
    others = [name for name in networks if name != NETWORK]
    coarse_first = [*reversed(precisions[:1] + precisions[-1:])]
    yield from _each(main, FIRST, precisions)
    yield from _each(main, LOOPS[:1], coarse_first)
    yield from _each(others, FIRST, precisions)
    yield from _each(main, (PEERS,), ("float32",))
    yield from _each(main, LOOPS[1:], coarse_first)
    yield from _each([*main, *others], LATER, precisions)


def _each(networks: Iterable[str], whats: Sequence[str], precisions: Sequence[str]) -> Iterator[Step]:
    return (Step(network, what, p) for network in networks for what in whats for p in precisions)


def within(
    seconds: float,
    all_steps: Iterable[Step],
    do: Callable[[Step], None],
    now: Callable[[], float] = time.monotonic,
) -> list[Step]:
    """``do`` each step, none begun after ``seconds``; returns those that are left."""
    ends, left = now() + seconds, []
    for step in all_steps:
        if now() < ends:
            do(step)
        else:
            left.append(step)
    return left
