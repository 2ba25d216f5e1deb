"""Names of classes and files come from strangers: they survive wherever they are shown, in one row."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.text import Text

from flows import terminal
from pipeline.csv_text import csv_line, neutral
from pipeline.errors import InputError, shown
from reports.gallery.model import Cell, Gallery, Line
from reports.gallery.page import page
from reports.gallery.views import all_views
from reports.gate.json_document import outcome_json
from reports.gate.junit import junit_xml
from reports.gate.markdown import markdown
from reports.gate.operators import Estimate
from reports.gate.outcome import ClassNote, Finding, Outcome, Result
from reports.gate.sarif import sarif
from reports.gate.state import State

NASTY = (
    "a\rb",
    "c\r\nd",
    'quoted "twice"',
    "=HYPERLINK(1)",
    "+1",
    "-1",
    "@SUM(1)",
    "\tx",
    "'=x",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b2J",
    "\u202eright to left",
    "a|b",
    "<script>alert(1)</script>",
    "[bold]x[/bold]",
    "1,5",
    "NA",
)
names = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
)
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def undone(cell: str) -> str:
    """A name back from a cell, as docs/statistics.md says: an apostrophe less before a formula's start."""
    return cell[1:] if re.match(r"'+[=+\-@\t\r]", cell) else cell


@given(st.lists(names, min_size=1, max_size=5), st.floats(allow_nan=False, allow_infinity=False, width=32))
@example(list(NASTY), -0.5)
def test_csv_gives_the_same_names_and_numbers_back(texts: list[str], number: float):
    written = csv_line(["name", "n", "x"]) + "".join(csv_line([t, -i, number]) for i, t in enumerate(texts))
    expected = [t.replace("\0", "\\x00") for t in texts]
    head, *rows = csv.reader(io.StringIO(written, newline=""))
    assert head == ["name", "n", "x"]
    assert [undone(name) for name, _, _ in rows] == expected
    table = pd.read_csv(io.StringIO(written, newline=""), keep_default_na=False)
    assert [
        undone(str(name))
        for name in pd.read_csv(io.StringIO(written, newline=""), keep_default_na=False, dtype={"name": str})[
            "name"
        ]
    ] == expected
    assert table["n"].tolist() == [-i for i in range(len(texts))]  # numbers stay numbers, negative ones, too
    assert table["x"].to_numpy(float) == pytest.approx([number] * len(texts), rel=1e-7)


@given(names)
def test_no_cell_is_a_formula(name: str):
    assert not csv_line([name])[1:2].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert undone(neutral(name)) == name


def test_bytes_that_are_no_text_become_visible():
    assert csv_line(["a\udcff"]).encode() == b'"a\\udcff"\n'
    assert csv_line([np.float64("nan"), None, np.float64(1 / 3)]) == ",,0.33333333\n"


def printed(*texts: str) -> str:
    """What reaches a terminal of 400 columns."""
    screen = terminal.Screen(
        file=io.StringIO(), width=400, highlight=False, force_terminal=True, no_color=True
    )
    for text in texts:
        screen.print(Text(text), soft_wrap=True)
    return screen.file.getvalue()


@given(names)
@example("\x1b[2J")
def test_a_terminal_obeys_no_name(name: str):
    assert not CONTROL.search(printed(name))
    line = printed(shown(name))
    assert not CONTROL.search(line)
    assert line.count("\n") == 1
    assert not CONTROL.search(str(InputError(name)))


@given(names)
@example("a\nb")
def test_a_name_is_one_row_of_a_list(name: str):
    screen = terminal.Screen(file=io.StringIO(), width=400, highlight=False)
    before, terminal.console = terminal.console, screen
    try:
        terminal.print_list("class", [("first",), (name,)], ())
        terminal.print_line(name)
        terminal.print_path(name, "s3://bucket/x")
    finally:
        terminal.console = before
    text = screen.file.getvalue()
    assert not CONTROL.search(text)
    rows = [line for line in text.splitlines() if line.startswith("│")]
    assert len(rows) == 2


@given(names)
def test_a_gate_s_documents_hold_any_name(name: str):
    note = ClassNote(1, name, name, name, name, name, name)
    finding = Finding(name, State.FAIL, f"{name}: 1 is more than 0", Estimate(1.0), (note,))
    results = (Result(name, (finding, finding)), Result("b", (finding,), name, waived=(note,), steps=(name,)))
    outcome = Outcome(name, results, notes=(name,), report=name)
    assert json.loads(outcome_json(outcome))["checks"][0]["findings"][0]["classes"][0]["name"] == name
    assert json.loads(sarif(outcome))["runs"][0]["tool"]["driver"]["rules"][0]["name"] == name
    root = ElementTree.fromstring(junit_xml(outcome))
    kept = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "\ufffd", name)
    assert root[0].get("name") == kept
    assert [case.get("name") for case in root[0]] == [kept, kept]
    text = markdown(outcome)
    assert not CONTROL.search(text)
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(table) == 4  # head, rule, two checks
    assert all(len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 3 for line in table)


class Reader(HTMLParser):
    """Texts and tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.texts.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    return reader


def gallery_page(name: str) -> str:
    picture = np.zeros((4, 4, 3), np.uint8)
    cell = Cell(np.ones((4, 4, 3)), all_views()["heatmap"])
    return page(Gallery(name, (name,), (Line(picture, (name,), (cell,)),), "image", (("network", name),)))


@given(names)
def test_a_gallery_s_page_shows_any_name_and_nothing_else(name: str):
    plain, with_name = read(gallery_page("x")), read(gallery_page(name))
    tags = [tag for tag in with_name.tags if tag != "wbr"]
    assert tags == [tag for tag in plain.tags if tag != "wbr"]
    flat = "".join("".join(with_name.texts).split())
    assert "".join(name.split()) in flat


def test_a_ranking_of_nasty_names(tmp_path: Path, capsys):
    from flows import cli
    from pipeline.run.store import Store
    from tests.tables import write_run

    run = tmp_path / "run"
    write_run(run, len(NASTY), 12, 1, {0: -2.0}, False, False, ranking={"draws": 100})
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["dataset"]["class_names"] = list(NASTY)
    (run / "manifest.json").write_text(json.dumps(manifest))
    policy = tmp_path / "gate.toml"
    policy.write_text('[[check]]\nscope = "class"\nstatistic = "adjusted_lift"\nmin = 9.0\n')
    assert cli.run(["report", str(run)]) == cli.DONE
    assert cli.run(["rank", str(run), "--top", "30"]) == cli.DONE
    assert cli.run(["gate", str(run), "--policy", str(policy)]) == cli.BREACH
    told = capsys.readouterr()
    assert not CONTROL.search(told.out + told.err)
    table = pd.read_csv(io.BytesIO(Store(run).files.get("ranking.csv")), keep_default_na=False)
    assert sorted(map(undone, table["class_name"])) == sorted(NASTY)
    assert table["adjusted_lift"].dtype == float
    assert "<script>alert(1)" not in (run / "report.html").read_text()
