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
from pipeline.config import RankingConfig
from pipeline.errors import InputError
from pipeline.run.folder import MANIFEST, RunFolder
from pipeline.run.hashes import hashed
from pipeline.statistics.ranking import rank
from reports.gate.evaluate import evaluate
from reports.gate.junit import junit_xml
from reports.gate.markdown import markdown
from reports.gate.operators import OPERATORS
from reports.gate.outcome import Finding, Outcome, Result, write
from reports.gate.policy import PolicyError, load_policy, parse_policy
from reports.gate.statistics import OF_CLASS, OF_RUN
from tests.reports.page.pages import write_confirmation
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
    """The one finding's check, without the check for completeness."""
    known = keys.pop("known", [])
    verdict = evaluate(run[0], parse_policy({"known": known, "check": [keys]}))
    assert verdict.checks[0].name == "run complete"
    assert verdict.checks[0].passed
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
    text = {"label", "class_id", "class_name", "planted"}
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
        ("known = 'a'\n[[check]]\nmetric = 'lift'\nmin = 1", "known must be a list of texts"),
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


def test_counts_and_known_classes(run):
    breach = check(run, name="no suspicious class", statistic="n_suspicious", max=0)
    assert not breach.passed
    assert breach.message == "n_suspicious is 2, must be at most 0"
    one = check(run, statistic="n_suspicious", max=0, known=["class 002"])
    assert one.message == "n_suspicious is 1, must be at most 0 (known and excused: class 002)"
    assert check(run, statistic="n_suspicious", max=0, known=["class 002", "s00000005"]).passed
    assert check(run, statistic="n_suspicious", max=2).passed


def test_what_interventions_found_counts_only_for_the_run_as_it_is(run):
    path, _, table = run
    asked = {"statistic": "n_confirmed", "max": 0}
    message = check(run, **asked).message
    assert message == (
        "n_confirmed is missing: the run as it is was not tested by interventions: run `hansaudit confirm`"
    )
    write_confirmation(path, {2: "confirmed", 5: "attribution_only", 1: "hidden"}, dict(table["class_name"]))
    try:
        assert check(run, **asked).message == "n_confirmed is 1, must be at most 0"
        assert check(run, **asked, known=["class 002"]).excused == ("class 002",)
        assert check(run, **asked, known=["class 002"]).passed
        assert check(run, statistic="n_hidden", max=0).findings[0].value == 1
        stale = json.loads((path / "confirm.json").read_text()) | {"n_shards": 1}
        (path / "confirm.json").write_text(json.dumps(hashed(stale)))
        assert check(run, **asked).message == message
    finally:
        (path / "confirm.json").unlink()


def test_every_statistic_of_a_run(run):
    """Each against the drawn images and the table of the ranking; one that is missing here is named."""
    path, truth, table = run
    write_confirmation(path, {2: "confirmed", 5: "hidden", 1: "hidden"}, dict(table["class_name"]))
    failed = truth.examples["status"] == "failed"
    counts = table["map_verdict"].value_counts()
    expected = {
        **{f"n_{v}": counts.get(v, 0) for v in ("suspicious", "unfocused", "undecided", "unremarkable")},
        "n_confirmed": 1,
        "n_hidden": 2,
        "n_classes": 10,
        "n_images": len(failed),
        "n_images_used": table["n"].sum(),
        "accuracy": truth.examples.loc[~failed, "correct"].mean(),
        "failed_fraction": failed.mean(),
        **{
            f"correlation_{name}": table["rank"].corr(table[f"{name}_rank"], method="spearman")
            for name in ("ratio", "small_box", "low_accuracy", "constant_map")
        },
    }
    try:
        values = {name: check(run, statistic=name, min=-1.0).findings[0].value for name in OF_RUN}
    finally:
        (path / "confirm.json").unlink()
    assert values == pytest.approx(expected)
    assert check(run, metric="accuracy", min=0.1).findings[0].value == values["accuracy"]


def test_a_statistic_of_the_classes_is_aggregated(run):
    table = run[2]
    for how in ("mean", "median", "min", "max"):
        found = check(run, statistic="adjusted_lift", aggregate=how, min=-9).findings[0]
        assert found.value == pytest.approx(getattr(table["adjusted_lift"], how)())
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
    assert overall.findings[0].value == pytest.approx(values.mean(), rel=1e-6)
    median = check(run, metric=metric, images=images, aggregate="median", scope="class", max=99)
    expected = values.groupby(rows["label"]).median().to_numpy()
    found = {f.subject: f.value for f in median.findings}
    np.testing.assert_allclose([found[name] for name in sorted(found)], expected, rtol=1e-6)


# -- checks of every class


def test_every_class_is_judged(run):
    result = check(run, scope="class", statistic="adjusted_lift", min=-1.0)
    assert len(result.findings) == 10
    assert {f.subject for f in result.breaches} == {"class 002", "class 005"}
    assert "adjusted_lift of class 002 is -" in result.breaches[0].message
    assert result.breaches[0].message.endswith(", must be at least -1")
    assert result.message == "adjusted_lift of every class: 2 of 10 classes in breach"
    excused = check(run, scope="class", statistic="adjusted_lift", min=-1.0, known=["class 002", "class 005"])
    assert excused.passed
    assert set(excused.excused) == {"class 002", "class 005"}
    only = check(
        run,
        scope="class",
        statistic="map_verdict",
        none_of=["suspicious"],
        classes=["class 005", "class 001"],
    )
    assert [(f.subject, f.passed) for f in only.findings] == [("class 005", False), ("class 001", True)]


