"""The three states of a check."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.terms import Term


class State(Term):
    """What is said of a demand, worst first."""

    FAIL = "fail", "it does not hold, whatever the uncertainty"
    INCONCLUSIVE = "inconclusive", "too little is known to say whether it holds"
    PASS = "pass", "it holds, and enough is known to have seen it if it did not"


def worst(states: Iterable[State]) -> State:
    """The worst of them; of nothing nothing is known."""
    return min(states, key=list(State).index, default=State.INCONCLUSIVE)
