"""What a gate says: the outcome of a policy, its checks, and what each of them judged."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from pipeline.errors import InputError
from reports.gate.coverage import Coverage
from reports.gate.operators import Estimate
from reports.gate.state import State, worst


@dataclass(frozen=True)
class ClassNote:
    """A class that a finding names: what stands against it (or is not known), in numbers.

    Attributes:
        role: why it is named: a verdict, or ``not decided``.
        waiver: by what it is excused; empty: by nothing.
        finding: what was measured of it, in a sentence; empty: nothing.
    """

    label: int
    name: str
    class_id: str
    role: str
    numbers: str = ""
    waiver: str = ""
    finding: str = ""

    def __str__(self) -> str:
        told = f"{self.name}: {self.role}" + (f", {self.numbers}" if self.numbers else "")
        return told + (f" (waived: {self.waiver})" if self.waiver else "")

    def waived_by(self, waiver: str) -> Self:
        """The same, excused."""
        return replace(self, waiver=waiver)


@dataclass(frozen=True)
class Finding:
    """One value that was judged: of the run (``subject`` empty) or of a class.

    Attributes:
        message: the value with its interval, and what it must be.
        classes: the class judged, or those that the value counts; waived ones are apart.
        waiver: by what it is excused: then it is not counted.
    """

    subject: str
    state: State
    message: str
    estimate: Estimate
    classes: tuple[ClassNote, ...] = ()
    waiver: str = ""

    def waived_by(self, waiver: str) -> Self:
        """The same, excused."""
        return replace(self, waiver=waiver)


@dataclass(frozen=True)
class Result:
    """One check and what it found.

    Attributes:
        demand: what was demanded; steps: what to do next, each with its command.
        waived: classes that would not pass and are excused; notes: what else must be said.
        per_class: every finding is a class's: then a share of them may be undecided (``coverage``).
    """

    name: str
    findings: tuple[Finding, ...]
    demand: str = ""
    coverage: Coverage = field(default_factory=Coverage)
    per_class: bool = False
    waived: tuple[ClassNote, ...] = ()
    steps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def state(self) -> State:
        """The worst of what counts; of classes a share may be undecided. Without a finding: inconclusive.

        Where all findings are waived nothing is left to fail: that passes, and is printed as waived.
        """
        counted = [f.state for f in self.findings if not f.waiver]
        if not counted:
            return State.PASS if self.findings else State.INCONCLUSIVE
        if self.per_class and State.FAIL not in counted and State.PASS in counted:
            undecided = counted.count(State.INCONCLUSIVE)
            return State.PASS if self.coverage.suffices(undecided, len(counted)) else State.INCONCLUSIVE
        return worst(counted)

    def with_steps(self, steps: tuple[str, ...]) -> Self:
        """The same, with what to do next."""
        return replace(self, steps=steps)

    @property
    def is_waived(self) -> bool:
        """Whether it gets through only as classes are waived (or might, without them, not)."""
        return self.state is State.PASS and bool(self.waived)

    @property
    def word(self) -> str:
        """The state as it is printed."""
        return "waived, not passed" if self.is_waived else self.state.value

    @property
    def message(self) -> str:
        """What was found, in one line."""
        if len(self.findings) == 1 and not self.per_class:
            return self.findings[0].message
        counted = [f.state for f in self.findings if not f.waiver]
        parts = [f"{counted.count(State.FAIL)} of {len(counted)} classes fail"]
        if undecided := counted.count(State.INCONCLUSIVE):
            parts.append(f"{undecided} are not decided")
        return f"{self.name}: {', '.join(parts)}; {self.demand}"

    @property
    def open(self) -> tuple[Finding, ...]:
        """The findings that do not pass and are not waived, fails first."""
        rest = [f for f in self.findings if not f.waiver and f.state is not State.PASS]
        return tuple(sorted(rest, key=lambda f: list(State).index(f.state)))

    @property
    def failing(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.open if f.state is State.FAIL)


@dataclass(frozen=True)
class Outcome:
    """What a policy says of a run.

    Attributes:
        inconclusive: what a gate that can neither pass nor fail counts as, by the policy.
        report: path of the run's report, empty where there is none; notes: warnings.
        baseline: path of the run that it was compared with, empty where there is none.
    """

    run: str
    checks: tuple[Result, ...]
    inconclusive: State = State.INCONCLUSIVE
    report: str = ""
    notes: tuple[str, ...] = ()
    baseline: str = ""

    @property
    def state(self) -> State:
        """Pass: every check does. Fail: one does. Else inconclusive."""
        return worst(r.state for r in self.checks)

    @property
    def counts_as(self) -> State:
        """The state that decides what follows: inconclusive is what the policy makes of it."""
        return self.inconclusive if self.state is State.INCONCLUSIVE else self.state

    @property
    def passed(self) -> bool:
        return self.counts_as is State.PASS

    @property
    def headline(self) -> str:
        """The outcome in one line."""
        states = [r.state for r in self.checks]
        said = {
            State.FAIL: f"failed: {states.count(State.FAIL)} of {len(states)} checks",
            State.INCONCLUSIVE: f"inconclusive: {states.count(State.INCONCLUSIVE)} of {len(states)} checks",
            State.PASS: f"passed: {len(states)} checks",
        }[self.state]
        if self.counts_as is not self.state:
            said += f" (counts as {self.counts_as} by the policy)"
        waived = {note.label for r in self.checks for note in r.waived}
        classes = "class" if len(waived) == 1 else "classes"
        return said + (f"; {len(waived)} {classes} waived, not passed" if waived else "")


def write(path: str | Path, text: str, append: bool = False) -> None:
    """Write (or append) what was made of an outcome.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        with Path(path).open("a" if append else "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}; choose another file") from None
