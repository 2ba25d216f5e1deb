"""Histories: the order of runs and classes, gaps that stay gaps, the same rows everywhere, hostile names."""

from __future__ import annotations

import csv
import json
import shutil
from datetime import date
from html.parser import HTMLParser
from itertools import permutations
from pathlib import Path
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pytest

from flows import cli
from pipeline.errors import InputError
from pipeline.run.folder import MANIFEST, RunFolder
from pipeline.statistics.ranking import rank
from reports.decisions.file import parse_decisions
from reports.history.charts import Frame, Scale, figure_chart
from reports.history.course import Figure, RunSaid, history_of
from reports.history.page import history_page, position_of
from reports.history.watched import Measured, watched_page
from tests.reports.gate.edited import edit_run
from tests.tables import write_run

NASTY = '<img src=x onerror="alert(1)">'


def said(position: int, classes: dict[str, dict | None], **others) -> RunSaid:
    """A run of these classes: key -> verdict and figures; None: the dataset has it, the run no image."""
    rows = {
        key: {"class_name": key, "n_images": 20, **row} for key, row in classes.items() if row is not None
    }
    about = {
        "path": f"runs/{position}",
        "started": f"2026-03-0{position + 1}T02:00:00+00:00",
        "dataset": "birds val, 40 images",
        "method": "gradient",
        "accuracy": 0.5,
        "n_images": 40,
    }
    return RunSaid(classes=rows, class_keys=tuple(classes), **(about | others))


def quiet(effect: float | None = None) -> dict:
    return {"verdict": "unremarkable", "effect": effect}


def test_accused_classes_come_first_and_then_those_that_changed_most():
    runs = [
        said(
            0,
            {
                "calm": quiet(0.0),
                "mover": quiet(0.0),
                "back": quiet(),
                "sus": quiet(),
                "bad": {"verdict": "confirmed"},
            },
        ),
        said(
            1,
            {
                "calm": quiet(0.01),
                "mover": quiet(0.4),
                "back": {"verdict": "suspected"},
                "sus": quiet(),
                "bad": None,
            },
        ),
        said(
            2,
            {
                "calm": quiet(0.0),
                "mover": quiet(0.3),
                "back": quiet(),
                "sus": {"verdict": "suspected"},
                "bad": {"verdict": "confirmed"},
            },
        ),
    ]
    history = history_of(runs)
    assert [course.key for course in history.classes] == ["bad", "sus", "back", "mover", "calm"]
    by_key = {course.key: course for course in history.classes}
    assert by_key["back"].changes == (1, 2)
    assert by_key["bad"].changes == ()  # a gap between two equal verdicts is no change
    assert by_key["bad"].verdicts == ("confirmed", None, "confirmed")
    assert [c.key for c in history.classes if c.is_quiet] == ["mover", "calm"]
    assert [f.value for f in history.overall["n_confirmed"]] == [1, 0, 1]
    assert history.headline == (
        "3 runs: 1 confirmed at first and 1 now, 0 suspected at first and 1 now; 2 of 5 classes changed "
        "their verdict"
    )


def test_what_a_run_does_not_say_is_a_gap():
    runs = [said(k, {"a": quiet(effect)}) for k, effect in enumerate((0.25, None, 0.5))]
    (course,) = history_of(runs).classes
    assert [f.value for f in course.figure("effect")] == [0.25, None, 0.5]
    assert course.change("effect") == 0.25
    figures = [Figure(0.1, 0.0, 0.2), Figure(0.2, 0.1, 0.3), Figure(), Figure(0.5, 0.4, 0.6)]
    chart = ElementTree.fromstring(
        str(figure_chart(Frame(["a", "b", "c", "d"]), figures, Scale(0, 1), "effect"))
    )
    paths = [(path.get("class"), path.get("d")) for path in chart.findall("path")]
    # from 7 to 193 across; from 65 up to 7
    assert ("line", "M7 59.2L69 53.4") in paths
    assert ("line", "M193 36") in paths
    assert ("bar", "M193 30.2L193 41.8") in paths
    assert not [d for _, d in paths if d and "131" in d]
    titles = [title.text for title in chart.iter("title")]
    assert titles == ["a: +0.10 [0.00, +0.20]", "b: +0.20 [+0.10, +0.30]", "d: +0.50 [+0.40, +0.60]"]


def test_other_datasets_classes_and_methods_are_said():
    runs = [
        said(0, {"a": quiet(), "b": quiet()}),
        said(1, {"b": quiet(), "c": quiet()}, dataset="birds test, 9 images", method="lrp.preset_a"),
    ]
    history = history_of(runs)
    (note,) = history.notes
    assert "another dataset (birds test, 9 images, not birds val, 40 images)" in note
    assert "other classes (1 gone, 1 new)" in note
    assert "another method (lrp.preset_a, not gradient)" in note
    assert {c.key: c.verdicts for c in history.classes} == {
        "a": ("unremarkable", None),
        "b": ("unremarkable", "unremarkable"),
        "c": (None, "unremarkable"),
    }
    with pytest.raises(InputError, match="runs/1: has no class in common with runs/0"):
        history_of([said(0, {"a": quiet()}), said(1, {"b": quiet()})])


def test_where_a_day_lies_among_the_runs():
    runs = [said(0, {"a": quiet()}), said(2, {"a": quiet()}), said(3, {"a": quiet()})]
    assert position_of(runs, date(2026, 3, 4)) == 2  # the day of the last run
    assert position_of(runs, date(2026, 3, 2)) == pytest.approx(34 / 48)  # at noon
    assert position_of(runs, date(2026, 3, 5)) is None
    assert position_of(list(reversed(runs)), date(2026, 3, 2)) is None


