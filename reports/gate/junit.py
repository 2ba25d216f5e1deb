"""A gate's outcome as JUnit XML, as CI systems read it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from reports.gate.outcome import Outcome, Result

# what XML 1.0 cannot hold, escaped or not (section 2.2): control characters, surrogates, two non-characters
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(outcome: Outcome) -> str:
    """One ``testsuite`` per check, one ``testcase`` per judged class; excused classes are ``skipped``."""
    root = ElementTree.Element("testsuites", _counts(outcome.checks) | {"name": "hansaudit gate"})
    for result in outcome.checks:
        suite = ElementTree.SubElement(root, "testsuite", {"name": clean(result.name)} | _counts([result]))
        for finding in result.findings:
            case = _case(suite, result.name, finding.subject or result.name)
            if not finding.passed:
                failure = ElementTree.SubElement(case, "failure", {"message": clean(finding.message)})
                failure.text = clean(finding.message)
        for name in result.excused:
            case = _case(suite, result.name, name)
            ElementTree.SubElement(case, "skipped", {"message": "known class, excused by the policy"})
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def clean(text: str) -> str:
    """``text`` with every character that XML cannot hold replaced by U+FFFD."""
    return _FORBIDDEN.sub("\ufffd", text)


def _case(suite: ElementTree.Element, check: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", {"classname": clean(check), "name": clean(name)})


def _counts(results: Sequence[Result]) -> dict[str, str]:
    excused = sum(len(r.excused) for r in results)
    return {
        "tests": str(sum(len(r.findings) for r in results) + excused),
        "failures": str(sum(len(r.breaches) for r in results)),
        "errors": "0",
        "skipped": str(excused),
    }
