"""What a gate writes: JUnit that readers take, JSON, SARIF, Markdown, and the error of a test."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from sarif_pydantic import Sarif
from typer.main import get_command

from flows.cli import app
from pipeline.run.folder import RunFolder
from pipeline.statistics.ranking import rank
from reports.gate.assertion import assert_gate
from reports.gate.evaluate import evaluate
from reports.gate.json_document import outcome_json
from reports.gate.junit import junit_xml
from reports.gate.markdown import markdown
from reports.gate.outcome import Outcome
from reports.gate.sarif import sarif
from reports.gate.state import State
from reports.gate.steps import look_at
from reports.gate.steps import test_more as further_tests
from tests.reports.gate.edited import edit_run, row
from tests.tables import write_run

TODAY = date(2026, 6, 1)
POLICY = """
[[check]]
name = "nothing confirmed"
statistic = "n_confirmed"
max = 0

[[check]]
name = "each"
scope = "class"
statistic = "verdict"
none_of = ["confirmed"]

[[check]]
name = "more"
statistic = "n_unremarkable"
min = 5
"""
WAIVED = (
    '[[decision]]\nclass = "class 001"\ndecision = "legitimate_context"\nreason = "water | fish"\n'
    'owner = "us"\nuntil = 2026-12-31\n'
)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Five classes: 1 and 2 confirmed, 3 not decided."""
    path = tmp_path_factory.mktemp("outputs") / "run"
    write_run(path, 5, 20, 3, {}, maps=False, thumbnails=False, ranking={"draws": 100})
    rank(path).document().write(RunFolder(path))
    edit_run(path, {1: "depends", 2: "depends", 3: "undecided"})
    return path


@pytest.fixture
def judged(run, tmp_path):
    def judge(head: str = "") -> Outcome:
        (tmp_path / "gate.toml").write_text(head + POLICY)
        (tmp_path / "decisions.toml").write_text(WAIVED)
        return evaluate(run, tmp_path / "gate.toml", TODAY)

    return judge


# of Jenkins' xunit plugin, junit-10.xsd: element -> (children, attributes it must have, others it may have)
JUNIT = {
    "testsuites": ({"testsuite"}, set(), {"name", "time", "tests", "failures", "errors"}),
    "testsuite": (
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
        {"name", "tests", "failures", "errors"},
        {"group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"},
    ),
    "testcase": (
        {"skipped", "error", "failure", "system-out", "system-err"},
        {"name"},
        {"time", "classname", "group"},
    ),
    **{tag: (set(), set(), {"type", "message"}) for tag in ("skipped", "error", "failure")},
}


def faults(element: ElementTree.Element) -> list[str]:
    children, needed, allowed = JUNIT[element.tag]
    wrong = [f"{element.tag} lacks {name}" for name in needed - set(element.attrib)]
    wrong += [f"{element.tag} has {name}" for name in set(element.attrib) - needed - allowed]
    for child in element:
        wrong += [f"{child.tag} in {element.tag}"] if child.tag not in children else faults(child)
    return wrong


def tags(outcome: Outcome) -> dict[str, list[str]]:
    root = ElementTree.fromstring(junit_xml(outcome))
    assert faults(root) == []
    for element in (root, *root):
        for tag, name in (("failure", "failures"), ("error", "errors")):
            assert element.attrib[name] == str(len(element.findall(f".//{tag}")))
    return {
        suite.attrib["name"]: [child.tag for case in suite for child in case] or ["passed"] for suite in root
    }


def test_junit_says_what_a_ci_system_understands(judged):
    said = tags(judged())
    assert said == {
        "run complete": ["passed"],
        "nothing confirmed": ["failure", "skipped"],  # class 2; class 1 is waived
        "each": ["failure", "skipped", "error"],
        "more": ["failure"],
    }
    assert tags(judged('inconclusive = "fail"\n'))["each"] == ["failure", "skipped", "failure"]
    assert tags(judged('inconclusive = "pass"\n'))["each"] == ["failure", "skipped", "skipped"]
    text = ElementTree.fromstring(junit_xml(judged())).find(".//failure").text
    assert "class 002: confirmed, effect +0.45 [+0.30, +0.60], 20 images edited" in text
    assert "next: `hansaudit clusters" in text


def test_json_holds_everything(run, judged):
    content = json.loads(outcome_json(judged()))
    assert (content["state"], content["counts_as"], content["run"]) == ("fail", "fail", str(run))
    confirmed = content["checks"][1]
    assert (confirmed["state"], confirmed["demand"]) == ("fail", "must be at most 0")
    (finding,) = confirmed["findings"]
    assert (finding["value"], finding["low"], finding["high"]) == (1, 1, 2)
    assert [c["class_id"] for c in finding["classes"]] == ["s00000002", "s00000003"]
    assert confirmed["waived"][0]["class_id"] == "s00000001"
    assert confirmed["steps"]


