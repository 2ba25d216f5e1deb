"""A report beside its baseline: what changed on the first screen, and what cannot be compared is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows import cli
from flows.beside import read_beside
from pipeline.config_sections import ReportConfig
from pipeline.run.folder import MANIFEST, RunFolder
from pipeline.statistics.ranking import rank
from pipeline.verdicts import Change
from reports.page.data import Beside
from reports.page.since import changed
from tests.reports.page.pages import Page
from tests.tables import forge_manifest, write_run

SETTINGS = {"draws": 100}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images three times: class 1 has a mark before, class 3 now; ``other`` is of other images."""
    root = tmp_path_factory.mktemp("changes")
    for name, effect, seed in (("before", {1: -2.5}, 5), ("now", {3: -2.5}, 5), ("other", {}, 6)):
        write_run(root / name, 12, 40, seed, effect, False, False, ranking=SETTINGS)
        rank(root / name).document().write(RunFolder(root / name))
    path = root / "other" / MANIFEST
    manifest = json.loads(path.read_text())
    manifest["dataset"]["fingerprint"] = "1" * 64
    path.write_text(json.dumps(manifest))
    return root


def shown(path: Path) -> Page:
    return Page((path / "report.html").read_text(encoding="utf-8"))


def first_screen(page: Page) -> str:
    return page.text.split("What to do next")[0]


def test_the_first_screen_names_what_came_and_went(runs: Path) -> None:
    assert cli.run(["report", str(runs / "now"), "--baseline", str(runs / "before")]) == cli.DONE
    page = shown(runs / "now")
    said = " ".join(first_screen(page).split())
    assert "New: class 003. Gone: class 001." in said
    assert "1 new 10 unchanged 1 gone" in said
    assert page.all("a").count({"href": "#changes", "title": Change.NEW.meaning}) == 1
    targets = {attributes.get("id") for _, attributes in page.tags}
    links = {str(a["href"])[1:] for a in page.all("a") if str(a.get("href", "")).startswith("#")}
    assert {"changes", "row-1", "row-3"} <= links <= targets


def test_the_other_way_round_is_the_mirror_image(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "back.html"
    command = ["report", str(runs / "before"), "--baseline", str(runs / "now"), "--out", str(out)]
    assert cli.run(command) == cli.DONE
    assert "New: class 001. Gone: class 003." in Page(out.read_text()).text


def test_a_run_beside_itself_changed_in_nothing(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "same.html"
    now = str(runs / "now")
    assert cli.run(["report", now, "--baseline", now, "--out", str(out)]) == cli.DONE
    text = Page(out.read_text()).text
    assert "12 unchanged" in " ".join(first_screen(Page(out.read_text())).split())
    assert "No class changed by more than matters." in text


def test_what_cannot_be_compared_is_refused_where_asked_for(runs: Path, capsys) -> None:
    command = ["report", str(runs / "now"), "--baseline"]
    assert cli.run([*command, str(runs / "other")]) == cli.WRONG_INPUT
    assert "images or labels: 1111" in capsys.readouterr().err
    assert cli.run([*command, str(runs / "nothing")]) == cli.WRONG_INPUT
    assert "no manifest.json" in capsys.readouterr().err
    assert cli.run([*command, str(runs / "before"), "--images", "all"]) == cli.WRONG_INPUT
    assert "leave out --method and --images" in capsys.readouterr().err


def test_what_the_configuration_names_is_shown_or_said(runs: Path, tmp_path: Path) -> None:
    now = runs / "now"
    named = {"baseline": str(runs / "other"), "decisions": str(tmp_path / "none.toml")}
    manifest = (now / MANIFEST).read_text()
    forge_manifest(now, {"report": named})
    try:
        assert cli.run(["report", str(now)]) == cli.DONE
        text = shown(now).text
        for words in (
            "What changed is not known: ",
            "cannot be compared",
            "No decisions are shown: ",
            "none",
        ):
            assert words in text
        assert cli.run(["report", str(now), "--baseline", "", "--decisions", ""]) == cli.DONE
        assert "not known" not in shown(now).text
        forge_manifest(now, {"report": {"baseline": str(runs / "before"), "decisions": ""}})
        assert cli.run(["report", str(now)]) == cli.DONE
        assert "New: class 003." in first_screen(shown(now))
    finally:
        (now / MANIFEST).write_text(manifest)


def test_what_somebody_named_here_is_followed_and_a_run_folder_calls_no_server(
    runs: Path, monkeypatch
) -> None:
    now, far = str(runs / "now"), "s3://elsewhere/before"
    beside = read_beside(now, rank(now), named=ReportConfig(baseline=str(runs / "before")))
    assert beside.comparison is not None
    assert [row.class_name for row in changed(beside.comparison)] == ["class 003", "class 001"]
    other = read_beside(now, rank(now), named=ReportConfig(baseline=str(runs / "other")))
    assert other.comparison is None
    assert "images or labels" in other.lacking[0]
    assert read_beside(now, rank(now), named=ReportConfig()) == Beside()
    assert read_beside(now, rank(now)) == Beside()
    asked = []
    monkeypatch.setattr("flows.beside._compared", lambda run, ranking, path: asked.append(path))
    monkeypatch.setattr("flows.beside._named_by", lambda run: {"baseline": far})
    assert f"{far} is named by the run folder alone" in read_beside(now, rank(now)).lacking[0]
    assert asked == []
    read_beside(now, rank(now), named=ReportConfig(baseline=far))
    read_beside(now, rank(now), baseline=far)
    assert asked == [far, far]
