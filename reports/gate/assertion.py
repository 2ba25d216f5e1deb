"""The gate inside a test: one function for pytest, or any other runner of tests."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from reports.gate.evaluate import evaluate
from reports.gate.outcome import Outcome
from reports.gate.policy import Policy
from reports.gate.text import as_text


def assert_gate(
    run: str | Path, policy: Policy | str | Path, baseline: str | Path = "", today: date | None = None
) -> Outcome:
    """The outcome of a gate that passes; otherwise an error that says which classes, why, and what next.

    Inconclusive is no pass, unless the policy says so. Parameters and other errors: as
    :func:`reports.gate.evaluate.evaluate`.

    Raises:
        AssertionError: the gate fails or is inconclusive.
    """
    __tracebackhide__ = True  # pytest shows the line of the test
    outcome = evaluate(run, policy, today, baseline)
    if not outcome.passed:
        raise AssertionError(as_text(outcome))
    return outcome
