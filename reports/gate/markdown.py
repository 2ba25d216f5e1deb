"""A gate's outcome as Markdown: a comment on a pull request, or a job's summary."""

from __future__ import annotations

from collections.abc import Iterable

from reports.gate.outcome import ClassNote, Outcome, Result
from reports.gate.state import State

_LISTED = 20  # classes that are shown per check
_WORDS = {State.PASS: "pass", State.FAIL: "FAIL", State.INCONCLUSIVE: "inconclusive"}


def markdown(outcome: Outcome) -> str:
    """A headline, a table of the checks and, below, what does not pass: classes, numbers, next steps."""
    about = {"Run": outcome.run, "Compared with": outcome.baseline, "Report": outcome.report}
    lines = [f"# Gate {outcome.headline}", "", *(f"- {k}: {cell(v)}" for k, v in about.items() if v)]
    lines += ["", "| check | result |", "| --- | --- |"]
    lines += [f"| {cell(r.name)} | {word(r)}: {cell(r.message)} |" for r in outcome.checks]
    for result in outcome.checks:
        lines += _details(result)
    if outcome.notes:
        lines += ["", "## Warnings", "", *(f"- {cell(note)}" for note in outcome.notes)]
    return "\n".join(lines) + "\n"


def word(result: Result) -> str:
    """The state of a check as it is printed."""
    return "waived, not passed" if result.is_waived else _WORDS[result.state]


def _details(result: Result) -> list[str]:
    """Below the table: the classes of a check, what is waived, what to do."""
    if result.per_class:
        named = [finding.message for finding in result.open]
    else:
        named = [str(note) for finding in result.open for note in finding.classes]
    lines = listed(named, "classes")
    lines += listed((_waived(note) for note in result.waived), "waived classes")
    lines += [cell(note) for note in result.notes]
    lines += [f"next: {cell(step, code=True)}" for step in result.steps]
    return ["", f"## {cell(result.name)}", "", *(f"- {line}" for line in lines)] if lines else []


def listed(items: Iterable[str], what: str) -> list[str]:
    """The first of them, and how many more there are."""
    texts = [cell(item) for item in items]
    more = len(texts) - _LISTED
    return texts[:_LISTED] + ([f"and {more} more {what}"] if more > 0 else [])


def _waived(note: ClassNote) -> str:
    return f"{note.name}: {note.role}, {note.numbers}; waived, not passed ({note.waiver})"


def cell(text: str, code: bool = False) -> str:
    """Text that cannot break a Markdown table or smuggle in markup; ``code``: `` `...` `` stays code.

    What stands in backquotes is a command of ours with names in it, so it must not hold any others.
    """
    flat = "".join(c if c.isprintable() else " " for c in text)
    if code and flat.count("`") == 2:
        before, command, after = flat.split("`")
        return f"{cell(before)}`{command}`{cell(after)}"
    for mark in "\\`*_[]<>|":
        flat = flat.replace(mark, "\\" + mark)
    return flat
