"""Is a run good enough? A policy's checks against the stored tables: exit code, Markdown, JUnit XML.

Reads ``manifest.json`` and ``ranking.json`` only; the Parquet tables where a check asks for a stored metric,
or where the ranking is missing or older than the run. Missing data fails, never passes.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError
from reports.gate.policy import (
    INTERVENTION_COUNTS,
    OVERALL,
    VERDICT_COUNTS,
    Check,
    Policy,
    PolicyError,
    Value,
    load_policy,
    parse_policy,
    show,
)
from reports.gate.run_folder import RunFolder

__all__ = ["Policy", "PolicyError", "Result", "Verdict", "evaluate", "load_policy", "parse_policy"]

_AGGREGATE: Mapping[str, Callable[[Sequence[float]], float]] = {
    "mean": statistics.fmean,
    "median": statistics.median,
    "min": min,
    "max": max,
}
_LISTED = 20  # breaches that the Markdown shows per check


@dataclass(frozen=True)
class Finding:
    """One value that was judged: of the run (``subject`` empty) or of a class."""

    subject: str
    value: Value | None
    passed: bool
    message: str


@dataclass(frozen=True)
class Result:
    """One check and what it found; ``excused``: known classes that would have failed."""

    name: str
    findings: tuple[Finding, ...]
    excused: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """All findings pass, and there is one."""
        return bool(self.findings) and all(f.passed for f in self.findings)

    @property
    def message(self) -> str:
        """What was found, in one line."""
        if len(self.findings) == 1:
            text = self.findings[0].message
        else:
            text = f"{self.name}: {len(self.breaches)} of {len(self.findings)} classes in breach"
        return text + (f" (known and excused: {', '.join(self.excused)})" if self.excused else "")

    @property
    def breaches(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if not f.passed)


@dataclass(frozen=True)
class Verdict:
    """The outcome of a policy on a run."""

    run: str
    checks: tuple[Result, ...]

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(r.passed for r in self.checks)

    @property
    def exit_code(self) -> int:
        """0: every check holds. 1: a breach."""
        return 0 if self.passed else 1

    def markdown(self) -> str:
        """A headline, a table of the checks and, below, every breach (the first 20 of a check)."""
        failed = sum(not r.passed for r in self.checks)
        head = "passed" if self.passed else f"failed: {failed} of {len(self.checks)} checks"
        lines = [f"# Gate {head}", "", f"Run: {_cell(self.run)}", "", "| check | result |", "| --- | --- |"]
        words = {True: "pass", False: "FAIL"}
        lines += [f"| {_cell(r.name)} | {words[r.passed]}: {_cell(r.message)} |" for r in self.checks]
        for result in self.checks:
            if len(result.findings) > 1 and result.breaches:
                lines += ["", f"## {_cell(result.name)}", ""]
                lines += [f"- {_cell(f.message)}" for f in result.breaches[:_LISTED]]
                if (more := len(result.breaches) - _LISTED) > 0:
                    lines.append(f"- and {more} more")
        return "\n".join(lines) + "\n"

    def junit(self) -> str:
        """JUnit XML: a test suite per check, a test case per judged class (or one for the run)."""
        from reports.gate.junit import junit_xml

        return junit_xml(self)

    def to_markdown(self, path: str | Path) -> None:
        """Write :meth:`markdown`. Raises :class:`InputError` when the file cannot be written."""
        _write(path, self.markdown())

    def to_junit(self, path: str | Path) -> None:
        """Write :meth:`junit`. Raises :class:`InputError` when the file cannot be written."""
        _write(path, self.junit())


def _write(path: str | Path, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}; choose another file") from None


def _cell(text: str) -> str:
    """Text that cannot break a Markdown table or smuggle in markup."""
    flat = "".join(c if c.isprintable() else " " for c in text)
    for mark in "\\`*_[]<>|":
        flat = flat.replace(mark, "\\" + mark)
    return flat


def evaluate(run: str | Path, policy: Policy | str | Path) -> Verdict:
    """Apply ``policy`` (or the TOML file that holds it) to the run folder.

    Raises:
        PolicyError: a policy that is not valid, or asks for a class, metric or method that the run does not
            have (the nearest is named).
        InputError: not a run folder.
    """
    policy = policy if isinstance(policy, Policy) else load_policy(policy)
    evidence = RunFolder(str(run))
    known = {k for name in policy.known for k in evidence.labels_of(name, "known class")}
    results = [] if policy.allow_incomplete else [_complete(evidence)]
    results += [_apply(check, evidence, known) for check in policy.checks]
    return Verdict(str(run), tuple(results))


def _complete(run: RunFolder) -> Result:
    planned = run.manifest.get("shards") or []
    missing = [key for key in planned if key not in run.done]
    message = f"{len(planned) - len(missing)} of {len(planned)} planned shards are finished"
    return Result("run complete", (Finding("", None, not missing and bool(planned), message),))


def _apply(check: Check, run: RunFolder, known: set[int]) -> Result:
    if check.scope == "class":
        return _per_class(check, run, known)
    value, why, excused = _overall(check, run, known)
    return Result(check.name, (_finding(check, "", value, why),), excused)


def _finding(check: Check, subject: str, value: Value | None, why: str) -> Finding:
    """Judge one value; the operators decide and word the message."""
    what = check.statistic or check.metric
    if check.scope == "overall" and what not in OVERALL:
        what = f"{check.aggregate} {what}"
    of = f"{what} of {subject}" if subject else what
    if value is None:
        return Finding(subject, None, False, f"{of} is missing: {why}")
    broken = [o for o in check.operators if not o.holds(value)]
    demand = " and ".join(str(o) for o in broken or check.operators)
    text = f"{of} is {show(value)}, {'must be' if broken else 'as demanded'} {demand}"
    return Finding(subject, value, not broken, text)


def _per_class(check: Check, run: RunFolder, known: set[int]) -> Result:
    wanted = {k for name in check.classes for k in run.labels_of(name, f"check {check.name!r}: class")}
    values = run.metric(check, per_class=True) if check.metric else None
    findings, excused = [], []
    for row in run.classes:
        if (wanted and row["label"] not in wanted) or row["n"] < check.min_images:
            continue
        value = row.get(check.statistic) if values is None else values.get(row["label"])
        why = f"undefined with {row['n']} of {row['n_images']} images ranked"
        found = _finding(check, run.name(row), value, why)
        if row["label"] not in known:
            findings.append(found)
        elif not found.passed:
            excused.append(run.name(row))
    absent = wanted - {row["label"] for row in run.classes}
    findings += [
        Finding(run.class_names[k], None, False, f"class {run.class_names[k]} has no image in this run")
        for k in sorted(absent - known)
    ]
    if not findings:
        nothing = f"no class has {check.min_images} ranked images and is not known: nothing could be judged"
        findings = [Finding("", None, False, nothing)]
    return Result(check.name, tuple(findings), tuple(excused))


def _overall(check: Check, run: RunFolder, known: set[int]) -> tuple[Value | None, str, tuple[str, ...]]:
    """(value, why it is missing, excused classes) of a check of the whole run."""
    name, summary = check.statistic, run.summary
    if check.metric == "accuracy" and check.images == "all" and check.aggregate == "mean":
        return summary["accuracy"], "no image has a prediction", ()  # without reading the tables
    if check.metric:
        return run.metric(check, per_class=False).get(-1), "no image has a defined value", ()
    if name in (*VERDICT_COUNTS, *INTERVENTION_COUNTS):
        tested = name in INTERVENTION_COUNTS
        classes = run.interventions if tested else run.classes
        rows = [row for row in classes if row["verdict"] == name.removeprefix("n_")]
        excused = tuple(run.name(row) for row in rows if row["label"] in known)
        why = "no class has images"
        if tested:
            why = "the run as it is was not tested by interventions: run `hansaudit confirm`"
        return len(rows) - len(excused) if classes else None, why, excused
    if name == "failed_fraction":
        n = summary["n_images"]
        return summary["statuses"]["failed"] / n if n else None, "the run has no image", ()
    if name.startswith("correlation_"):
        return summary["correlations"].get(name.removeprefix("correlation_")), "too few classes", ()
    if name in OVERALL:
        return summary.get(name), "the ranking does not hold it", ()
    rows = [r for r in run.classes if r["n"] >= check.min_images and r["label"] not in known]
    values = [float(row[name]) for row in rows if row.get(name) is not None]
    if len(values) < len(rows) or not values:
        return (
            None,
            f"{len(values)} of {len(rows)} classes have a value (min_images leaves out the small)",
            (),
        )
    return _AGGREGATE[check.aggregate](values), "", ()
