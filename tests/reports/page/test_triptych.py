"""Edited pictures drawn again from a run: object, backgrounds and hole are where they belong."""

from __future__ import annotations

import base64
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.statistics.ranking import Ranking, rank
from reports.page.data import RunData, load_run
from reports.page.html import render
from reports.page.triptych import triptychs
from tests.reports.page.pages import Page, planted_run, write_edited_images

LOSSY = 12  # mean difference that JPEG and WebP make, of 255


@pytest.fixture(scope="module")
def run(drawn: tuple[Path, Ranking], tmp_path_factory: pytest.TempPathFactory) -> RunData:
    folder = shutil.copytree(drawn[0], tmp_path_factory.mktemp("triptych") / "run")
    write_edited_images(folder, (0, 1, 4, 7))
    return load_run(folder, rank(folder))


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=float)


def inside(run: RunData, example_id: str, margin: int) -> np.ndarray:
    """Mask of the box of an image, ``margin`` pixels larger (or smaller) to every side."""
    boxes = run.images.set_index("example_id").loc[example_id, "boxes_model"]
    mask = np.zeros(run.size[::-1], bool)
    for box in boxes:
        x, y = int(box["xmin"]) - margin, int(box["ymin"]) - margin
        mask[max(y, 0) : int(box["ymax"]) + margin + 1, max(x, 0) : int(box["xmax"]) + margin + 1] = True
    return mask


def test_the_object_stands_on_the_background_of_its_donor(run):
    most = triptychs(run, [0])[0][0]
    rows = run.edited_rows[0]
    shown = rows[rows["example_id"] + ".JPEG" == most.file].set_index("edit")
    subject, own, other = shown["example_id"].iloc[0], *shown.loc[["same:0", "other_object:0"], "donor"]
    photos = {i: pixels(jpeg) for i, jpeg in run.thumbnails([subject, own, other]).items()}
    as_it_is, elsewhere, alone = (pixels(base64.b64decode(p.uri.split(",")[1])) for p in most.panels)
    assert np.abs(as_it_is - photos[subject]).mean() < LOSSY
    core = inside(run, subject, -3)
    beside = ~(inside(run, subject, 6) | inside(run, own, 6) | inside(run, other, 6))
    assert core.any()
    assert beside.any()
    assert np.abs(elsewhere - photos[subject])[core].mean() < LOSSY
    assert np.abs(elsewhere - photos[other])[beside].mean() < LOSSY
    assert np.abs(alone - photos[own])[beside].mean() < LOSSY
    assert alone[core].std(axis=0).max() < LOSSY, "without the object there is one colour"
    assert np.abs(alone - photos[subject])[core].mean() > LOSSY


def test_the_image_that_shows_most_and_the_one_in_the_middle(run):
    rows = run.edited_rows[7]
    images = list(dict.fromkeys(rows["example_id"]))
    most, typical = triptychs(run, [7])[7]
    assert most.file == f"{images[-1]}.JPEG"
    assert typical.file in {f"{images[3]}.JPEG", f"{images[4]}.JPEG"}
    assert [p.probability for p in most.panels] == [0.9375, 0.125, 0.75 + 7 / 64]
    assert [p.seen_as for p in most.panels] == ["", run.short_name(2), ""]
    assert most.n == 8


def test_they_are_as_small_as_asked_for(run):
    small = triptychs(run, [0], side=24)[0][0]
    assert {pixels(base64.b64decode(p.uri.split(",")[1])).shape for p in small.panels} == {(24, 24, 3)}


def test_the_report_opens_with_the_first_confirmed_class(run):
    first = run.classes.iloc[0]
    assert first["verdict"] == "confirmed"
    page = render(run)
    opening = page[: page.index("<nav")]
    assert opening.count('class="panel"') == 3
    for p in triptychs(run, [int(first["label"])])[int(first["label"])][0].panels:
        assert p.uri in opening


def test_classes_without_edits_or_photographs_have_none(run, tmp_path):
    assert triptychs(run, [2, 99]) == {}
    planted_run(tmp_path, maps=False, thumbnails=False)
    write_edited_images(tmp_path, (0, 1))
    bare = load_run(tmp_path, rank(tmp_path))
    assert triptychs(bare, [0, 1]) == {}
    assert "triptych" not in {a.get("class") for a in Page(render(bare)).all("figure")}
