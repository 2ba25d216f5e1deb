"""A gate's outcome as JUnit XML, as CI systems read it.

A check that is inconclusive is an ``error``: it could not be judged, and no CI system shows that as passed.
Where the policy lets inconclusive pass it is ``skipped``, where it lets it fail a ``failure``. What is waived
is ``skipped``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from reports.gate.outcome import ClassNote, Finding, Outcome, Result
from reports.gate.state import State

# what XML 1.0 cannot hold, escaped or not (section 2.2): control characters, surrogates, two non-characters
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INCONCLUSIVE = {State.INCONCLUSIVE: "error", State.FAIL: "failure", State.PASS: "skipped"}


def junit_xml(outcome: Outcome) -> str:
    """One ``testsuite`` per check, one ``testcase`` per judged class (or for the run)."""
    root = ElementTree.Element("testsuites", {"name": "hansaudit gate"})
    for result in outcome.checks:
        suite = ElementTree.SubElement(root, "testsuite", {"name": clean(result.name)})
        for finding in result.findings:
            case = _case(suite, result.name, finding.subject or result.name)
            if tag := _tag(finding, result, outcome.inconclusive):
                attributes = {"message": clean(_message(finding))}
                attributes |= {"type": finding.state.value} if tag != "skipped" else {}
                ElementTree.SubElement(case, tag, attributes).text = clean(_text(finding, result))
        for note in _waived_apart(result):
            case = _case(suite, result.name, note.name)
            ElementTree.SubElement(case, "skipped", {"message": clean(f"waived, not passed: {note.waiver}")})
        suite.attrib.update(_counts(suite))
    # the schema of Jenkins' xunit plugin (junit-10.xsd) has no `skipped` at the root
    root.attrib.update({name: n for name, n in _counts(root).items() if name != "skipped"})
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def clean(text: str) -> str:
    """``text`` with every character that XML cannot hold replaced by U+FFFD."""
    return _FORBIDDEN.sub("\ufffd", text)


def _waived_apart(result: Result) -> Sequence[ClassNote]:
    """Waived classes that have no finding of their own."""
    return () if result.per_class else result.waived


def _tag(finding: Finding, result: Result, inconclusive: State) -> str:
    """The element that says how it went; empty: it passed."""
    if finding.waiver:
        return "skipped"
    if finding.state is State.FAIL:
        return "failure"
    if finding.state is State.PASS:
        return ""
    # an undecided class among those that the policy's coverage allows
    return "skipped" if result.state is State.PASS else _INCONCLUSIVE[inconclusive]


def _message(finding: Finding) -> str:
    return f"waived, not passed: {finding.waiver}" if finding.waiver else finding.message


def _text(finding: Finding, result: Result) -> str:
    """The message, the classes that it names, and what to do next."""
    named = [] if result.per_class else [str(note) for note in finding.classes]
    return "\n".join([finding.message, *named, *(f"next: {step}" for step in result.steps)])


def _case(suite: ElementTree.Element, check: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", {"classname": clean(check), "name": clean(name)})


def _counts(element: ElementTree.Element) -> dict[str, str]:
    tags = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    return {"tests": str(len(element.findall(".//testcase")))} | {
        name: str(len(element.findall(f".//testcase/{tag}"))) for name, tag in tags.items()
    }
