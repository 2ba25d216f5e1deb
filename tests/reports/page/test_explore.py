"""All images of a class: in the page as far as there is room, and in a folder with a page per class."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows import cli
from pipeline.run.store import Store
from pipeline.statistics.ranking import Ranking, rank
from reports.page import explore
from reports.page.data import Heat, load_run
from reports.page.folder import write_folder
from reports.page.html import write_report
from tests.edited_runs import write_edits
from tests.reports.page.pages import QUICK, Page
from tests.tables import write_run


def decoded(uri: str) -> np.ndarray:
    import base64

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"), float)


@pytest.fixture(scope="module")
def pages(drawn: tuple[Path, Ranking], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(*drawn, tmp_path_factory.mktemp("pages")).parent


def shots(page: Page) -> list[dict[str, str | None]]:
    return [f for f in page.all("figure") if f.get("class") == "shot"]


def test_the_folder_holds_every_image_once(drawn, pages) -> None:
    examples = Store(drawn[0]).read("examples", ["file_name", "label", "correct"]).to_pandas()
    for label, of_class in examples.groupby("label"):
        page = Page((pages / f"classes/{label}.html").read_text())
        assert sorted(str(f["data-file"]) for f in shots(page)) == sorted(of_class["file_name"])
        right = {str(f["data-file"]) for f in shots(page) if f["data-kind"] == "right"}
        assert right == set(of_class["file_name"][of_class["correct"].eq(True)])
    assert len(list((pages / "classes").iterdir())) == examples["label"].nunique()


def test_a_page_says_what_its_edited_images_showed(drawn, tmp_path) -> None:
    folder = shutil.copytree(drawn[0], tmp_path / "run")
    write_edits(folder, dict.fromkeys(range(12), "independent") | {4: "depends"})
    pages = write_folder(folder, rank(folder), tmp_path / "pages").parent
    assert (
        "needs what lies beside the object: on 16 edited" in Page((pages / "classes/4.html").read_text()).text
    )
    assert "does not need what lies beside" in Page((pages / "classes/5.html").read_text()).text


def test_every_link_of_the_folder_leads_somewhere(pages) -> None:
    ids = {p: {a.get("id") for _, a in Page(p.read_text()).tags} for p in pages.rglob("*.html")}
    for path in ids:
        for link in Page(path.read_text()).all("a"):
            name, _, anchor = str(link["href"]).partition("#")
            target = (path.parent / name).resolve() if name else path
            assert target in ids, (path, link)
            assert not anchor or anchor in ids[target], (path, link)
    assert 'href="classes/7.html"' in (pages / "index.html").read_text()


def test_pages_of_classes_are_whole_and_hold_no_markup_of_strangers(pages) -> None:
    for path in (pages / "classes").iterdir():
        page = Page(path.read_text())
        assert len(page.all("script")) == 1
        assert all(str(i["src"]).startswith("data:image/") for i in page.all("img"))
        assert not [a for _, of_tag in page.tags for a in of_tag if a.startswith("on") or a == "style"]


def test_the_one_file_page_holds_the_first_classes_and_names_the_rest(drawn, tmp_path, monkeypatch) -> None:
    folder, ranking = drawn
    monkeypatch.setattr(explore, "MOST", 100)  # three classes of thirty
    source = write_report(folder, ranking, tmp_path / "r.html").read_text()
    held = re.findall(r'<template id="shots-(\d+)">', source)
    assert {"0", "1", "7"} == set(held)  # the marked ones
    assert source.count('class="shot"') == 90
    assert "9 more classes have no room in one file" in source
    links = {str(a["href"]) for a in Page(source).all("a") if "images-" in str(a.get("href"))}
    assert links == {"#images-0", "#images-1", "#images-7"}


def test_a_run_without_pictures_has_no_such_section(tmp_path, capsys) -> None:
    folder = tmp_path / "run"
    write_run(folder, 3, 10, 5, {}, False, False, ranking=QUICK.model_dump())
    assert '<section id="images"' not in write_report(folder, rank(folder)).read_text()
    assert cli.run(["report", str(folder), "--folder", str(tmp_path / "pages")]) == cli.WRONG_INPUT
    assert "stores neither photographs nor maps" in capsys.readouterr().err
    both = ["--folder", "a", "--out", "b.html"]
    assert cli.run(["report", str(folder), *both]) == cli.WRONG_INPUT
    assert "give one" in capsys.readouterr().err


def test_images_are_sorted_by_what_the_ranking_says_of_them(drawn) -> None:
    run = load_run(*drawn)
    (of_class,) = explore.class_shots(run, [7])
    lifts = [s.lift for s in of_class.shots]
    known = [v for v in lifts if v is not None]
    assert known == sorted(known)
    assert lifts[: len(known)] == known  # what has none comes last
    excess = drawn[1].images.query("label == 7")["adjusted_lift"].sort_values()
    np.testing.assert_allclose(known, excess)
    assert {s.kind for s in of_class.shots if s.lift is not None} == {explore.RIGHT}


def test_the_layer_is_black_without_relevance_and_brightest_where_it_is_most() -> None:
    values = np.zeros((16, 16), np.float32)
    values[4:8, 8:12] = 1
    layer = decoded(explore.layer_uri(Heat(values, 1.0))).sum(axis=2)
    assert layer[5:7, 9:11].min() > 400
    assert layer[12:, :4].max() < 40
    assert layer.shape == (16, 16)


def test_a_photograph_that_cannot_be_read_is_left_out() -> None:
    assert explore.small_uri(b"no picture", 64) is None
    buffer = io.BytesIO()
    Image.new("RGB", (200, 100), (200, 10, 10)).save(buffer, "JPEG")
    small = decoded(explore.small_uri(buffer.getvalue(), 50) or "")
    assert small.shape[:2] == (25, 50)
    assert small[..., 0].mean() > 180
