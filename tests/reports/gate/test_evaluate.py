"""The gate: operators that decide and word, policies that explain themselves, missing data that fails."""

from __future__ import annotations

import json
import operator
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.columns import RANKING
from pipeline.config_sections import RankingConfig
from pipeline.errors import InputError
from pipeline.run.folder import MANIFEST, RunFolder
from pipeline.statistics.ranking import rank
from reports.decisions.fields import PolicyError
from reports.gate.evaluate import evaluate
from reports.gate.junit import junit_xml
from reports.gate.markdown import markdown
from reports.gate.operators import OPERATORS, Estimate
from reports.gate.outcome import ClassNote, Finding, Outcome, Result, write
from reports.gate.policy import load_policy, parse_policy
from reports.gate.state import State
from reports.gate.statistics import AGAINST_BASELINE, OF_CLASS, OF_RUN
from tests.reports.gate.edited import edit_run
from tests.tables import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Ten classes; class 2 and class 5 look beside their objects. With its ranking."""
    path = tmp_path_factory.mktemp("runs") / "run"
    effect, own = {2: -2.0, 5: -1.5}, {"draws": 300}
    truth = write_run(path, 10, 40, 7, effect, False, False, failures=0.02, ranking=own)
    ranking = rank(path)
    ranking.document().write(RunFolder(path))
    return path, truth, ranking.table.set_index("label")


def check(run, **keys):
    """What the one check says, without the check for completeness."""
    verdict = evaluate(run[0], parse_policy({"check": [keys]}))
    assert verdict.checks[0].name == "run complete"
    assert verdict.checks[0].state == "pass"
    return verdict.checks[1]


# -- operators and policies


@pytest.mark.parametrize(
    ("key", "function", "words"),
    [
        ("min", operator.ge, "at least"),
        ("max", operator.le, "at most"),
        ("above", operator.gt, "above"),
        ("below", operator.lt, "below"),
    ],
)
def test_operators_decide_and_word_the_same(key, function, words):
    for value in (0.1, 0.25, 0.3):
        assert OPERATORS[key](0.25).holds(value) == function(value, 0.25)
    assert str(OPERATORS[key](0.25)) == f"{words} 0.25"


def test_operators_on_words():
    assert OPERATORS["one_of"](("a", "b")).holds("a")
    assert not OPERATORS["none_of"](("a", "b")).holds("a")
    assert str(OPERATORS["none_of"](("a", "b"))) == "none of 'a', 'b'"


def test_every_column_of_the_ranking_can_be_asked_for():
    text = {"label", "class_id", "class_name", "finding", "planted"}
    assert set(OF_CLASS) == set(RANKING) - text


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("", r"no \[\[check\]\]"),
        ("check = 3", r"written as \[\[check\]\]"),
        ("chek = 3", "key 'chek' is not known; did you mean 'check'"),
        ("[[check]]\nmax = 1", "needs either 'statistic' or 'metric', received neither"),
        ("[[check]]\nstatistic = 'lift'\nmetric = 'lift'\nmax = 1", "received statistic and metric"),
        ("[[check]]\nstatistic = 'n_suspicous'\nmax = 0", "did you mean 'n_suspicious'"),
        (
            "[[check]]\nname = 'a'\nstatistic = 'accuracy'\nmaximum = 0",
            r"check 1 \('a'\): key 'maximum' .* valid: ",
        ),
        ("[[check]]\nstatistic = 'accuracy'", "demands nothing; add one of: min, max"),
        ("[[check]]\nstatistic = 'accuracy'\nmin = '0.6'", "min must be a number, received '0.6'"),
        ("[[check]]\nstatistic = 'accuracy'\nmin = nan", "min must be a number, received nan"),
        ("[[check]]\nstatistic = 'accuracy'\nmin = true", "min must be a number, received True"),
        ("[[check]]\nstatistic = 'accuracy'\nscope = 'classes'\nmin = 1", "did you mean 'class'"),
        (
            "[[check]]\nstatistic = 'n_suspicious'\nscope = 'class'\nmax = 1",
            "statistic 'n_suspicious' is not known",
        ),
        ("[[check]]\nstatistic = 'verdict'\none_of = ['undecided']", 'add scope = "class"'),
        (
            "[[check]]\nstatistic = 'verdict'\nscope = 'class'\nmin = 1",
            "does not suit this value; use one_of, none_of",
        ),
        ("[[check]]\nstatistic = 'lift'\nscope = 'class'\none_of = ['a']", "use min, max, above, below"),
        ("[[check]]\nmetric = ''\nmin = 1", "metric must be a non-empty text"),
        ("[[check]]\nmetric = 'lift'\nmin = 1\nmin_images = -1", "min_images must be a whole number >= 0"),
        ("waive = 'a'\n[[check]]\nmetric = 'lift'\nmin = 1", "waive must be a list of texts"),
        (
            "waive = ['clever']\n[[check]]\nmetric = 'lift'\nmin = 1",
            "waive 'clever' is not known; did you mean 'clever_hans'",
        ),
        ("inconclusive = 'ok'\n[[check]]\nmetric = 'lift'\nmin = 1", "valid: fail, inconclusive, pass"),
        ("min_coverage = 2\n[[check]]\nmetric = 'lift'\nmin = 1", "classes must be a number from 0 to 1"),
        ("min_coverage = 'all'\n[[check]]\nmetric = 'lift'\nmin = 1", "a number from 0 to 1, or a table"),
        ("[min_coverage]\nimage = 3\n[[check]]\nmetric = 'lift'\nmin = 1", "did you mean 'images'"),
        ("unused_waivers = 'no'\n[[check]]\nmetric = 'lift'\nmin = 1", "valid: fail, warn"),
        (
            "allow_incomplete = 1\n[[check]]\nmetric = 'lift'\nmin = 1",
            "allow_incomplete must be true or false",
        ),
        ("[[check", "not valid TOML"),
    ],
)
def test_policy_errors_are_one_line_that_says_what_is_valid(tmp_path, policy, message):
    file = tmp_path / "gate.toml"
    file.write_text(policy)
    with pytest.raises(PolicyError, match=message) as caught:
        load_policy(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_a_policy(tmp_path):
    (tmp_path / "gate.toml").write_text('\ufeff[[check]]\nmetric = "accuracy"\nmin = 0.5\n')
    assert len(load_policy(tmp_path / "gate.toml").checks) == 1


def test_a_missing_policy_file(tmp_path):
    with pytest.raises(PolicyError, match="cannot read the policy: No such file"):
        load_policy(tmp_path / "none.toml")


# -- checks of the whole run


def test_counts_name_their_classes_with_numbers(run):
    breach = check(run, name="no suspicious class", statistic="n_suspicious", max=0)
    assert breach.state == "fail"
    assert breach.message.startswith("n_suspicious is 2")
    assert breach.message.endswith(", must be at most 0")
    table = run[2]
    for note, label in zip(breach.findings[0].classes, (2, 5), strict=False):
        low, high = table.loc[label, "low"], table.loc[label, "high"]
        assert note.name == f"class 00{label}"
        assert note.role == "suspicious"
        assert f"[{low:+.2f}, {high:+.2f}], {table.loc[label, 'n']} images ranked" in note.numbers
    assert any("hansaudit clusters" in step and "--class s00000002" in step for step in breach.steps)


def test_what_was_not_tested_is_not_known(run):
    path = run[0]
    asked = {"statistic": "n_confirmed", "max": 0}
    before = (path / "ranking.json").read_bytes()
    untested = check(run, **asked)
    assert untested.state == "inconclusive"
    assert untested.message == (
        "n_confirmed is 0 and may become 10 (0 of 10 classes are decided), not known to be at most 0"
    )
    assert any(
        step.startswith(f"`hansaudit confirm {path} --class ") and step.endswith("tests more images")
        for step in untested.steps
    )
    try:
        edit_run(path, {})
        assert check(run, **asked).state == "pass"
        edit_run(path, {2: "depends", 1: "depends", 5: "undecided"})
        confirmed = check(run, **asked)
        assert confirmed.state == "fail"
        assert {n.name: n.role for n in confirmed.findings[0].classes} == {
            "class 001": "confirmed",
            "class 002": "confirmed",
            "class 005": "not decided",
        }
        assert "class 002: confirmed, effect +0.45 [+0.30, +0.60], 20 images edited" in [
            str(n) for n in confirmed.findings[0].classes
        ]
        assert check(run, statistic="n_confirmed", max=2).state == "inconclusive"  # class 005 may be a third
        assert check(run, statistic="n_confirmed", max=3).state == "pass"
        assert check(run, statistic="n_confirmed", max=2, min_coverage=0.9).state == "pass"
    finally:
        (path / "ranking.json").write_bytes(before)


def test_every_statistic_of_a_run(run):
    """Each against the drawn images and the table of the ranking; one that is missing here is named."""
    truth, table = run[1:]
    failed = truth.examples["status"] == "failed"
    maps, words = table["map_verdict"].value_counts(), table["verdict"].value_counts()
    expected = {
        **{f"n_{v}": maps.get(v, 0) for v in ("suspicious", "unfocused")},
        **{f"n_{v}": words.get(v, 0) for v in ("suspected", "undecided")},
        **{f"n_{v}": 0 for v in ("confirmed", "cleared", "unremarkable")},  # nothing is tested
        "n_classes": 10,
        "n_images": len(failed),
        "n_images_used": table["n"].sum(),
        **{f"n_{of}_edited": 0 for of in ("classes", "images")},
        "accuracy": truth.examples.loc[~failed, "correct"].mean(),
        "failed_fraction": failed.mean(),
        **{
            f"correlation_{name}": table["rank"].corr(table[f"{name}_rank"], method="spearman")
            for name in ("ratio", "small_box", "low_accuracy", "constant_map")
        },
    }
    asked = set(OF_RUN) - {*AGAINST_BASELINE, "n_null_confirmed"}
    values = {name: check(run, statistic=name, min=-1.0).findings[0].estimate.value for name in asked}
    assert values == pytest.approx(expected)
    assert check(run, metric="accuracy", min=0.1).findings[0].estimate.value == values["accuracy"]
    without_edits = check(run, statistic="n_null_confirmed", max=0)
    assert (without_edits.state, without_edits.message) == (
        "inconclusive",
        "n_null_confirmed is missing: no image was edited",
    )


def test_a_statistic_of_the_classes_is_aggregated(run):
    table = run[2]
    for how in ("mean", "median", "min", "max"):
        found = check(run, statistic="adjusted_lift", aggregate=how, min=-9).findings[0]
        ends = [getattr(table[column], how)() for column in ("adjusted_lift", "low", "high")]
        assert (found.estimate.value, found.estimate.low, found.estimate.high) == pytest.approx(tuple(ends))
        assert found.message.startswith(f"{how} adjusted_lift is ")


@pytest.mark.parametrize("metric", ["mass", "pointing", "accuracy_top5", "confidence", "box_area"])
@pytest.mark.parametrize("images", ["all", "correct"])
def test_stored_metrics(run, metric, images):
    truth = run[1].examples
    rows = truth[truth["status"] != "failed"]
    rows = rows[rows["correct"]] if images == "correct" else rows
    if metric not in ("accuracy_top5", "confidence"):
        rows = rows[rows["status"] == "ok"]
    values = rows.assign(pointing=rows["mass"] > 0.5, accuracy_top5=1.0)[metric].astype(float)
    overall = check(run, metric=metric, images=images, max=99)
    assert overall.findings[0].estimate.value == pytest.approx(values.mean(), rel=1e-6)
    median = check(run, metric=metric, images=images, aggregate="median", scope="class", max=99)
    expected = values.groupby(rows["label"]).median().to_numpy()
    found = {f.subject: f.estimate.value for f in median.findings}
    np.testing.assert_allclose([found[name] for name in sorted(found)], expected, rtol=1e-6)


# -- checks of every class


def test_every_class_is_judged(run):
    table = run[2]
    result = check(run, scope="class", statistic="adjusted_lift", min=-1.0)
    assert len(result.findings) == 10
    below, across = table["high"] < -1.0, (table["low"] < -1.0) & (table["high"] >= -1.0)
    states = {f.subject: f.state for f in result.findings}
    assert {name for name, state in states.items() if state == "fail"} == set(table[below]["class_name"])
    assert {name for name, state in states.items() if state == "inconclusive"} == set(
        table[across]["class_name"]
    )
    assert {"class 002", "class 005"} <= set(table[below | across]["class_name"])
    message = next(f.message for f in result.findings if f.subject == "class 002")
    assert message.startswith("adjusted_lift of class 002 is -")
    assert " [-" in message
    assert message.endswith(" at least -1")
    only = check(
        run,
        scope="class",
        statistic="map_verdict",
        none_of=["suspicious"],
        classes=["class 005", "s00000001"],
    )
    states = {f.subject: f.state for f in only.findings}
    assert states["class 005"] == "fail"
    assert len(states) == 2


def test_missing_values_never_pass(tmp_path):
    write_run(tmp_path, 5, [1, 30, 30, 30, 30], 0, maps=False, thumbnails=False, failures=0.0)
    data = [
        {"scope": "class", "statistic": "low", "min": -9.0},
        {"scope": "class", "statistic": "low", "min": -9.0, "min_coverage": 0.8},
        {"scope": "class", "statistic": "q_absolute", "max": 1.0},
        {"statistic": "low", "min": -9.0},
        {"statistic": "low", "min": -9.0, "min_coverage": 0.8},
        {"scope": "class", "statistic": "low", "min": -9.0, "min_images": 1000},
        {"statistic": "p_absolute", "aggregate": "max", "max": 1.0},
    ]
    found = evaluate(tmp_path, parse_policy({"check": data})).checks[1:]
    assert [r.state for r in found] == ["inconclusive", "pass", *["inconclusive"] * 2, "pass"] + [
        "inconclusive"
    ] * 2
    assert found[0].open[0].subject == "class 000"
    assert "low of class 000 is missing: undefined with" in found[0].open[0].message
    assert len(found[2].open) == 5
    assert "images, 1000 are needed" in found[5].open[1].message
    assert found[3].message == "mean low is missing: 4 of 5 classes have a value from 5 images or more"


def test_an_unfinished_run_is_inconclusive_unless_allowed(tmp_path):
    write_run(tmp_path, 4, 60, 0, maps=False, thumbnails=False)
    sorted((tmp_path / "examples").iterdir())[-1].unlink()
    policy = {"check": [{"statistic": "n_images", "min": 1}]}
    outcome = evaluate(tmp_path, parse_policy(policy))
    assert [c.state for c in outcome.checks] == ["inconclusive", "pass"]
    assert outcome.checks[0].message == "1 of 2 planned shards are finished"
    assert outcome.checks[0].steps == ("the same `hansaudit run` on the same folder finishes the run",)
    assert (outcome.state, outcome.passed) == ("inconclusive", False)
    assert evaluate(tmp_path, parse_policy(policy | {"inconclusive": "pass"})).passed
    as_fail = evaluate(tmp_path, parse_policy(policy | {"inconclusive": "fail"}))
    assert (as_fail.state, as_fail.counts_as) == ("inconclusive", "fail")
    assert evaluate(tmp_path, parse_policy(policy | {"allow_incomplete": True})).state == "pass"
    failing = evaluate(tmp_path, parse_policy({"check": [{"statistic": "n_images", "min": 900}]}))
    assert failing.state == "fail"  # whatever is missing


def test_a_ranking_older_than_the_run_is_refused(tmp_path):
    write_run(tmp_path, 4, 40, 0, maps=False, thumbnails=False, ranking={"draws": 100})
    part = sorted((tmp_path / "examples").iterdir())[-1]
    content = part.read_bytes()
    part.unlink()
    rank(tmp_path).document().write(RunFolder(tmp_path))
    part.write_bytes(content)
    policy = parse_policy({"check": [{"statistic": "n_images", "min": 160}]})
    said = r"ranking\.json: .* it is of 1 finished shards, the run has 2; .* `hansaudit rank "
    with pytest.raises(InputError, match=said) as caught:
        evaluate(tmp_path, policy)
    assert "\n" not in str(caught.value)
    rank(tmp_path).document().write(RunFolder(tmp_path))
    assert evaluate(tmp_path, policy).state == "pass"


def test_a_ranking_by_other_settings_is_refused(tmp_path):
    write_run(tmp_path, 4, 20, 0, maps=False, thumbnails=False)
    rank(tmp_path, RankingConfig(images="all", draws=100)).document().write(RunFolder(tmp_path))
    with pytest.raises(InputError, match=r"it was made with images = 'all', the run's own is 'correct'"):
        evaluate(tmp_path, parse_policy({"check": [{"statistic": "n_images", "min": 1}]}))


def test_a_run_of_another_schema_version_is_refused(tmp_path):
    write_run(tmp_path, 2, 5, 0, maps=False, thumbnails=False)
    path = tmp_path / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 7}))
    with pytest.raises(InputError, match="has schema version 7, this hansaudit reads 1 and 2"):
        evaluate(tmp_path, parse_policy({"check": [{"metric": "lift", "min": 1}]}))


def test_what_the_run_does_not_have(tmp_path, run):
    with pytest.raises(PolicyError, match="class 'class 02' is not known; did you mean 'class 00"):
        check(run, scope="class", statistic="lift", min=0, classes=["class 02"])
    with pytest.raises(PolicyError, match="metric 'pointin' is not known; did you mean 'pointing'"):
        check(run, metric="pointin", min=0)
    with pytest.raises(
        PolicyError, match=r"method 'lrp\.preset_b' is not known; did you mean 'lrp\.preset_a'"
    ):
        check(run, metric="mass", method="lrp.preset_b", min=0)
    with pytest.raises(InputError, match=r"no manifest\.json, so this is no run folder"):
        check((tmp_path,), statistic="n_suspicious", max=0)


# -- what comes out


awkward = st.text(st.characters(codec=None), max_size=40)


@given(awkward, awkward, st.sampled_from(list(State)))
def test_junit_and_markdown_hold_any_name(check_name, class_name, state):
    said = f"{class_name} is {check_name}"
    finding = Finding(class_name, state, said, Estimate(1.0))
    other = Finding("other", State.PASS, "fine", Estimate(None))
    waived = ClassNote(3, class_name, class_name, "fails", check_name, "somebody's")
    results = (Result(check_name, (finding, other), per_class=True), Result("b", (other,), waived=(waived,)))
    outcome = Outcome("run", results)
    root = ElementTree.fromstring(junit_xml(outcome).encode("utf-8"))
    cases = root.findall("./testsuite/testcase")
    tag = {"pass": [], "fail": ["failure"], "inconclusive": ["error"]}[state]
    assert [[e.tag for e in c] for c in cases] == [tag, [], [], ["skipped"]]
    assert root.attrib["failures"] == ("1" if state == "fail" else "0")
    assert root.attrib["errors"] == ("1" if state == "inconclusive" else "0")
    assert root.attrib["tests"] == "4"
    table = [line for line in markdown(outcome).splitlines() if line.startswith("| ")]
    assert len(table) == 4
    for line in table:
        assert line.replace("\\\\", "").replace("\\|", "").count("|") == 3


def test_names_survive_where_xml_can_hold_them():
    name = 'crème <brûlée> & "co" 犬 🐕'
    outcome = Outcome("run", (Result("c", (Finding(name, State.FAIL, name, Estimate(0.0)),)),))
    root = ElementTree.fromstring(junit_xml(outcome))
    assert root.find("./testsuite/testcase").attrib["name"] == name
    assert root.find(".//failure").attrib["message"] == name


def test_files_and_their_errors(tmp_path, run):
    outcome = evaluate(run[0], parse_policy({"check": [{"scope": "class", "statistic": "lift", "min": 9}]}))
    write(tmp_path / "gate.xml", junit_xml(outcome))
    write(tmp_path / "gate.md", markdown(outcome))
    assert ElementTree.parse(tmp_path / "gate.xml").getroot().attrib["failures"] == "10"
    text = (tmp_path / "gate.md").read_text()
    assert text.startswith("# Gate failed: 1 of 2 checks")
    assert text.count(", must be at least 9") == 10
    with pytest.raises(InputError, match="cannot be written"):
        write(tmp_path / "none" / "gate.xml", "")


def test_nothing_judged_is_not_a_pass():
    assert Outcome("run", ()).state == "inconclusive"
    assert Result("empty", ()).state == "inconclusive"


def test_the_gate_is_light(run, tmp_path):
    policy = tmp_path / "gate.toml"
    policy.write_text(
        "[[check]]\nstatistic = 'n_suspicious'\nmax = 0\n[[check]]\nmetric = 'accuracy'\nmin = 0.1\n"
    )
    code = (
        "import sys; from reports.gate.evaluate import evaluate; v = evaluate(sys.argv[1], sys.argv[2]);"
        "heavy = {'tensorflow', 'keras', 'pandas', 'pyarrow', 'scipy', 'matplotlib'};"
        "print(sorted(heavy & set(sys.modules))); sys.exit(v.state != 'fail')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(run[0]), str(policy)], check=False, capture_output=True
    )
    assert (done.returncode, done.stdout.decode().strip()) == (0, "[]")


@pytest.mark.parametrize("limit", [10**400, float("inf"), float("nan"), True])
def test_a_limit_that_decides_nothing_is_refused(limit):
    with pytest.raises(PolicyError, match="max must be a number"):
        parse_policy({"check": [{"statistic": "n_suspicious", "max": limit}]})
