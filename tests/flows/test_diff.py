"""``hansaudit diff``: tables, figure and page of what changed; hostile names; nothing heavy."""

from __future__ import annotations

import html
import io
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from flows import cli
from pipeline.run.folder import MANIFEST, RunFolder
from pipeline.statistics.ranking import rank
from reports.changes.tables import COLUMNS
from tests.tables import write_run

HOSTILE = ("<script>alert(1)</script>", '"><img src=x>', "=1+1", "a\x1b[31m\nb", "犬", "plain")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """``before`` and ``now``: class 1 looks beside its objects now; classes with hostile names."""
    folder = tmp_path_factory.mktemp("diff")
    for name, effect in (("before", {}), ("now", {1: -1.5})):
        run = folder / name
        write_run(run, 6, 40, 7, effect, maps=False, thumbnails=False, ranking={"draws": 100})
        manifest = json.loads((run / MANIFEST).read_text())
        manifest["dataset"]["class_names"] = list(HOSTILE)
        (run / MANIFEST).write_text(json.dumps(manifest))
        rank(run).document().write(RunFolder(run))
    return folder


def test_what_changed_is_printed_and_written(runs, tmp_path, capsys):
    files = {name: tmp_path / f"c.{name}" for name in ("csv", "json", "html", "figure")}
    options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    assert cli.run(["diff", str(runs / "before"), str(runs / "now"), *options]) == cli.DONE
    said = capsys.readouterr().out
    assert "1 new, 5 unchanged" in said
    assert "\x1b" not in said
    table = pd.read_csv(io.StringIO(files["csv"].read_text()))
    assert tuple(table.columns) == COLUMNS
    assert list(table["change"])[:2] == ["new", "unchanged"]
    assert sorted(table["class_name"]) == sorted(n if n != "=1+1" else "'=1+1" for n in HOSTILE)
    content = json.loads(files["json"].read_text())
    assert content["headline"] == "1 new, 5 unchanged"
    assert content["classes"][0]["lift"] == pytest.approx(table.loc[0, "lift"], rel=1e-6)
    figure = ElementTree.fromstring(files["figure"].read_text())
    circles = figure.findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == 1  # the class that changed, its lift; no edits


class Tags(HTMLParser):
    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.texts.append(data.strip())


def test_the_page_shows_hostile_names_and_nothing_else(runs, tmp_path):
    page = tmp_path / "c.html"
    assert cli.run(["diff", str(runs / "now"), str(runs / "before"), "--html", str(page)]) == cli.DONE
    read = Tags(page.read_text())
    assert "script" not in read.tags
    assert "img" not in read.tags
    assert set(HOSTILE[:3]) <= set(read.texts)
    assert "script-src 'none'" in html.unescape(page.read_text())
    assert read.tags.count("tr") == 7


def test_runs_of_other_data_and_of_methods_that_are_not_there_are_refused(runs, tmp_path, capsys):
    write_run(tmp_path / "other", 6, 20, 7, {}, maps=False, thumbnails=False)
    assert cli.run(["diff", str(runs / "now"), str(tmp_path / "other")]) == cli.WRONG_INPUT
    said = " ".join(capsys.readouterr().err.split())
    assert "number of images: 240 there, 120 here; compare runs on" in said.replace("before", "")
    command = ["diff", str(runs / "now"), str(runs / "now"), "--method", "gradient"]
    assert cli.run(command) == cli.WRONG_INPUT
    assert "no scores of method 'gradient'" in capsys.readouterr().err
    same = ["diff", str(runs / "now"), str(runs / "now"), "--baseline-method", "lrp.preset_a"]
    assert cli.run(same) == cli.DONE
    assert "6 unchanged" in capsys.readouterr().out


def test_two_methods_of_one_run(capsys):
    earlier = Path(__file__).parents[1] / "fixtures" / "run-schema-1"
    command = ["diff", str(earlier), str(earlier), "--method", "gradient"]
    assert cli.run([*command, "--baseline-method", "lrp.preset_a"]) == cli.DONE
    assert "lrp.preset_a before, gradient now" in " ".join(capsys.readouterr().out.split())


def test_it_never_loads_what_takes_longer_than_its_work(runs):
    code = (
        "import sys; from flows import cli; cli.run(['diff', *sys.argv[1:]]);"
        "print(sorted({'tensorflow', 'keras', 'prefect', 'matplotlib', 'scipy.stats'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(runs / "before"), str(runs / "now")],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"
