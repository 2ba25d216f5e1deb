"""The planted dataset: marks are where the specification says, and the same for every run."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.config_sections import DatasetConfig, ModelConfig
from pipeline.errors import InputError
from pipeline.inputs.batches import iter_batches
from pipeline.inputs.datasets import open_dataset
from pipeline.inputs.datasets.drawing import MAX_MARK, SHAPES
from pipeline.inputs.datasets.planted import (
    ARTEFACT_KINDS,
    SPLITS,
    Artefact,
    Planted,
    PlantedDataset,
    PlantedSpec,
    draw_example,
    prepare_planted,
)
from pipeline.inputs.models import load_model
from pipeline.inputs.planted_model import build_planted_model, planted_model
from pipeline.inputs.shards import plan_shards
from tests.pipeline.inputs.test_datasets import read_all


def spec_with(*artefacts: tuple[str, Artefact], side: int = 64, seed: int = 0) -> PlantedSpec:
    return PlantedSpec(artefacts=artefacts, side=side, seed=seed)


def mask_of(boxes: list[tuple[int, int, int, int]], side: int) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    for xmin, ymin, xmax, ymax in boxes:
        assert 0 <= xmin <= xmax < side
        assert 0 <= ymin <= ymax < side
        mask[ymin : ymax + 1, xmin : xmax + 1] = True
    return mask


@settings(max_examples=80, deadline=None)
@given(
    kind=st.sampled_from(["patch", "text", "border", "stripe"]),
    size=st.floats(0.03, MAX_MARK),
    shape=st.sampled_from(sorted(SHAPES)),
    side=st.sampled_from([32, 64, 96]),
    number=st.integers(0, 10**6),
)
def test_a_mark_lies_outside_the_box_and_is_all_that_changes(
    kind: str, size: float, shape: str, side: int, number: int
) -> None:
    label = tuple(SHAPES).index(shape)
    marked, box, mark = draw_example(
        spec_with((shape, Artefact(kind, size=size)), side=side), "train", label, number
    )
    clean, clean_box, none = draw_example(spec_with(side=side), "train", label, number)
    assert box == clean_box
    assert none == []
    assert not (mask_of([box], side) & mask_of(mark, side)).any()
    changed = (marked != clean).any(axis=2)
    assert changed.any()
    assert not (changed & ~mask_of(mark, side)).any()


@settings(max_examples=30, deadline=None)
@given(kind=st.sampled_from(["patch", "text"]), number=st.integers(0, 10**6))
def test_an_inside_mark_lies_on_the_object(kind: str, number: int) -> None:
    spec = spec_with(("disc", Artefact(kind, size=0.1, inside=True)))
    label = spec.classes.index("disc")
    _, box, mark = draw_example(spec, "train", label, number)
    overlap = mask_of([box], 64) & mask_of(mark, 64)
    assert overlap.sum() >= 0.7 * mask_of(mark, 64).sum()


@pytest.mark.parametrize("kind", ARTEFACT_KINDS)
def test_the_probability_is_kept(kind: str) -> None:
    spec = spec_with(("ring", Artefact(kind, probability=0.3)))
    label = spec.classes.index("ring")
    marked = np.mean([bool(draw_example(spec, "train", label, i)[2]) for i in range(400)])
    assert marked == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / 400))
    other = spec.classes.index("disc")
    assert not any(draw_example(spec, "train", other, i)[2] for i in range(20))


def test_the_scene_leaves_the_object_and_blur_is_invisible_to_boxes() -> None:
    label = tuple(SHAPES).index("square")
    clean, box, _ = draw_example(spec_with(), "train", label, 3)
    middle = (box[1] + box[3]) // 2, (box[0] + box[2]) // 2
    scene, _, _ = draw_example(spec_with(("square", Artefact("scene", size=MAX_MARK))), "train", label, 3)
    assert (scene[middle] == clean[middle]).all()
    assert np.abs(scene[0].astype(int) - clean[0]).mean() > 10
    blurred, _, _ = draw_example(spec_with(("square", Artefact("blur"))), "train", label, 3)
    assert (
        np.abs(np.diff(blurred.astype(int), axis=0)).mean()
        < 0.7 * np.abs(np.diff(clean.astype(int), axis=0)).mean()
    )
    assert [kind for kind in ARTEFACT_KINDS if not Artefact(kind).visible] == ["blur"]


def test_boxes_are_tight_and_tell_nothing_about_the_class() -> None:
    spec = spec_with()
    areas = []
    for label in range(len(spec.classes)):
        boxes = np.array([draw_example(spec, "validation", label, i)[1] for i in range(60)])
        areas.append(((boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=1) / 64**2).mean())
    assert min(areas) > 0.08
    assert max(areas) < 0.25
    squares = [draw_example(spec_with(), "train", 1, i) for i in range(5)]
    assert len({p.tobytes() for p, _, _ in squares}) == 5


def test_the_dataset_says_what_is_planted(tiny_planted: PlantedDataset) -> None:
    info = tiny_planted.info
    assert info.planted == {
        "rhombus": "patch outside the box on 100% of the images",
        "star": "stripe outside the box on 100% of the images",
    }
    assert (info.split, info.n_examples) == ("validation", 24)
    assert sorted({r.label for r in read_all(tiny_planted)}) == [0, 1, 2, 3]
    clean = replace(tiny_planted.spec, artefacts=(("star", Artefact("patch", probability=0)),))
    assert clean.key != tiny_planted.spec.key


def test_the_files_hold_what_was_drawn(tiny_planted: PlantedDataset) -> None:
    spec = tiny_planted.spec
    pictures = {r.file_name: r for r in read_all(tiny_planted)}
    for label, name in enumerate(spec.classes):
        picture, box, _ = draw_example(spec, "validation", label, 2)
        record = pictures[f"validation_{name}_00002.png"]
        assert (np.asarray(Image.open(io.BytesIO(record.image or b""))) == picture).all()
        assert record.boxes.tolist() == [list(box)]
        assert record.label == label


def test_a_dataset_is_made_once(tiny_planted: PlantedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.inputs.datasets.planted.prepare", lambda *_: pytest.fail("made again"))
    assert prepare_planted(tiny_planted.spec, tiny_planted.folder.parent) == tiny_planted.folder
    opened = open_dataset(DatasetConfig(source="planted", path=str(tiny_planted.folder)))
    assert isinstance(opened, PlantedDataset)
    assert opened.spec == tiny_planted.spec


def test_two_processes_may_make_the_same_dataset(
    tiny_planted: PlantedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(tiny_planted.spec, train_per_class=1, validation_per_class=1)
    make = Planted._generate_examples

    def slower(self: Planted, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        if split == "validation":  # the other process finishes first
            monkeypatch.setattr(Planted, "_generate_examples", make)
            prepare_planted(spec, tmp_path)
        yield from make(self, split)

    monkeypatch.setattr(Planted, "_generate_examples", slower)
    folder = prepare_planted(spec, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [folder.name]


def test_training_uses_the_train_split_and_is_kept(tiny_planted: PlantedDataset, tiny_cnn_file: Path) -> None:
    assert planted_model(tiny_planted) == tiny_cnn_file
    loaded = load_model(ModelConfig(source="planted"), tiny_planted)
    assert loaded.card.class_names == tiny_planted.spec.classes
    assert loaded.card.classes == 4
    (shard,) = plan_shards("planted", "validation", 24, 100)
    (batch,) = iter_batches(tiny_planted, shard, loaded.card, 24)
    assert loaded.model(batch.inputs).shape == (24, 4)
    assert batch.status == ("ok",) * 24


def test_training_moves_every_weight(tiny_planted: PlantedDataset, tiny_cnn: keras.Model) -> None:
    fresh = build_planted_model(32, 4)
    moved = [np.abs(a - b).max() for a, b in zip(fresh.get_weights(), tiny_cnn.get_weights(), strict=True)]
    assert min(moved) > 0


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Artefact("glitter"), "valid: patch, text, border, stripe, scene, blur"),
        (lambda: Artefact("patch", probability=1.5), "probability 1.5"),
        (lambda: Artefact("patch", size=0.9), "size 0.9"),
        (lambda: Artefact("stripe", inside=True), "cannot lie inside"),
        (lambda: PlantedSpec(classes=("disc", "unicorn")), "unicorn"),
        (lambda: PlantedSpec(classes=("disc", "ring")), "rhombus"),
        (lambda: PlantedSpec(side=8), "side must be"),
    ],
)
def test_impossible_specifications_are_refused(make: object, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        make()  # type: ignore[operator]


def test_a_folder_that_is_not_planted_is_refused(tiny_prepared: Path) -> None:
    with pytest.raises(InputError, match="not a planted dataset"):
        open_dataset(DatasetConfig(source="planted", path=str(tiny_prepared)))


def test_splits_differ() -> None:
    assert SPLITS == ("train", "validation")
    one, two = (draw_example(spec_with(), split, 0, 0)[0] for split in SPLITS)
    assert (one != two).any()
