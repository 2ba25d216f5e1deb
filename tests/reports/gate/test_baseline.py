"""The gate against a baseline: the same images, the sharper question."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.run.folder import MANIFEST, RunFolder
from pipeline.statistics.ranking import rank
from reports.gate.evaluate import NOTHING_WORSE, evaluate
from reports.gate.policy import load_policy, parse_policy
from tests.tables import write_run

IMAGES = {"check": [{"statistic": "n_images", "min": 1}]}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """``before``, and ``worse``: class 5 looks beside its objects now."""
    folder = tmp_path_factory.mktemp("baselines")
    quick = {"draws": 100}
    for name, effect in (("before", {}), ("worse", {5: -1.5})):
        write_run(folder / name, 8, 40, 7, effect, False, False, failures=0.02, ranking=quick)
        rank(folder / name).document().write(RunFolder(folder / name))
    return folder


def against(runs, run, baseline, **policy):
    outcome = evaluate(runs / run, parse_policy(IMAGES | policy), baseline=runs / baseline)
    assert outcome.baseline == str(runs / baseline)
    return outcome.checks[-1]


def test_a_baseline_alone_demands_that_nothing_is_worse(runs):
    result = against(runs, "worse", "before")
    assert (result.name, result.state) == (NOTHING_WORSE, "fail")
    assert result.message == "n_worse is 1, must be at most 0"
    (note,) = result.findings[0].classes
    assert (note.name, note.role) == ("class 005", "worse")
    assert "adjusted lift changed by -1.5" in note.numbers
    assert f"`hansaudit diff {runs / 'before'} {runs / 'worse'}` shows what changed" in result.steps
    assert against(runs, "before", "worse").state == "pass"  # it is better, not worse
    assert against(runs, "before", "before").state == "pass"


def test_checks_against_the_baseline(runs):
    def said(run, baseline, statistic, **demand):
        return against(runs, run, baseline, check=[{"statistic": statistic} | demand]).state

    assert said("before", "worse", "n_better", min=1) == "pass"
    assert said("before", "before", "n_better", min=1) == "fail"
    assert said("worse", "before", "n_unchanged", min=7) == "pass"
    assert said("worse", "before", "n_worse", max=1) == "pass"
    without = evaluate(runs / "worse", parse_policy({"check": [{"statistic": "n_worse", "max": 0}]}))
    assert without.state == "inconclusive"
    assert "no run to compare with: give --baseline" in without.checks[-1].message


def test_a_class_that_cannot_be_compared_is_not_passed(runs, tmp_path):
    run = tmp_path / "run"
    write_run(run, 8, [40] * 7 + [0], 7, {}, False, False, ranking={"draws": 100})
    few = evaluate(run, parse_policy(IMAGES), baseline=run).checks[-1]
    assert few.state == "inconclusive"
    assert few.findings[0].classes[0].name == "class 007"


def test_a_policy_names_its_baseline_from_where_it_lies(runs, tmp_path):
    policy = tmp_path / "gate.toml"
    policy.write_text('baseline = "../last"\n[[check]]\nstatistic = "n_images"\nmin = 1\n')
    assert load_policy(policy).baseline == str(tmp_path / "../last")
    (tmp_path.parent / "last").symlink_to(runs / "before")
    try:
        assert evaluate(runs / "worse", policy).state == "fail"
        assert evaluate(runs / "worse", policy, baseline=runs / "worse").state == "pass"
    finally:
        (tmp_path.parent / "last").unlink()


def test_runs_that_are_not_comparable_are_refused(runs, tmp_path):
    other = tmp_path / "other"
    write_run(other, 8, 40, 7, {}, False, False, ranking={"draws": 100})
    manifest = json.loads((other / MANIFEST).read_text())
    manifest["dataset"]["fingerprint"] = "1" * 64
    (other / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"cannot be compared .* images or labels: "):
        evaluate(runs / "worse", parse_policy(IMAGES), baseline=other)
