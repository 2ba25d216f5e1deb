"""What became of the waivers: used, run out, needed by nothing, of classes that are gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reports.decisions.file import WaivedClasses, Waiver
from reports.gate.operators import Estimate
from reports.gate.outcome import ClassNote, Finding, Result
from reports.gate.state import State


def waiver_results(waived: WaivedClasses, results: Sequence[Result], unused_fail: bool) -> list[Result]:
    """A check of the waivers themselves, where one fails: run out and still needed, or needed by nothing."""
    findings = [
        Finding(note.name, State.FAIL, f"the waiver of {note} ran out ({waiver})", Estimate(None), (note,))
        for note, waiver in _missed(waived, results)
    ]
    if unused_fail:
        findings += [
            Finding(w.class_key, State.FAIL, _unused(w), Estimate(None)) for w in _needless(waived, results)
        ]
    if not findings:
        return []
    step = "decide again about these classes in decisions.toml: another date, or none"
    demand = "a waiver is needed and has not run out"
    return [Result("waivers", tuple(findings), demand, per_class=True, steps=(step,))]


def waiver_notes(waived: WaivedClasses, results: Sequence[Result]) -> tuple[str, ...]:
    """Warnings about waivers: of classes that the dataset does not have, and those that nothing needs."""
    lost = [f"{w.class_key} is waived ({w}), and the dataset has no such class" for w in waived.lost]
    return (*lost, *(_unused(w) for w in _needless(waived, results)))


def _unused(waiver: Waiver) -> str:
    return f"the waiver of {waiver.class_key} ({waiver}) is needed by no check"


def _missed(waived: WaivedClasses, results: Sequence[Result]) -> Iterator[tuple[ClassNote, Waiver]]:
    """Classes that do not pass and would be waived, were their waiver still good."""
    seen = set()
    for result in results:
        for finding in result.open:
            for note in finding.classes:
                for waiver in waived.expired.get(note.label, ()):
                    if waiver.is_for(result.name) and (note.label, waiver) not in seen:
                        seen.add((note.label, waiver))
                        yield note, waiver


def _needless(waived: WaivedClasses, results: Sequence[Result]) -> list[Waiver]:
    """Waivers that hold and let no class through in any check."""
    used = {(note.label, result.name) for result in results for note in result.waived}
    return [
        waiver
        for label, waivers in waived.holding.items()
        for waiver in waivers
        if not any(label == of and waiver.is_for(check) for of, check in used)
    ]
