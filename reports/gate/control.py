"""The negative control of a gate: could it have failed at all?"""

from __future__ import annotations

import shlex
from typing import Final, Protocol

from pipeline.columns import RANKING
from pipeline.run.documents import CanaryDocument
from reports.gate.coverage import Coverage
from reports.gate.gated_run import GatedRun
from reports.gate.intervals import wilson
from reports.gate.operators import AtLeast, Estimate, Operator
from reports.gate.outcome import Finding, Result
from reports.gate.state import State

_BOUNDED: Final = ("fraction", "probability")  # units of values from 0 to 1


class Demanding(Protocol):
    """What is looked at of a check."""

    @property
    def operators(self) -> tuple[Operator, ...]: ...
    @property
    def statistic(self) -> str: ...


def could_fail(check: Demanding, judged: int | None) -> tuple[str, ...]:
    """Says so where no value could break the check; ``judged``: classes that are counted, None: no count."""
    if judged is not None:
        bounds, why = (0.0, float(judged)), f"it counts among {judged} classes"
    elif check.statistic in RANKING and RANKING[check.statistic].unit in _BOUNDED:
        bounds, why = (0.0, 1.0), f"a {RANKING[check.statistic].unit} lies between 0 and 1"
    else:
        return ()
    if all(operator.holds(end) for operator in check.operators for end in bounds):
        return (f"this check could not have failed: {why}",)
    return ()


def canary_results(run: GatedRun, coverage: Coverage) -> list[Result]:
    """The check that the canary found what was planted, where the policy demands ``power``."""
    if not coverage.power:
        return []
    command = f"`hansaudit canary --attach {shlex.quote(run.path)}`"
    canary = CanaryDocument.read(run.folder)
    if canary is None:
        value, message = Estimate(None), f"no canary was attached to the run; {command} plants marks"
    else:
        found, used = canary_power(canary)
        value = Estimate(found / used, *wilson(found / used, used)) if used else Estimate(None)
        message = f"the canary found {found} of {used} planted marks that its networks use: {value}"
    demanded = AtLeast(coverage.power)
    # an audit that finds too little says nothing against the network
    state = State.PASS if demanded.judge(value) is State.PASS else State.INCONCLUSIVE
    finding = Finding("", state, f"{message}; power must be {demanded}", value)
    result = Result("canary", (finding,), f"power must be {demanded}")
    step = f"{command} with more --networks narrows it; more images per class find more"
    return [result if state is State.PASS else result.with_steps((step,))]


def powerless(run: GatedRun) -> tuple[str, ...]:
    """A warning where the run's canary found nothing of what was planted."""
    canary = CanaryDocument.read(run.folder)
    found, used = canary_power(canary) if canary is not None else (0, 0)
    if found or not used:
        return ()
    return (
        f"this gate could not have failed for marks such as the canary's: none of {used} planted marks that "
        "its networks use was found",
    )


def canary_power(canary: CanaryDocument) -> tuple[int, int]:
    """Planted marks beside the object that the network uses: how many were found, of how many."""
    cells = [c for c in canary.cells if c.used and c.visible and not c.inside]
    return sum(c.found for c in cells), len(cells)
