"""Rows of images as data frames: what they hold is what Arrow holds, in as many bytes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.run.documents import records
from pipeline.run.store import Store
from pipeline.statistics.frames import image_frame, of_images
from pipeline.statistics.properties import read_properties
from reports.page.image_rows import read_image_rows
from tests.tables import write_run

IMAGES = 400


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("frames") / "run"
    write_run(path, 4, IMAGES // 4, 2, maps=False, thumbnails=False, failures=0.05)
    return Store(path)


def test_rows_are_those_of_the_table(store: Store) -> None:
    columns = ["example_id", "label", "class_name", "boxes_model", "reason", "box_area"]
    table = store.read("examples", columns)
    for row, expected in zip(records(image_frame(table)), table.to_pylist(), strict=True):
        boxes = list(row.pop("boxes_model"))
        assert boxes == expected.pop("boxes_model")
        assert row == expected


def test_what_is_undefined_is_none(store: Store) -> None:
    table = store.read("examples", ["boxes_model", "file_name", "group"])
    nothing = pa.table({f.name: pa.nulls(2, f.type) for f in table.schema})
    assert records(image_frame(nothing)) == [{"boxes_model": None, "file_name": None, "group": None}] * 2


def test_an_image_of_a_report_takes_as_many_bytes_as_its_figures_and_names(store: Store) -> None:
    """As objects of Python one box alone takes more: an array, a dict, four floats."""
    images = read_image_rows(store, "lrp.preset_a")
    names = sum(images[name].str.len().sum() for name in ("example_id", "file_name"))
    taken = images.memory_usage(deep=True, index=False).drop("class_name").sum()  # a few names, as categories
    assert len(images) == IMAGES
    assert (taken - names) / IMAGES < 200
    assert not [name for name in images if images[name].dtype == object]


def test_known_values_go_to_their_images() -> None:
    ids = pa.chunked_array([["b", "a"], ["c", "a"]])
    known = pd.Series([1.5, 2.5], index=["a", "c"])
    np.testing.assert_array_equal(of_images(ids, known), [np.nan, 1.5, 2.5, 1.5])
    assert np.isnan(of_images(ids, pd.Series({}, dtype=float))).all()


def test_no_image_is_read_for_properties_that_were_not_measured(store: Store, monkeypatch) -> None:
    scanned = []
    scan = Store.scan
    monkeypatch.setattr(Store, "scan", lambda *args, **named: scanned.append(args[1]) or scan(*args, **named))
    assert read_properties(store).empty
    assert scanned == ["properties"]