def test_missing_values_fail(tmp_path):
    write_run(tmp_path, 5, [1, 30, 30, 30, 30], 0, maps=False, thumbnails=False, failures=0.0)
    data = [
        {"scope": "class", "statistic": "low", "min": -9.0},
        {"scope": "class", "statistic": "low", "min": -9.0, "min_images": 5},
        {"scope": "class", "statistic": "q_absolute", "max": 1.0},
        {"statistic": "low", "min": -9.0},
        {"scope": "class", "statistic": "low", "min": -9.0, "min_images": 1000},
        {"statistic": "p_absolute", "aggregate": "max", "max": 1.0},
    ]
    found = evaluate(tmp_path, parse_policy({"check": data})).checks[1:]
    assert [r.passed for r in found] == [False, True, False, False, False, False]
    assert found[0].breaches[0].subject == "class 000"
    assert "low of class 000 is missing: undefined with" in found[0].breaches[0].message
    assert len(found[2].breaches) == 5
    assert "nothing could be judged" in found[4].message


def test_an_unfinished_run_fails_unless_allowed(tmp_path):
    write_run(tmp_path, 4, 60, 0, maps=False, thumbnails=False)
    sorted((tmp_path / "examples").iterdir())[-1].unlink()
    policy = {"check": [{"statistic": "n_images", "min": 1}]}
    verdict = evaluate(tmp_path, parse_policy(policy))
    assert [c.passed for c in verdict.checks] == [False, True]
    assert verdict.checks[0].message == "1 of 2 planned shards are finished"
    assert (verdict.passed, verdict.exit_code) == (False, 1)
    allowed = evaluate(tmp_path, parse_policy(policy | {"allow_incomplete": True}))
    assert (allowed.passed, allowed.exit_code) == (True, 0)


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
    assert evaluate(tmp_path, policy).passed


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
    with pytest.raises(PolicyError, match="known class 'class 02' is not known; did you mean 'class 00"):
        check(run, statistic="n_suspicious", max=0, known=["class 02"])
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


@given(awkward, awkward, st.booleans())
def test_junit_and_markdown_hold_any_name(check_name, class_name, passed):
    finding = Finding(class_name, 1.0, passed, f"{class_name} is {check_name}")
    other = Finding("other", None, True, "fine")
    verdict = Outcome("run", (Result(check_name, (finding, other), (class_name,)),))
    root = ElementTree.fromstring(junit_xml(verdict).encode("utf-8"))
    cases = root.findall("./testsuite/testcase")
    assert [len(list(c)) for c in cases] == [0 if passed else 1, 0, 1]
    assert root.attrib["failures"] == ("0" if passed else "1")
    assert root.attrib["tests"] == "3"
    lines = markdown(verdict).splitlines()
    (cells,) = [line for line in lines if line.startswith("| ") and ("pass:" in line or "FAIL:" in line)][:1]
    bare = cells.replace("\\\\", "").replace("\\|", "")
    assert bare.count("|") == 3


def test_names_survive_where_xml_can_hold_them():
    name = 'crème <brûlée> & "co" 犬 🐕'
    verdict = Outcome("run", (Result("c", (Finding(name, 0.0, False, name),)),))
    root = ElementTree.fromstring(junit_xml(verdict))
    assert root.find("./testsuite/testcase").attrib["name"] == name
    assert root.find(".//failure").attrib["message"] == name


def test_files_and_their_errors(tmp_path, run):
    verdict = evaluate(run[0], parse_policy({"check": [{"scope": "class", "statistic": "lift", "min": 9}]}))
    write(tmp_path / "gate.xml", junit_xml(verdict))
    write(tmp_path / "gate.md", markdown(verdict))
    assert ElementTree.parse(tmp_path / "gate.xml").getroot().attrib["failures"] == "10"
    text = (tmp_path / "gate.md").read_text()
    assert text.startswith("# Gate failed: 1 of 2 checks")
    assert text.count("must be at least 9") == 10
    with pytest.raises(InputError, match="cannot be written"):
        write(tmp_path / "none" / "gate.xml", "")


def test_nothing_judged_is_not_a_pass():
    assert not Outcome("run", ()).passed
    assert not Result("empty", ()).passed


def test_the_gate_is_light(run, tmp_path):
    policy = tmp_path / "gate.toml"
    policy.write_text(
        "[[check]]\nstatistic = 'n_suspicious'\nmax = 0\n[[check]]\nmetric = 'accuracy'\nmin = 0.1\n"
    )
    code = (
        "import sys; from reports.gate.evaluate import evaluate; v = evaluate(sys.argv[1], sys.argv[2]);"
        "heavy = {'tensorflow', 'keras', 'pandas', 'pyarrow', 'scipy', 'matplotlib'};"
        "print(sorted(heavy & set(sys.modules))); sys.exit(v.exit_code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(run[0]), str(policy)], check=False, capture_output=True
    )
    assert (done.returncode, done.stdout.decode().strip()) == (1, "[]")


@pytest.mark.parametrize("limit", [10**400, float("inf"), float("nan"), True])
def test_a_limit_that_decides_nothing_is_refused(limit):
    with pytest.raises(PolicyError, match="max must be a number"):
        parse_policy({"check": [{"statistic": "n_suspicious", "max": limit}]})