def test_sarif_has_a_result_for_what_does_not_pass(run, judged):
    Sarif.model_validate_json(sarif(judged()))  # every field is one of SARIF 2.1.0
    (of_run,) = json.loads(sarif(judged()))["runs"]
    rules = {rule["id"] for rule in of_run["tool"]["driver"]["rules"]}
    assert {r["ruleId"] for r in of_run["results"]} <= rules
    levels = [(r["ruleId"], r["level"], "suppressions" in r) for r in of_run["results"]]
    assert levels == [
        ("check-2", "error", False),
        ("check-3", "error", False),
        ("check-3", "error", True),
        ("check-3", "warning", False),
        ("check-4", "error", False),
    ]
    assert all(
        r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == str(run)
        for r in of_run["results"]
    )


def test_markdown_names_classes_numbers_and_the_next_step(run, judged):
    text = markdown(judged())
    assert text.startswith("# Gate failed: 3 of 4 checks; 1 class waived, not passed\n")
    assert "- class 002: confirmed, effect +0.45 \\[+0.30, +0.60\\], 20 images edited\n" in text
    assert f"`hansaudit confirm {run} --class s00000003 --images 20`" not in text  # it has no more images
    assert "1 class needs more images than the run has" in text
    assert "waived, not passed (legitimate context: water \\| fish; us, until 2026-12-31)" in text


def shown(text: str) -> list[tuple[str, str]]:
    """What a host's renderer makes of Markdown: (kind of block, its words), in order."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    blocks = [(tokens[k - 1].tag, token) for k, token in enumerate(tokens) if token.type == "inline"]
    return [(tag, "".join(part.content for part in token.children)) for tag, token in blocks]


def test_a_renderer_shows_the_comment_as_it_is_meant(judged):
    """Every check a row of two cells, every class a line, commands as code; names stay what they are."""
    outcome = judged()
    nasty = "<b>|x|</b> [a](http://b) `c` *d* # e"
    notes = tuple(replace(note, name=nasty) for note in outcome.checks[1].findings[0].classes)
    finding = replace(outcome.checks[1].findings[0], classes=notes)
    checks = (outcome.checks[0], replace(outcome.checks[1], findings=(finding,)), *outcome.checks[2:])
    outcome = replace(outcome, checks=checks, baseline="runs/_last_")
    blocks = shown(markdown(outcome))
    assert blocks[0] == ("h1", f"Gate {outcome.headline}")
    assert ("p", "Compared with: runs/_last_") in blocks
    words = {State.PASS: "pass", State.FAIL: "FAIL", State.INCONCLUSIVE: "inconclusive"}
    rows = [(check.name, f"{words[check.state]}: {check.message}") for check in checks]
    cells = [text for tag, text in blocks if tag == "td"]
    assert list(zip(cells[::2], cells[1::2], strict=True)) == rows
    assert [("p", str(note)) in blocks for note in notes] == [True, True]
    code = [part for token in MarkdownIt().parse(markdown(outcome)) for part in token.children or ()]
    commands = [part.content for part in code if part.type == "code_inline"]
    assert commands
    assert all(command.startswith("hansaudit ") for command in commands)


def test_the_report_is_linked_where_there_is_one(run, judged):
    assert judged().report == ""
    (run / "report.html").write_text("<h1>")
    try:
        outcome = judged()
        assert outcome.report == f"{run}/report.html"
        assert f"- Report: {run}/report.html" in markdown(outcome).replace("\\", "")
        assert json.loads(sarif(outcome))["runs"][0]["results"][0]["locations"][0]["physicalLocation"][
            "artifactLocation"
        ]["uri"].endswith("/report.html")
    finally:
        (run / "report.html").unlink()


def test_a_gate_inside_a_test(run, tmp_path):
    policy = tmp_path / "gate.toml"
    policy.write_text('[[check]]\nstatistic = "n_images"\nmin = 1\n')
    assert assert_gate(run, policy).state == "pass"
    policy.write_text(POLICY)
    with pytest.raises(AssertionError, match=r"gate failed: 3 of 4 checks\n") as caught:
        assert_gate(run, policy)
    assert "class 002: confirmed, effect +0.45" in str(caught.value)
    policy.write_text('[[check]]\nstatistic = "n_confirmed"\nmax = 2\n')
    with pytest.raises(AssertionError, match="gate inconclusive: 1 of 2 checks"):
        assert_gate(run, policy)
    policy.write_text('inconclusive = "pass"\n[[check]]\nstatistic = "n_confirmed"\nmax = 2\n')
    assert assert_gate(run, policy).state == "inconclusive"


def test_next_steps_are_commands_that_exist():
    """For classes that were not tested, hardly tested, tested as far as the run goes, and at fault."""
    rows = [row(0, None), row(1, "undecided"), row(2, "undecided", n=60), row(3, "depends")]
    rows[2] |= {"n_edited": 20, "n_needed": 50}
    tested, spent = further_tests("runs/a b", rows[:3])
    assert tested == (
        "`hansaudit confirm 'runs/a b' --class s00000000 --class s00000002 --images 50` tests more images"
    )
    assert spent.startswith("1 class needs more images than the run has")
    (needs_more,) = further_tests("runs/a", [rows[2] | {"n_needed": 61}])
    assert needs_more == spent
    for step in (tested, *look_at("runs/a b", rows[3:]), "`hansaudit diff 'runs/a b' runs/c`"):
        _, name, *words = shlex.split(step.split("`")[1])
        get_command(app).commands[name].make_context(name, words)
