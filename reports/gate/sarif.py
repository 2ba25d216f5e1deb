"""A gate's outcome as SARIF 2.1.0, as code hosts show it beside a change."""

from __future__ import annotations

import json
from typing import Any, Final

from reports.gate.outcome import Finding, Outcome, Result
from reports.gate.state import State

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS: Final = {State.FAIL: "error", State.INCONCLUSIVE: "warning", State.PASS: "note"}


def sarif(outcome: Outcome) -> str:
    """A rule per check, a result per class (or run) that does not pass; waived ones are suppressed."""
    rules = [
        {"id": f"check-{k}", "name": r.name, "shortDescription": {"text": f"{r.name}: {r.demand}"}}
        for k, r in enumerate(outcome.checks, start=1)
    ]
    results = [
        _result(finding, result, f"check-{k}", outcome)
        for k, result in enumerate(outcome.checks, start=1)
        for finding in result.findings
        if finding.state is not State.PASS
    ]
    driver = {"name": "hansaudit", "informationUri": "https://pypi.org/project/hansaudit/", "rules": rules}
    content = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    return json.dumps(content, indent=1, ensure_ascii=True) + "\n"


def _result(finding: Finding, result: Result, rule: str, outcome: Outcome) -> dict[str, Any]:
    state = outcome.inconclusive if finding.state is State.INCONCLUSIVE else finding.state
    named = [] if result.per_class else [str(note) for note in finding.classes]
    said = "\n".join([finding.message, *named, *(f"next: {step}" for step in result.steps)])
    entry: dict[str, Any] = {"ruleId": rule, "level": _LEVELS[state], "message": {"text": said}}
    # a host shows no result without a place: the report, or the run where there is none
    place = {"artifactLocation": {"uri": _uri(outcome.report or outcome.run)}}
    entry["locations"] = [{"physicalLocation": place}]
    if finding.waiver:
        entry["suppressions"] = [{"kind": "external", "justification": finding.waiver}]
    return entry


def _uri(path: str) -> str:
    from urllib.parse import quote

    return path if "://" in path else quote(path, errors="replace")
