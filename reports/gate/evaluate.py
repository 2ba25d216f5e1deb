"""Is a run good enough? A policy's checks against the stored tables.

Reads ``manifest.json`` and ``ranking.json``; the Parquet tables where a check asks for a stored metric, or
where no ranking is stored. A ranking that does not fit the run as it is (other shards or other parts, method
or settings than the run's own) is refused, and so are parts that are not those of the run. Missing data
fails, never passes.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from reports.gate.gated_run import GatedRun
from reports.gate.operators import Value, show
from reports.gate.outcome import Finding, Outcome, Result
from reports.gate.policy import Check, Policy, load_policy
from reports.gate.statistics import AGGREGATES, OF_RUN, Measured


def evaluate(run: str | Path, policy: Policy | str | Path) -> Outcome:
    """Apply ``policy`` (or the TOML file that holds it) to the run folder.

    Raises:
        PolicyError: a policy that is not valid, or asks for a class, metric or method that the run does not
            have (the nearest is named).
        InputError: not a run folder, its stored ranking is not that of the run as it is, or its parts are not
            what was written.
    """
    policy = policy if isinstance(policy, Policy) else load_policy(policy)
    gated = GatedRun(str(run))
    gated.refuse_faulty()
    excused = {k for name in policy.known for k in gated.labels_of(name, "known class")}
    results = [] if policy.allow_incomplete else [_complete(gated)]
    results += [_apply(check, gated, excused) for check in policy.checks]
    return Outcome(str(run), tuple(results))


def _complete(run: GatedRun) -> Result:
    planned = run.manifest.get("shards") or []
    missing = [key for key in planned if key not in run.done]
    message = f"{len(planned) - len(missing)} of {len(planned)} planned shards are finished"
    return Result("run complete", (Finding("", None, not missing and bool(planned), message),))


def _apply(check: Check, run: GatedRun, excused: Collection[int]) -> Result:
    if check.scope == "class":
        return _per_class(check, run, excused)
    measured = _overall(check, run, excused)
    return Result(check.title, (_finding(check, "", measured.value, measured.missing),), measured.excused)


def _finding(check: Check, subject: str, value: Value | None, missing: str) -> Finding:
    """Judge one value; the operators decide and word the message."""
    of = f"{check.subject} of {subject}" if subject else check.subject
    if value is None:
        return Finding(subject, None, False, f"{of} is missing: {missing}")
    broken = [o for o in check.operators if not o.holds(value)]
    demand = " and ".join(str(o) for o in broken or check.operators)
    text = f"{of} is {show(value)}, {'must be' if broken else 'as demanded'} {demand}"
    return Finding(subject, value, not broken, text)


def _per_class(check: Check, run: GatedRun, excused: Collection[int]) -> Result:
    asked = {k for name in check.classes for k in run.labels_of(name, f"check {check.title!r}: class")}
    values = run.metric(check, per_class=True) if check.metric else None
    findings, spared = [], []
    for row in run.classes:
        if (asked and row["label"] not in asked) or row["n"] < check.min_images:
            continue
        value = row.get(check.statistic) if values is None else values.get(row["label"])
        missing = f"undefined with {row['n']} of {row['n_images']} images ranked"
        finding = _finding(check, run.name(row), value, missing)
        if row["label"] not in excused:
            findings.append(finding)
        elif not finding.passed:
            spared.append(run.name(row))
    findings += _absent(run, asked - set(excused))
    if not findings:
        nothing = f"no class has {check.min_images} ranked images and is not known: nothing could be judged"
        findings = [Finding("", None, False, nothing)]
    return Result(check.title, tuple(findings), tuple(spared))


def _absent(run: GatedRun, asked: Collection[int]) -> list[Finding]:
    """Classes that were asked for by name and have no image."""
    absent = set(asked) - {row["label"] for row in run.classes}
    return [
        Finding(run.class_names[k], None, False, f"class {run.class_names[k]} has no image in this run")
        for k in sorted(absent)
    ]


def _overall(check: Check, run: GatedRun, excused: Collection[int]) -> Measured:
    """What a check of the whole run judges."""
    if check.statistic in OF_RUN:
        return OF_RUN[check.statistic](run, excused)
    if check.metric == "accuracy" and check.images == "all" and check.aggregate == "mean":
        return OF_RUN["accuracy"](run, excused)  # without reading the tables
    if check.metric:
        return Measured(run.metric(check, per_class=False).get(-1), "no image has a defined value")
    rows = [r for r in run.classes if r["n"] >= check.min_images and r["label"] not in excused]
    values = [float(row[check.statistic]) for row in rows if row.get(check.statistic) is not None]
    if len(values) < len(rows) or not values:
        few = f"{len(values)} of {len(rows)} classes have a value (min_images leaves out the small)"
        return Measured(None, few)
    return Measured(AGGREGATES[check.aggregate](values))
