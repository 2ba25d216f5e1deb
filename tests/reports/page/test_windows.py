"""Windows that carry a class, in the report: cut out, and in words."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.statistics.ranking import Ranking, rank
from pipeline.statistics.reference_windows import SameWindows
from reports.page.data import load_run
from reports.page.html import write_report
from reports.page.windows import sentence, windows_of
from tests.reports.page.pages import HOSTILE, rename_classes, write_windows


@pytest.fixture
def pasted(drawn: tuple[Path, Ranking], tmp_path: Path) -> Path:
    folder = shutil.copytree(drawn[0], tmp_path / "run")
    write_windows(folder)
    return folder


def test_the_page_shows_the_windows_and_what_they_add(pasted: Path) -> None:
    ranking = rank(pasted)
    run = load_run(pasted, ranking)
    windows = windows_of(run, [0, 1, 2])
    assert sorted(windows) == [0, 1]
    assert [(w.n, round(w.added, 4), round(w.control, 4)) for w in windows[0].best] == [(2, 0.75, 0.0)] * 3
    assert windows[1].best == ()
    rows = {int(r["label"]): r for r in ranking.table.to_dict("records")}
    said = sentence(run, rows[0])
    assert said.startswith("Pasted onto 24 images of other classes, the most relevant windows beside")
    assert "add +0.75 to the probability of the class" in said
    assert "The best four, pasted elsewhere on other images, add" in said
    assert "what they carry holds at other places, too" in said
    assert "carry nothing of the class" in sentence(run, rows[1])
    assert sentence(run, rows[2]) == ""
    found = rows[0]["finding"]
    assert found.startswith("A yellow patch of about 10 x 9 pixels, mostly ")
    assert "+0.75 for this class wherever it is pasted, found on 9 of 12 images (75%, " in found
    source = write_report(pasted, ranking).read_text(encoding="utf-8")
    assert '<section id="transfer"' in source
    assert windows[0].best[0].uri in source
    assert "4 images with no room or no relevance beside the box" in source


def test_the_card_says_what_the_same_windows_add_for_a_reference(pasted: Path) -> None:
    ranking = rank(pasted)
    same = SameWindows(12, 2.3, 1.5, 3.1, added=0.05, of_group=0.04)
    by = {0: replace(ranking.carried[0], same=same), 1: replace(ranking.carried[1], same=same)}
    run = load_run(pasted, replace(ranking, carried=by))
    rows = {int(r["label"]): r for r in ranking.table.to_dict("records")}
    said = "For the reference network the same windows add +0.05: here +2.30 [+1.50, +3.10] log odds more."
    assert sentence(run, rows[0]).endswith(said)
    assert "reference" not in sentence(run, rows[1])  # they carry nothing here, so nothing is explained
    few = replace(same, n=3, mean=float("nan"))
    run = load_run(pasted, replace(ranking, carried={0: replace(ranking.carried[0], same=few)}))
    assert sentence(run, rows[0]).endswith("the same windows add +0.05.")


def test_names_in_a_finding_are_text(pasted: Path) -> None:
    rename_classes(pasted, HOSTILE)
    ranking = rank(pasted)
    finding = ranking.table.set_index("label").loc[0, "finding"]
    assert f"the network sees more of {HOSTILE[1]}, too (+0.25)" in finding
    source = write_report(pasted, ranking).read_text(encoding="utf-8")
    assert HOSTILE[1] not in source
    assert "sees more of &#34;&gt;&lt;img src=x" in source


def test_a_run_without_windows_has_no_such_section(drawn: tuple[Path, Ranking], tmp_path: Path) -> None:
    folder = shutil.copytree(drawn[0], tmp_path / "run")
    assert '<section id="transfer"' not in write_report(folder, rank(folder)).read_text(encoding="utf-8")
