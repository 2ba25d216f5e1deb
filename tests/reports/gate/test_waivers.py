"""Waivers: for a class, for a time, never silently; and the negative control of a gate."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from pipeline.run.documents import CanaryDocument
from pipeline.run.folder import RunFolder
from pipeline.statistics.ranking import rank
from reports.decisions.fields import PolicyError
from reports.decisions.file import load_decisions
from reports.gate.evaluate import evaluate
from reports.gate.outcome import Outcome
from tests.reports.gate.edited import edit_run
from tests.tables import write_run

TODAY = date(2026, 6, 1)
POLICY = '[[check]]\nname = "confirmed"\nstatistic = "n_confirmed"\nmax = 0\n'
EACH = '[[check]]\nname = "each"\nscope = "class"\nstatistic = "verdict"\nnone_of = ["confirmed"]\n'
DECISION = """
[[decision]]
class = "s00000002"
decision = "legitimate_context"
reason = "new images come"
owner = "us"
until = 2026-06-01
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Five classes; class 2 is confirmed, the others are not."""
    path = tmp_path_factory.mktemp("waived") / "run"
    write_run(path, 5, 20, 3, {2: -2.0}, maps=False, thumbnails=False, ranking={"draws": 100})
    rank(path).document().write(RunFolder(path))
    edit_run(path, {2: "depends"})
    return path


@pytest.fixture
def judge(run, tmp_path):
    def judged(decisions: str, policy: str = POLICY, today: date = TODAY) -> Outcome:
        (tmp_path / "gate.toml").write_text(policy)
        (tmp_path / "decisions.toml").write_text("version = 1\n" + decisions)
        return evaluate(run, tmp_path / "gate.toml", today)

    return judged


@pytest.mark.parametrize("policy", [POLICY, EACH])
def test_a_waived_class_is_said_not_to_have_passed(judge, policy):
    assert judge("", policy).state == "fail"
    outcome = judge(DECISION, policy)
    assert outcome.state == "pass"
    result = outcome.checks[1]
    assert result.word == "waived, not passed"
    (note,) = result.waived
    assert (note.name, note.waiver) == (
        "class 002",
        "legitimate context: new images come; us, until 2026-06-01",
    )
    assert outcome.headline == "passed: 2 checks; 1 class waived, not passed"
    assert outcome.notes == ()


@pytest.mark.parametrize("policy", [POLICY, EACH])
def test_a_waiver_that_ran_out_fails(judge, policy):
    outcome = judge(DECISION, policy, date(2026, 6, 2))
    assert outcome.state == "fail"
    assert [r.name for r in outcome.checks if r.state == "fail"][-1] == "waivers"
    message = outcome.checks[-1].findings[0].message
    assert message.startswith("the waiver of class 002: ")
    assert "ran out (legitimate context: new images come; us, until 2026-06-01)" in message


def test_a_waiver_that_ran_out_makes_an_undecided_class_fail(run, judge):
    before = (run / "ranking.json").read_bytes()
    try:
        edit_run(run, {2: "undecided"})
        assert judge("").state == "inconclusive"
        assert judge(DECISION).state == "pass"
        assert judge(DECISION, today=date(2026, 6, 2)).state == "fail"
        edit_run(run, {})
        done = judge(DECISION, today=date(2026, 6, 2))  # nothing is wrong with the class any more
        assert (done.state, done.notes) == ("pass", ())
    finally:
        (run / "ranking.json").write_bytes(before)


def test_a_waiver_that_nothing_needs(judge):
    other = DECISION.replace("s00000002", "class 001")
    outcome = judge(DECISION + other)
    assert outcome.state == "pass"
    assert outcome.notes == (
        "the waiver of class 001 (legitimate context: new images come; us, until 2026-06-01) is needed by "
        "no check",
    )
    assert judge(DECISION + other, 'unused_waivers = "fail"\n' + POLICY).state == "fail"
    assert judge(DECISION, 'unused_waivers = "fail"\n' + POLICY).state == "pass"


def test_a_class_that_the_dataset_lost_is_a_warning(judge):
    outcome = judge(DECISION + DECISION.replace("s00000002", "gone"), 'unused_waivers = "fail"\n' + POLICY)
    assert outcome.state == "pass"
    assert "the dataset has no such class" in outcome.notes[0]


def test_what_waives(judge):
    assert judge(DECISION.replace("until = 2026-06-01", "")).state == "fail"  # a decision, no waiver
    for decision in ("clever_hans", "label_or_box_error", "unsure"):
        other = DECISION.replace("legitimate_context", decision)
        assert judge(other).state == "fail"  # to be mended, or not decided
        assert judge(other, f'waive = ["{decision}"]\n' + POLICY).state == "pass"
    assert judge(DECISION, 'waive = ["clever_hans"]\n' + POLICY).state == "fail"
    assert judge(DECISION + 'check = "confirmed"\n').state == "pass"
    assert judge(DECISION + 'check = "another"\n').state == "fail"


def test_decisions_may_lie_elsewhere(run, tmp_path):
    (tmp_path / "gate.toml").write_text('decisions = "team/d.toml"\n' + POLICY)
    with pytest.raises(PolicyError, match="cannot read the decisions"):
        evaluate(run, tmp_path / "gate.toml", TODAY)
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "d.toml").write_text(DECISION)
    assert evaluate(run, tmp_path / "gate.toml", TODAY).state == "pass"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version = 2", "version is 2, this hansaudit reads 1"),
        (DECISION + DECISION, "two decisions about class 's00000002'"),
        (
            DECISION.replace("2026-06-01", "'soon'"),
            "until must be a date such as 2027-03-31, received 'soon'",
        ),
        (DECISION.replace("2026-06-01", "2026-06-01T12:00:00"), "until must be a date"),
        (DECISION.replace("legitimate_context", "clever"), "did you mean 'clever_hans'"),
        (DECISION.replace('owner = "us"', ""), "owner must be a non-empty text, received None"),
        (DECISION + "untill = 3", "did you mean 'until'"),
    ],
)
def test_decisions_that_cannot_be_read(tmp_path, text, message):
    (tmp_path / "decisions.toml").write_text(text)
    with pytest.raises(PolicyError, match=message) as caught:
        load_decisions(tmp_path / "decisions.toml")
    assert "\n" not in str(caught.value)


# -- could it have failed?


def attach(run: Path, found: int, missed: int, unused: int = 3) -> None:
    """A canary whose networks use some marks; those that no network uses count for nothing."""
    base = {"kind": "patch", "probability": 1.0, "size": 0.1, "inside": False, "visible": True, "added": 0.9}
    kinds = [(True, "suspicious")] * found + [(True, "unremarkable")] * missed
    kinds += [(False, "unremarkable")] * unused
    cells = [
        base | {"class_name": str(k), "used": used, "rank": 1, "verdict": verdict, "test": None}
        for k, (used, verdict) in enumerate(kinds)
    ]
    alarms = {"classes": 1, "suspicious": 0, "confirmed": 0, "hidden": 0}
    content = {"about": "a", "networks": 2, "accuracy": 0.9, "figures": {}, "line": "l", "cells": cells}
    CanaryDocument.parse(json.dumps(content | {"false_alarms": alarms}), "test").write(RunFolder(run))


def test_a_policy_can_demand_that_the_canary_found_what_was_planted(run, judge):
    demand = "min_coverage = {power = 0.8}\n" + POLICY
    assert not (run / "canary.json").exists()
    without = judge(DECISION, demand)
    assert without.state == "inconclusive"
    assert f"hansaudit canary --attach {run}" in without.checks[2].message
    try:
        for found, missed, state in ((20, 0, "pass"), (4, 0, "inconclusive"), (2, 30, "inconclusive")):
            attach(run, found, missed)
            assert judge(DECISION, demand).state == state
        assert judge(DECISION).notes == ()
        attach(run, 0, 5)
        assert judge(DECISION).notes == (
            "this gate could not have failed for marks such as the canary's: none of 5 planted marks that "
            "its networks use was found",
        )
    finally:
        (run / "canary.json").unlink()
