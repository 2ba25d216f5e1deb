"""A gate's outcome as Markdown, for a pull request or a job's summary."""

from __future__ import annotations

from reports.gate.outcome import Outcome

_LISTED = 20  # breaches that are shown per check


def markdown(outcome: Outcome) -> str:
    """A headline, a table of the checks and, below, every breach (the first 20 of a check)."""
    failed = sum(not r.passed for r in outcome.checks)
    head = "passed" if outcome.passed else f"failed: {failed} of {len(outcome.checks)} checks"
    lines = [f"# Gate {head}", "", f"Run: {cell(outcome.run)}", "", "| check | result |", "| --- | --- |"]
    words = {True: "pass", False: "FAIL"}
    lines += [f"| {cell(r.name)} | {words[r.passed]}: {cell(r.message)} |" for r in outcome.checks]
    for result in outcome.checks:
        if len(result.findings) > 1 and result.breaches:
            lines += ["", f"## {cell(result.name)}", ""]
            lines += [f"- {cell(f.message)}" for f in result.breaches[:_LISTED]]
            if (more := len(result.breaches) - _LISTED) > 0:
                lines.append(f"- and {more} more")
    return "\n".join(lines) + "\n"


def cell(text: str) -> str:
    """Text that cannot break a Markdown table or smuggle in markup."""
    flat = "".join(c if c.isprintable() else " " for c in text)
    for mark in "\\`*_[]<>|":
        flat = flat.replace(mark, "\\" + mark)
    return flat
