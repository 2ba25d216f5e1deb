"""What images may cost: pixels of all threads together, boxes of one image, files that weights lie in."""

from __future__ import annotations

import io
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from explainers.errors import UntraceableModel
from explainers.model.loading import load_file
from pipeline import schema
from pipeline.inputs import batches
from pipeline.inputs.batches import ClassMap
from pipeline.inputs.card import ModelCard
from pipeline.inputs.datasets import NO_BOXES, Record
from pipeline.inputs.geometry import clean_boxes
from pipeline.inputs.limits import MAX_BOXES, PixelBudget

CARD = ModelCard(height=8, width=8, resize="stretch")
CLASSES = ClassMap(np.zeros(1, np.int32), ("a",), ("a",), "id")


def record(boxes: np.ndarray = NO_BOXES, side: int = 10) -> Record:
    file = io.BytesIO()
    Image.new("RGB", (side, side)).save(file, "PNG")
    return Record("x.png", 0, "x.png", file.getvalue(), 0, boxes)


@given(st.lists(st.integers(1, 150), min_size=1, max_size=30), st.integers(1, 6))
def test_never_more_pixels_in_flight_than_allowed(sizes: list[int], threads: int):
    budget, lock, held, alone = PixelBudget(100), threading.Lock(), [], []

    def work(pixels: int) -> None:
        with budget.take(pixels):
            with lock:
                held.append(pixels)
                alone.append((sum(held), len(held)))
            with lock:
                held.remove(pixels)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, sizes))
    assert len(alone) == len(sizes)  # everyone got through
    assert all(total <= 100 or count == 1 for total, count in alone)
    assert budget.in_flight == 0


def test_a_failure_gives_its_pixels_back():
    budget = PixelBudget(10)
    with pytest.raises(ValueError, match="broken"), budget.take(10):
        raise ValueError("broken")
    assert budget.in_flight == 0


def test_pictures_are_decoded_within_the_budget(monkeypatch: pytest.MonkeyPatch):
    budget, seen = PixelBudget(1), []
    real = batches.draw
    monkeypatch.setattr(batches, "DECODING", budget)
    monkeypatch.setattr(batches, "draw", lambda *given: (seen.append(budget.in_flight), real(*given))[1])
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda _: batches._decode(record(), CARD, CLASSES), range(12)))
    assert seen == [100] * 12
    assert all(row.picture is not None for row in rows)


def test_more_boxes_than_anyone_draws_cost_their_row():
    boxes = np.tile(np.array([[1, 1, 5, 5]], np.float32), (MAX_BOXES + 1, 1))
    row = batches._decode(record(boxes), CARD, CLASSES)
    assert (row.status, row.picture) == (schema.STATUS_FAILED, None)
    assert f"{MAX_BOXES + 1} boxes" in str(row.reason)
    assert batches._decode(record(boxes[:-1]), CARD, CLASSES).status == schema.STATUS_OK


def test_faults_of_many_boxes_are_told_in_a_few_words():
    boxes = np.tile(np.array([[5, 5, 1, 1]], np.float32), (1000, 1))
    _, faults = clean_boxes(boxes, 10, 10)
    assert faults is not None
    assert faults.endswith("; 995 more")
    assert len(faults) < 250


def model_file(path: Path) -> Path:
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    keras.Model(inputs, keras.layers.Dense(2)(x)).save(path)
    return path


def divert(file: Path | io.BytesIO, how: str, secret: Path) -> None:
    """Let the first matrix of a file of weights lie in ``secret``."""
    with h5py.File(file, "r+") as weights:
        names: list[str] = []
        weights.visititems(
            lambda name, item: names.append(name) if getattr(item, "shape", None) == (3, 2) else None
        )
        del weights[names[0]]
        if how == "storage":
            weights.create_dataset(names[0], (3, 2), "float32", external=[(str(secret), 0, 24)])
        elif how == "virtual":
            layout = h5py.VirtualLayout((3, 2), "float32")
            layout[:] = h5py.VirtualSource(str(secret), "x", (3, 2))
            weights.create_virtual_dataset(names[0], layout)
        else:
            weights[names[0]] = h5py.ExternalLink(str(secret), "x")


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("how", ["storage", "virtual", "link"])
def test_weights_that_lie_in_another_file_are_not_read(tmp_path: Path, suffix: str, how: str):
    secret, path = tmp_path / "secret", model_file(tmp_path / f"net{suffix}")
    with h5py.File(secret, "w") as file:
        file["x"] = np.ones((3, 2), np.float32)
    if suffix == ".h5":
        divert(path, how, secret)
    else:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        (name,) = (name for name in members if name.endswith(".h5"))
        inner = io.BytesIO(members[name])
        divert(inner, how, secret)
        with zipfile.ZipFile(path, "w") as archive:
            for member, content in (members | {name: inner.getvalue()}).items():
                archive.writestr(member, content)
    with pytest.raises(UntraceableModel, match="lies in another file"):
        load_file(path)
    assert load_file(model_file(tmp_path / f"whole{suffix}")).count_params() == 8
