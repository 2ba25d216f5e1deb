"""Is a run good enough? A policy's checks against the stored tables.

Reads ``manifest.json`` and ``ranking.json``; the Parquet tables where a check asks for a stored metric, or
where no ranking is stored. A ranking that does not fit the run as it is (other shards or other parts, method
or settings than the run's own) is refused, and so are parts that are not those of the run. Missing data is
inconclusive and never passes; less evidence never passes more easily.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Final

from pipeline.run.folder import REPORT
from reports.decisions.file import WaivedClasses, load_decisions
from reports.gate import steps
from reports.gate.checks import apply
from reports.gate.control import canary_results, powerless
from reports.gate.gated_run import GatedRun
from reports.gate.operators import AtMost, Estimate
from reports.gate.outcome import Finding, Outcome, Result
from reports.gate.policy import Check, Policy, load_policy
from reports.gate.state import State
from reports.gate.statistics import AGAINST_BASELINE
from reports.gate.waivers import waiver_notes, waiver_results

NOTHING_WORSE: Final = "no class is worse than in the baseline"


def evaluate(
    run: str | Path, policy: Policy | str | Path, today: date | None = None, baseline: str | Path = ""
) -> Outcome:
    """Apply ``policy`` (or the TOML file that holds it) to the run folder; waivers are those of ``today``.

    ``baseline``: run to compare with, instead of the policy's.

    Raises:
        PolicyError: a policy that is not valid, or asks for a class, metric or method that the run does not
            have (the nearest is named).
        InputError: not a run folder, its stored ranking is not that of the run as it is, or its parts are not
            what was written.
    """
    policy = policy if isinstance(policy, Policy) else load_policy(policy)
    before = str(baseline) or policy.baseline
    gated = GatedRun(str(run), GatedRun(before) if before else None)
    gated.refuse_faulty()
    if gated.baseline is not None:
        gated.baseline.refuse_faulty()
    decided = load_decisions(policy.decisions) if policy.decisions else ()
    waived = WaivedClasses.of(decided, gated.labels, policy.waive, today or date.today())
    results = [] if policy.allow_incomplete else [_complete(gated)]
    results += [apply(check, gated, waived) for check in _checks(policy, bool(before))]
    results += canary_results(gated, policy.coverage)
    results += waiver_results(waived, results, policy.unused_fail)
    return Outcome(
        run=str(run),
        checks=tuple(results),
        inconclusive=policy.inconclusive,
        report=f"{run}/{REPORT}" if REPORT in gated.folder.files.names("") else "",
        notes=(*waiver_notes(waived, results), *powerless(gated)),
        baseline=before,
    )


def _checks(policy: Policy, compared: bool) -> tuple[Check, ...]:
    """Those of the policy; with a baseline that none of them asks about, also that nothing is worse."""
    if not compared or any(check.statistic in AGAINST_BASELINE for check in policy.checks):
        return policy.checks
    demand = Check((AtMost(0),), NOTHING_WORSE, "n_worse", coverage=policy.coverage)
    return (*policy.checks, demand)


def _complete(run: GatedRun) -> Result:
    """An unfinished run is inconclusive: what is missing may hold what would fail."""
    planned = run.manifest.get("shards") or []
    done = sum(key in run.done for key in planned)
    whole = bool(planned) and done == len(planned)
    finding = Finding(
        subject="",
        state=State.PASS if whole else State.INCONCLUSIVE,
        message=f"{done} of {len(planned)} planned shards are finished",
        estimate=Estimate(done),
    )
    return Result("run complete", (finding,), steps=() if whole else (steps.FINISH,))
