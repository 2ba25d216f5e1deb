"""Which classes and images `hansaudit boxes` lists, and that its file repeats what is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import InputError
from pipeline.followup.boxes import annotation_rows, classes_to_draw
from pipeline.inputs.datasets.annotations import read_boxes
from pipeline.run.store import Store
from pipeline.statistics.ranking import rank
from tests.tables import draw_examples, write_run

CLASSES, EACH = 6, 40


def unboxed_run(path: Path, boxed: pd.Series | None = None, **right: float) -> Store:
    """Only images that are ``boxed`` have a box; ``c3=0.5``: half of class 3 is right, else all."""
    frame = draw_examples(CLASSES, EACH, 1)
    turn = frame.groupby("label").cumcount()
    share = frame["label"].map(lambda k: right.get(f"c{k}", 1.0))
    frame["correct"] = turn < share * EACH
    frame["status"] = np.where(False if boxed is None else boxed, "ok", "no_box")
    write_run(path, CLASSES, EACH, 1, examples=frame, maps=False, thumbnails=False, ranking={"draws": 100})
    return Store(path)


def test_the_strongest_hint_comes_first_and_a_class_that_cannot_be_tested_last(tmp_path: Path) -> None:
    """Class 3 is half right, class 4 a bit less than the run, of class 1 only two images are right."""
    store = unboxed_run(tmp_path, c1=0.05, c3=0.5, c4=0.6)
    ranking = rank(store)
    chosen = classes_to_draw(store, ranking, top=CLASSES)
    assert [c.label for c in chosen] == [3, 4, 0, 2, 5, 1]
    assert chosen[0].why == "accuracy 50%, of the run 69%"
    assert chosen[2].why == "nothing points at it: it is next in line"
    assert [len(c.images) for c in chosen] == [12] * 5 + [2]
    right = store.read("examples").to_pandas().set_index("example_id")
    for of_class in chosen:
        rows = right.loc[list(of_class.images)]
        assert rows["correct"].all()
        assert set(rows["label"]) == {of_class.label}
        assert len(set(of_class.images)) == len(of_class.images)
    assert classes_to_draw(store, ranking, top=2) == chosen[:2]
    assert classes_to_draw(store, ranking, top=1, images=3, labels=[5])[0].images == chosen[4].images[:3]


def test_maps_that_look_beside_known_objects_count_most(tmp_path: Path) -> None:
    """Half of every class has boxes; class 2 looks beside them, class 3 is often wrong."""
    frame = draw_examples(CLASSES, EACH, 1, {2: -4.0})
    frame["correct"] = (frame["label"] != 3) | (frame.groupby("label").cumcount() % 4 != 0)
    frame["status"] = np.where(frame.groupby("label").cumcount() % 2, "ok", "no_box")
    write_run(
        tmp_path, CLASSES, EACH, 1, examples=frame, maps=False, thumbnails=False, ranking={"draws": 100}
    )
    store = Store(tmp_path)
    first, *_ = classes_to_draw(store, rank(store), top=3)
    assert first.label == 2
    assert first.why.startswith("maps of its 20 images with a box are suspicious")


def test_what_is_known_is_repeated_below_what_is_to_be_filled(tmp_path: Path) -> None:
    """Read as annotations are: every known box comes back, every listed image has none."""
    from pipeline.csv_text import csv_line

    boxed = draw_examples(CLASSES, EACH, 1)["label"].isin([0, 1])
    store = unboxed_run(tmp_path / "run", boxed)
    chosen = classes_to_draw(store, rank(store), top=2)
    rows = list(annotation_rows(store, chosen))
    ids = [i for c in chosen for i in c.images]
    assert [row["file"] for row in rows[: len(ids)]] == [f"{i}.JPEG" for i in ids]
    (tmp_path / "boxes.csv").write_text(
        csv_line(rows[0]) + "".join(csv_line(row.values()) for row in rows), encoding="utf-8"
    )
    entries = {entry.names[0]: entry for entry in read_boxes(tmp_path / "boxes.csv", "csv").entries}
    table = store.read("examples").to_pandas().set_index("file_name")
    for name, row in table.iterrows():
        known = [list(box.values()) for box in row["boxes"]] if row["example_id"] not in ids else []
        assert np.allclose(entries[name].boxes if name in entries else [], known)
        assert name not in entries or entries[name].size == (row["width"], row["height"])


def test_an_unfinished_run_and_one_with_nothing_to_draw_are_refused(tmp_path: Path) -> None:
    every = pd.Series(True, range(CLASSES * EACH))
    store = unboxed_run(tmp_path / "all", every)
    with pytest.raises(InputError, match="nothing to draw: every class is decided, or has no correctly"):
        classes_to_draw(store, rank(store), top=2)
    store = unboxed_run(tmp_path / "part")
    chosen = classes_to_draw(store, rank(store), top=1)
    next((tmp_path / "part" / "examples").iterdir()).unlink()
    with pytest.raises(InputError, match="1 shards are not finished, and their boxes would be lost"):
        next(annotation_rows(Store(tmp_path / "part"), chosen))
