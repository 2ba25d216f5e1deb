"""Windows that carry a class, in the report: cut out, and in words."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.statistics.ranking import Ranking, rank
from reports.page.data import load_run
from reports.page.html import write_report
from reports.page.windows import colour_words, place_words, sentence, windows_of
from tests.reports.page.pages import png, write_windows


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
    said = sentence(run, rows[0], windows[0])
    assert said.startswith("Pasted onto 24 images of other classes, the most relevant windows beside")
    assert "add +0.75 to the probability of the class" in said
    assert "about 14 x 12 of" in said
    assert "yellow in the mean" in said
    assert "carry nothing of the class" in sentence(run, rows[1], windows[1])
    assert sentence(run, rows[2], None) == ""
    source = write_report(pasted, ranking).read_text(encoding="utf-8")
    assert '<section id="transfer"' in source
    assert windows[0].best[0].uri in source
    assert "4 images with no room or no relevance beside the box" in source


def test_a_run_without_windows_has_no_such_section(drawn: tuple[Path, Ranking], tmp_path: Path) -> None:
    folder = shutil.copytree(drawn[0], tmp_path / "run")
    assert '<section id="transfer"' not in write_report(folder, rank(folder)).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("colour", "name"),
    [((250, 220, 10), "yellow"), ((128, 128, 128), "grey"), ((20, 30, 200), "blue"), ((5, 5, 5), "black")],
)
def test_colours_have_names(colour: tuple[int, int, int], name: str) -> None:
    assert colour_words(png(colour)) == name
    assert colour_words(b"no picture") == ""


def test_places_have_names() -> None:
    assert place_words(99, 1, (100, 100)) == "upper right"
    assert place_words(50, 50, (100, 100)) == "in the middle"
    assert place_words(10, 190, (100, 200)) == "lower left"
