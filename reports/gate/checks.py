"""One check of a policy against a run: of every class, or of the run as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reports.decisions.file import WaivedClasses, Waiver
from reports.gate import steps
from reports.gate.classes import BY_EDITS, Row, estimate, images_behind, numbers
from reports.gate.control import could_fail
from reports.gate.gated_run import GatedRun
from reports.gate.operators import Estimate
from reports.gate.outcome import Finding, Result
from reports.gate.policy import Check
from reports.gate.state import State, worst
from reports.gate.statistics import AGAINST_BASELINE, AGGREGATES, NOT_DECIDED, OF_RUN, Asked, Measured


def apply(check: Check, run: GatedRun, waived: WaivedClasses) -> Result:
    """What the check says of the run."""
    waivers = waived.in_check(check.title)
    return _of_classes(check, run, waivers) if check.scope == "class" else _of_run(check, run, waivers)


def _of_run(check: Check, run: GatedRun, waivers: Mapping[int, Waiver]) -> Result:
    measured = _measured(check, run, Asked(waivers, check.coverage))
    state = _judge(check, measured.estimate)
    named = [run.note(row, measured.role, numbers(row, measured.statistic)) for row in measured.having]
    named += [run.note(row, NOT_DECIDED, numbers(row, measured.statistic)) for row in measured.undecided]
    finding = Finding("", state, _message(check, "", measured, state), measured.estimate, tuple(named))
    return Result(
        name=check.title,
        findings=(finding,),
        demand=check.demand,
        coverage=check.coverage,
        waived=measured.waived,
        steps=_steps(check, run, state, measured.having, measured.undecided),
        notes=could_fail(check, measured.judged if measured.role else None),
    )


def _judge(check: Check, value: Estimate) -> State:
    return worst(operator.judge(value) for operator in check.operators)


def _message(check: Check, subject: str, measured: Measured, state: State) -> str:
    """The value with its interval, and what it must be."""
    value, of = measured.estimate, f"{check.subject} of {subject}" if subject else check.subject
    if value.value is None:
        return f"{of} is missing: {value.missing}"
    failed = [o for o in check.operators if o.judge(value) is state]
    demand = " and ".join(map(str, failed or check.operators))
    words = {State.PASS: "as demanded", State.FAIL: "must be", State.INCONCLUSIVE: "not known to be"}
    about = f" ({measured.about})" if measured.about else ""
    return f"{of} is {measured.shown}{about}, {words[state]} {demand}"


def _steps(
    check: Check, run: GatedRun, state: State, failing: Sequence[Row], undecided: Sequence[Row]
) -> tuple[str, ...]:
    """What follows from a check that does not pass."""
    if state is State.PASS:
        return ()
    said = steps.look_at(run.path, failing) if state is State.FAIL else []
    if check.statistic in AGAINST_BASELINE:
        return (*said, *steps.see_changes(run, undecided))
    if check.statistic in BY_EDITS or check.statistic in OF_RUN:
        return (*said, *steps.test_more(run.path, undecided))
    return (*said, *steps.audit_more(run.path, undecided, check.statistic))


def _measured(check: Check, run: GatedRun, asked: Asked) -> Measured:
    """What a check of the whole run judges."""
    if check.statistic in OF_RUN:
        return OF_RUN[check.statistic](run, asked)
    if check.metric == "accuracy" and check.images == "all" and check.aggregate == "mean":
        return OF_RUN["accuracy"](run, asked)  # without reading the tables
    if check.metric:
        nothing = (Estimate(None, missing="no image has a defined value"), 0)
        value, n = run.metric(check, per_class=False).get(-1, nothing)
        return Measured(value, about=f"{n} images" if n else "")
    return _aggregated(check, run, asked)


def _aggregated(check: Check, run: GatedRun, asked: Asked) -> Measured:
    """A statistic of the classes, aggregated: of their values, and of the ends of their intervals.

    All aggregates grow with each of their values, so the interval holds whatever the dependence.
    """
    rows = [row for row in (*run.classes, *run.absent) if row["label"] not in asked.waivers]
    values = {
        row["label"]: value
        for row in rows
        if images_behind(row, check.statistic) >= asked.coverage.images
        and (value := estimate(row, check.statistic)).value is not None
    }
    undecided = tuple(row for row in rows if row["label"] not in values)
    if not values or not asked.coverage.suffices(len(undecided), len(rows)):
        few = f"{len(values)} of {len(rows)} classes have a value from {asked.coverage.images} images or more"
        return Measured(Estimate(None, missing=few), undecided=undecided, statistic=check.statistic)
    ends = zip(*map(_ends, values.values()), strict=True)
    middle, low, high = (AGGREGATES[check.aggregate](end) for end in ends)
    return Measured(Estimate(middle, low, high), about=f"{len(values)} classes")


def _ends(estimate: Estimate) -> tuple[float, float, float]:
    """A number and the ends of its interval: the number itself where it has none."""
    value = float(estimate.value or 0.0)
    low, high = estimate.low, estimate.high
    return value, value if low is None else low, value if high is None else high


def _of_classes(check: Check, run: GatedRun, waivers: Mapping[int, Waiver]) -> Result:
    asked = {k for name in check.classes for k in run.labels_of(name, f"check {check.title!r}: class")}
    rows = [row for row in (*run.classes, *run.absent) if not asked or row["label"] in asked]
    values = run.metric(check, per_class=True) if check.metric else None
    findings: list[Finding] = []
    for row in rows:
        finding = _class_finding(check, run, row, *_of_class(check, row, values))
        waiver = "" if finding.state is State.PASS else str(waivers.get(row["label"], ""))
        findings.append(finding.waived_by(waiver))
    result = Result(
        name=check.title,
        findings=tuple(findings),
        demand=check.demand,
        coverage=check.coverage,
        per_class=True,
        waived=tuple(note.waived_by(f.waiver) for f in findings if f.waiver for note in f.classes),
        notes=could_fail(check, None),
    )
    open_rows: dict[State, list[Row]] = {State.FAIL: [], State.INCONCLUSIVE: [], State.PASS: []}
    for row, finding in zip(rows, findings, strict=True):
        if not finding.waiver:
            open_rows[finding.state].append(row)
    failing, undecided = open_rows[State.FAIL], open_rows[State.INCONCLUSIVE]
    return result.with_steps(_steps(check, run, result.state, failing, undecided))


def _of_class(
    check: Check, row: Row, values: Mapping[int, tuple[Estimate, int]] | None
) -> tuple[Estimate, int]:
    """What is judged of a class, and how many images it rests on."""
    if values is None:
        return estimate(row, check.statistic), images_behind(row, check.statistic)
    missing = f"no image of {row.get('n_images') or 0} has a defined value"
    return values.get(row["label"], (Estimate(None, missing=missing), 0))


def _class_finding(check: Check, run: GatedRun, row: Row, value: Estimate, n: int) -> Finding:
    name, state = run.name(row), _judge(check, value)
    if not row.get("n_images"):
        state, message = State.INCONCLUSIVE, f"class {name} has no image in this run"
    else:
        few = n < check.coverage.images and (state is State.PASS or not value.has_interval)
        state = State.INCONCLUSIVE if few and value.value is not None else state
        message = _message(check, name, Measured(value), state)
        if few and value.value is not None:
            message += f": from {n} images, {check.coverage.images} are needed"
    role = {State.PASS: "as demanded", State.FAIL: "fails", State.INCONCLUSIVE: NOT_DECIDED}[state]
    note = run.note(row, role, f"{check.subject} {value}" if value.value is not None else "")
    return Finding(name, state, message, value, (note,))
