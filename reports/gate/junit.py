"""JUnit XML of a gate's verdict, as CI systems read it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from reports.gate.evaluate import Result, Verdict

# what XML 1.0 cannot hold, escaped or not (section 2.2): control characters, surrogates, two non-characters
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(verdict: Verdict) -> str:
    """One ``testsuite`` per check, one ``testcase`` per judged class; excused classes are ``skipped``."""
    root = ElementTree.Element("testsuites", _counts(verdict.checks) | {"name": "hansaudit gate"})
    for result in verdict.checks:
        suite = ElementTree.SubElement(root, "testsuite", {"name": clean(result.name)} | _counts([result]))
        for found in result.findings:
            case = _case(suite, result.name, found.subject or result.name)
            if not found.passed:
                failure = ElementTree.SubElement(case, "failure", {"message": clean(found.message)})
                failure.text = clean(found.message)
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


def _counts(results: list[Result] | tuple[Result, ...]) -> dict[str, str]:
    excused = sum(len(r.excused) for r in results)
    return {
        "tests": str(sum(len(r.findings) for r in results) + excused),
        "failures": str(sum(len(r.breaches) for r in results)),
        "errors": "0",
        "skipped": str(excused),
    }
