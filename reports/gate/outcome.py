"""What a gate says: the outcome of a policy, its checks, and what each of them judged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError
from reports.gate.operators import Value


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
class Outcome:
    """What a policy says of a run."""

    run: str
    checks: tuple[Result, ...]

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(r.passed for r in self.checks)

    @property
    def exit_code(self) -> int:
        """0: every check holds. 1: a breach."""
        return 0 if self.passed else 1


def write(path: str | Path, text: str) -> None:
    """Write what :mod:`~reports.gate.markdown` or :mod:`~reports.gate.junit` made of an outcome.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        Path(path).write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}; choose another file") from None