class Tags(HTMLParser):
    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data):
        self.texts.append(data.strip())


def test_hostile_names_and_decisions_are_text():
    runs = [
        said(k, {NASTY: {"verdict": "confirmed", "effect": 0.2}}, path=f"runs/{NASTY}{k}") for k in range(2)
    ]
    entry = {
        "class": NASTY,
        "decision": "unsure",
        "reason": "<script>1</script>",
        "owner": "</bdi>",
        "decided": date(2026, 3, 1),
    }
    page = Tags(history_page(history_of(runs), parse_decisions({"decision": [entry]})))
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert {NASTY, "<script>1</script>", "</bdi>"} <= set(page.texts)
    titles = [text for text in page.texts if text.startswith("decided: unsure")]
    assert len(titles) == 2  # in the charts of verdict and effect


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Three nights of four classes; class 2 is confirmed from the second night on."""
    folder = tmp_path_factory.mktemp("history")
    write_run(folder / "n1", 4, 20, 3, {}, maps=False, thumbnails=False, ranking={"draws": 100})
    for k in (1, 2, 3):
        run = folder / f"n{k}"
        if k > 1:
            shutil.copytree(folder / "n1", run)
        manifest = json.loads((run / MANIFEST).read_text())
        manifest["sessions"][0]["started"] = f"2026-03-0{k}T02:00:00+00:00"
        (run / MANIFEST).write_text(json.dumps(manifest))
        rank(run).document().write(RunFolder(run))
        edit_run(run, {2: "depends" if k > 1 else "independent"})
    return folder


def names(folder: Path, *which: int) -> list[str]:
    return [str(folder / f"n{k}") for k in which]


def test_the_command_orders_by_date_and_writes_the_same_rows_thrice(runs, tmp_path, capsys):
    tables = []
    for order in permutations((1, 2, 3)):
        out = tmp_path / "h.csv"
        assert cli.run(["history", *names(runs, *order), "--csv", str(out)]) == cli.DONE
        tables.append(out.read_text())
    assert len(set(tables)) == 1
    rows = list(csv.DictReader(tables[0].splitlines()))
    verdicts = [row for row in rows if row["figure"] == "verdict" and row["class_id"] == "s00000002"]
    assert [(Path(row["run"]).name, row["changed"]) for row in verdicts] == [
        ("n1", "False"),
        ("n2", "True"),
        ("n3", "False"),
    ]
    assert [row["word"] for row in verdicts][1:] == ["confirmed"] * 2
    effects = [row["value"] for row in rows if row["figure"] == "effect" and row["class_name"] == "class 002"]
    assert effects == ["0", "0.45", "0.45"]
    gaps = [row["value"] for row in rows if row["figure"] == "background_gap"]
    assert set(gaps) == {""}
    parquet = tmp_path / "h.parquet"
    assert cli.run(["history", *names(runs, 3, 1), "--order", "given", "--parquet", str(parquet)]) == cli.DONE
    table = pq.read_table(parquet).to_pylist()
    confirmed = [row["value"] for row in table if row["figure"] == "n_confirmed"]
    assert confirmed == [1.0, 0.0]
    assert next(row["value"] for row in table if row["figure"] == "background_gap") is None
    assert "class 002" in capsys.readouterr().out


def test_what_is_no_history_is_refused_in_a_line(runs, tmp_path, capsys):
    def refused(*words: str) -> str:
        assert cli.run(["history", *words]) == cli.WRONG_INPUT
        return " ".join(capsys.readouterr().err.split())

    assert "received 1 run; valid: two runs or more" in refused(*names(runs, 1))
    assert "given twice" in refused(*names(runs, 1, 2, 1))
    assert "manifest.json" in refused(*names(runs, 1), str(tmp_path))
    shutil.copytree(runs / "n1", tmp_path / "copy")
    assert "began at the same time (2026-03-01T02:00:00+00:00)" in refused(
        *names(runs, 1), str(tmp_path / "copy")
    )
    assert "order 'size' is not known; valid: dates, given" in refused(*names(runs, 1, 2), "--order", "size")
    assert "cannot be written" in refused(*names(runs, 1, 2), "--parquet", str(tmp_path / "no" / "h.parquet"))
    assert (
        cli.run(["history", *names(runs, 1), str(tmp_path / "copy"), "--order", "given", "--top", "1"])
        == cli.DONE
    )


def test_what_was_watched_is_a_mean_from_the_least_to_the_greatest():
    shares = {("a", 1): 0.25, ("b", 1): 0.75, ("a", 2): 0.5, ("b", 2): None, ("a", 3): None, ("b", 3): None}
    measured = [Measured(k, image, NASTY, "gradient", "mass", v) for (image, k), v in shares.items()]
    page = watched_page("it learns", measured, ["mass"])
    assert Tags(page).tags.count("img") == 0
    titles = [text for text in Tags(page).texts if text.startswith("epoch")]
    # a mean of two with both ends, then one alone, then nothing: a gap
    assert titles == ["epoch 1: 50\u202f% [25\u202f%, 75\u202f%]", "epoch 2: 50\u202f%"]
    assert {"gradient", ", 2 images"} <= set(Tags(page).texts)
    assert "mass over 3 runs; last 50\u202f%" in page
