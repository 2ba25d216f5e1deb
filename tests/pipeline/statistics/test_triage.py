"""Wrong labels and boxes, planted: what is a candidate, and what is a habit of a class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.run.documents import TriageDocument
from pipeline.run.documents.triage import Evidence
from pipeline.run.folder import RunFolder
from pipeline.run.store import Store
from pipeline.run.verify import verify
from pipeline.statistics.ranking import rank
from pipeline.statistics.triage import box_candidates, box_spread, label_candidates, triage
from tests.drawn_runs import COLOURS, SIDE, audit_drawn


def answers(n: int, accuracy: float = 1.0, seed: int = 0) -> pd.DataFrame:
    """Three classes of ``n`` images; the network is surer where it is right than where it is wrong."""
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1, 2], n)
    wrong = rng.random(3 * n) >= accuracy
    prediction = np.where(wrong, (label + 1) % 3, label)
    return pd.DataFrame(
        {
            "label": label,
            "prediction": prediction.astype(float),
            "confidence": np.where(wrong, 0.45, 0.9),
            "label_probability": np.where(wrong, 0.3, 0.9),
        }
    )


def test_exactly_the_flipped_labels_are_candidates() -> None:
    images = answers(40, accuracy=0.8)
    flipped = [3, 50, 51, 100]
    images.loc[flipped, "label"] = (images.loc[flipped, "label"] + 2) % 3
    images.loc[flipped, ["confidence", "label_probability"]] = [
        [0.9, 0.02],
        [0.99, 0.01],
        [0.95, 0.02],
        [0.9, 0.05],
    ]
    images.loc[flipped, "prediction"] = (images.loc[flipped, "label"] + 1) % 3
    assert list(label_candidates(images, 5).index) == [50, 51, 3, 100]  # surest first


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"confidence": 0.7}, "less sure than of images that are labelled so"),
        ({"label_probability": 0.2}, "the label is not excluded"),
        ({"prediction": np.nan}, "there is no answer"),
        ({"label": -1}, "there is no label"),
        ({"label": 1}, "the answer is the label"),
    ],
)
def test_what_is_no_wrong_label(change: dict[str, float], why: str) -> None:
    images = answers(40)
    images.loc[0, ["prediction", "confidence", "label_probability"]] = [1, 0.95, 0.01]
    assert list(label_candidates(images, 5).index) == [0]
    for column, value in change.items():
        images.loc[0, column] = value
    assert label_candidates(images, 5).empty, why


def test_a_class_of_few_images_gives_no_threshold() -> None:
    images = pd.concat([answers(40), answers(3).assign(label=3, prediction=3.0)], ignore_index=True)
    images.loc[0, ["prediction", "confidence", "label_probability"]] = [3, 0.99, 0.01]
    assert label_candidates(images, 10).empty
    assert list(label_candidates(images, 5).index) == [0]


def lifts(n: int = 50, seed: int = 1) -> pd.DataFrame:
    """Three classes with spread 0.5 about 1, 0 and -2 (a class of marks beside the object)."""
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1, 2], n)
    adjusted = np.array([1.0, 0.0, -2.0])[label] + 0.5 * rng.standard_normal(3 * n).clip(-2.2, 2.2)
    frame = pd.DataFrame({"label": label, "adjusted_lift": adjusted, "lift": adjusted})
    return frame.assign(pointing=(adjusted > 0).astype(float), object_keeps=np.nan, background_keeps=np.nan)


def judged(images: pd.DataFrame) -> pd.DataFrame:
    return box_candidates(images.join(box_spread(images, 5)))


def test_exactly_the_shifted_boxes_are_candidates_and_not_the_class_of_marks() -> None:
    images = lifts()
    assert judged(images).empty  # though every image of class 2 lies beside its box
    shifted = [4, 60, 149]
    images.loc[shifted, ["lift", "adjusted_lift", "pointing"]] = [[-2, -2, 0], [-3, -3, 0], [-6.5, -6.5, 0]]
    assert set(judged(images).index) == set(shifted)
    assert judged(images).index[0] == 149  # 4.5 below its class


def test_the_spread_is_that_of_a_normal_distribution() -> None:
    rng = np.random.default_rng(5)
    images = pd.DataFrame(
        {"label": np.repeat([0, 1], 20_000), "adjusted_lift": 3 * rng.standard_normal(40_000)}
    )
    spread = box_spread(images, 5)
    assert spread["z"].std() == pytest.approx(1, abs=0.02)
    assert (spread["z"] < -3).mean() == pytest.approx(0.00135, abs=0.0006)
    assert (
        box_spread(images.assign(adjusted_lift=1.0), 5)["z"].isna().all()
    )  # no spread: nothing lies outside
    assert box_spread(images.head(4), 5)["z"].isna().all()


def test_edits_acquit_or_agree() -> None:
    images = lifts()
    images.loc[[4, 60, 61], ["lift", "adjusted_lift", "pointing"]] = [[-4, -4, 0]] * 3
    images.loc[4, ["object_keeps", "background_keeps"]] = [0.9, 0.9]  # the object is in the box
    images.loc[60, ["object_keeps", "background_keeps"]] = [0.05, 0.8]
    images.loc[61, ["object_keeps", "background_keeps"]] = [0.05, 0.1]  # nothing alone carries it
    found = judged(images)
    assert list(found.index) == [60, 61]
    assert list(found["evidence"]) == [Evidence.MAP_AND_EDITS, Evidence.MAP]


def drawn(rng: np.random.Generator, colour: str, side: int) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """A grey picture with a square of that colour anywhere, its box, and a speck of the colour beside it."""
    picture = np.repeat(rng.integers(110, 140, (SIDE, SIDE, 1)), 3, axis=2).astype(np.uint8)
    x, y = (int(v) for v in rng.integers(2, SIDE - side - 1, 2))
    picture[y : y + side, x : x + side] = COLOURS[colour]
    picture[int(rng.integers(0, 2)), int(rng.integers(0, SIDE))] = COLOURS[colour]
    return picture, (x, y, x + side - 1, y + side - 1)


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, set[str], set[str]]:
    """Squares of a colour: two lie in the folder of another one, two have their box on the other side."""
    root, rng = tmp_path_factory.mktemp("spoilt"), np.random.default_rng(4)
    lines = ["file,label,xmin,ymin,xmax,ymax"]
    names, flipped, moved = list(COLOURS), set(), set()
    for k, name in enumerate(names):
        (root / "data" / name).mkdir(parents=True)
        for i in range(24):
            file = f"{name}/{i}.png"
            wrong = i == 3 and k < 2
            picture, box = drawn(rng, names[(k + 1) % 3] if wrong else name, 12 if wrong else 8 + i % 5)
            if wrong:
                flipped.add(file)
            if i == 7 and k < 2:
                near = [int(v < SIDE / 2) * (SIDE - 9) for v in box[:2]]
                box = (near[0], near[1], near[0] + 8, near[1] + 8)
                moved.add(file)
            Image.fromarray(picture).save(root / "data" / file)
            lines.append(f"{file},{name},{','.join(map(str, box))}")
    return audit_drawn(root, lines), flipped, moved


def test_a_whole_audit_finds_what_was_spoilt(spoilt) -> None:
    store, flipped, moved = spoilt
    told = triage(store, rank(store)).document
    assert {one.file_name for one in told.labels} == flipped
    assert {one.file_name for one in told.boxes} == moved
    assert {(one.class_name, one.predicted_name) for one in told.labels} == {
        ("red", "green"),
        ("green", "blue"),
    }


def test_document_and_table_go_together(spoilt) -> None:
    store = spoilt[0]
    made = triage(store, rank(store))
    told = made.document
    store.files.put(told.TABLE, made.csv.encode())
    told.write(store)
    assert TriageDocument.current(RunFolder(store.path)) == told
    table = pd.read_csv(Path(store.path) / told.TABLE)
    assert dict(table["candidate"].value_counts()) == {"label": 2, "box": 2}
    assert not [fault for fault in verify(store).faults if "triage" in fault.file]
    (Path(store.path) / told.TABLE).write_text("edited")
    assert [fault for fault in verify(store).faults if fault.file == told.TABLE]


def test_the_document_holds_the_first_candidates_and_the_table_all(spoilt, monkeypatch) -> None:
    store = spoilt[0]
    ranking = rank(store)
    whole = triage(store, ranking)
    monkeypatch.setattr("pipeline.statistics.triage.FIRST", 1)
    monkeypatch.setattr("pipeline.statistics.triage._AT_ONCE", 1)
    made = triage(store, ranking)
    assert made.document.labels == whole.document.labels[:1]
    assert made.document.boxes == whole.document.boxes[:1]
    assert made.document.counts == whole.document.counts == (2, 2)
    assert made.csv == whole.csv
    assert made.csv.count("\n") == 5


def test_a_document_of_an_earlier_version_holds_all_that_there_are(spoilt) -> None:
    store = spoilt[0]
    told = triage(store, rank(store)).document
    assert replace(told, label_candidates=None, box_candidates=None).counts == (2, 2)
