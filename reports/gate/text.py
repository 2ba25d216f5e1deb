"""A gate's outcome as plain text: what a terminal shows below a check, and what a failed test says."""

from __future__ import annotations

from typing import Final

from reports.gate.outcome import Outcome, Result

_NAMED: Final = 10  # classes of a check that are named


def details(check: Result) -> list[str]:
    """What a check says below its first line: classes, what is waived, what to do next."""
    if check.per_class:
        named = [finding.message for finding in check.open]
    else:
        named = [str(note) for finding in check.open for note in finding.classes]
    if len(named) > _NAMED:
        named = [*named[:_NAMED], f"and {len(named) - _NAMED} more classes"]
    waived = [f"waived, not passed: {note}" for note in check.waived]
    return [*named, *waived, *check.notes, *(f"next: {step}" for step in check.steps)]


def as_text(outcome: Outcome) -> str:
    """The whole outcome, the headline first."""
    lines = [f"gate {outcome.headline}"]
    for check in outcome.checks:
        lines += [f"{check.word}: {check.message}", *(f"    {line}" for line in details(check))]
    return "\n".join([*lines, *(f"warning: {note}" for note in outcome.notes)])
