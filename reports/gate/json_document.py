"""A gate's outcome as JSON, for programs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any, Final

from reports.gate.outcome import Finding, Outcome, Result

VERSION: Final = 1


def outcome_json(outcome: Outcome) -> str:
    """Everything that the gate says; the states are pass, fail and inconclusive."""
    content = {
        "version": VERSION,
        "run": outcome.run,
        "report": outcome.report,
        "baseline": outcome.baseline,
        "state": outcome.state,
        "counts_as": outcome.counts_as,
        "headline": outcome.headline,
        "checks": [_check(result) for result in outcome.checks],
        "notes": list(outcome.notes),
    }
    return json.dumps(content, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def _check(result: Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "state": result.state,
        "message": result.message,
        "demand": result.demand,
        "findings": [_finding(finding) for finding in result.findings],
        "waived": [asdict(note) for note in result.waived],
        "steps": list(result.steps),
        "notes": list(result.notes),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    estimate = finding.estimate
    return {
        "class": finding.subject or None,
        "state": finding.state,
        "message": finding.message,
        "value": estimate.value,
        "low": _finite(estimate.low),
        "high": _finite(estimate.high),
        "waiver": finding.waiver or None,
        "classes": [asdict(note) for note in finding.classes],
    }


def _finite(end: float | None) -> float | None:
    """An end of an interval; null where nothing is known of it."""
    return end if end is not None and math.isfinite(end) else None
