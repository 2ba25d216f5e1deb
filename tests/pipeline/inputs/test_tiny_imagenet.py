"""`prepare tiny-imagenet`: from the public archive's layout to a dataset, whole or not at all."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from pipeline.config_sections import DatasetConfig
from pipeline.errors import InputError
from pipeline.inputs.datasets import Record, open_dataset
from pipeline.inputs.datasets.tiny_imagenet import prepare_tiny_imagenet
from tests.archives import TINY_CLASSES, jpeg, tiny_imagenet, write_zip
from tests.pipeline.inputs.test_datasets import read_all

ROOT = "tiny-imagenet-200/"
VAL, LIST = f"{ROOT}val/images/val_0.JPEG", f"{ROOT}val/val_annotations.txt"


def prepared(folder: Path, members: dict[str, bytes], split: str) -> tuple[list[Record], tuple[str, ...]]:
    """Records and ids of the classes of what is made of an archive with ``members``."""
    prepare_tiny_imagenet(write_zip(folder / "tiny.zip", members), folder / split, split)
    dataset = open_dataset(DatasetConfig(source="tfds", path=str(folder / split)))
    return read_all(dataset), dataset.info.class_ids


def test_validation_images_have_the_bytes_boxes_and_classes_of_the_archive(tmp_path: Path) -> None:
    members = tiny_imagenet()
    records, ids = prepared(tmp_path, members, "val")
    assert ids == TINY_CLASSES
    assert {r.example_id: r.image for r in records} == {
        f"val_{i}.JPEG": members[f"{ROOT}val/images/val_{i}.JPEG"] for i in range(4)
    }
    about = {r.example_id: (ids[r.label], r.boxes.tolist()) for r in records}
    assert about["val_0.JPEG"] == ("n01443537", [[0, 0, 63, 60]])  # 63 is the last pixel of 64
    assert about["val_3.JPEG"] == ("n02124075", [[3, 0, 63, 57]])


def test_training_images_take_their_class_and_box_from_the_class_s_own_list(tmp_path: Path) -> None:
    records, ids = prepared(tmp_path, tiny_imagenet(), "train")
    about = {r.example_id: (ids[r.label], r.boxes.tolist()) for r in records}
    assert about == {f"{wnid}_{i}.JPEG": (wnid, [[0, i, 31, 63]]) for wnid in TINY_CLASSES for i in range(3)}


def test_classes_have_the_names_of_the_words(tmp_path: Path) -> None:
    report = prepare_tiny_imagenet(write_zip(tmp_path / "tiny.zip", tiny_imagenet()), tmp_path / "out")
    assert (report.images, report.boxes, report.classes) == (4, 4, set(TINY_CLASSES))
    info = open_dataset(DatasetConfig(source="tfds", path=str(tmp_path / "out"))).info
    assert (info.class_names, info.split) == (("goldfish, Carassius", "Egyptian cat"), "validation")


def test_a_part_of_the_archive_will_do_and_its_gaps_are_told(tmp_path: Path) -> None:
    members = tiny_imagenet()
    del members[VAL]
    unboxed = TINY_CLASSES[0] + "_7.JPEG"
    members[f"{ROOT}train/{TINY_CLASSES[0]}/images/{unboxed}"] = jpeg(64, 64)
    archive = write_zip(tmp_path / "tiny.zip", members)
    assert prepare_tiny_imagenet(archive, tmp_path / "val").without_image == 1
    report = prepare_tiny_imagenet(archive, tmp_path / "train", "train")
    assert (report.images, report.boxes, report.without_boxes) == (7, 6, [unboxed])


def spoilt(kind: str) -> dict[str, bytes]:
    """Members of an archive with one thing wrong."""
    members = tiny_imagenet()
    lines = members[LIST]
    if kind == "no lists":
        del members[f"{ROOT}wnids.txt"]
    elif kind == "no list of boxes":
        del members[LIST]
    elif kind == "no images":
        members = {name: data for name, data in members.items() if "/val/images/" not in name}
    elif kind == "no line":
        members[LIST] = lines.partition(b"\n")[2]
    elif kind == "no synset":
        members[f"{ROOT}wnids.txt"] += b"goldfish\n"
    elif kind == "not text":
        members[f"{ROOT}words.txt"] = b"\xff\xfe"
    elif kind == "no such class":
        members[LIST] = lines.replace(b"n01443537", b"n09999999", 1)
    else:
        changes = {
            "64": b"64\t",
            "inverted": b"9\t",
            "five": b"five\t",
            "huge": b"9" * 5000 + b"\t",
            "less": b"",
        }
        members[LIST] = lines.replace(b"\t0\t0\t63\t60", b"\t0\t0\t63\t60".replace(b"63\t", changes[kind]), 1)
        if kind == "inverted":
            members[LIST] = lines.replace(b"\t0\t0\t63\t60", b"\t10\t0\t9\t60", 1)
    return members


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("no lists", "holds no wnids.txt"),
        ("no list of boxes", "holds no '.*val_annotations.txt'"),
        ("no images", "holds no image of split val"),
        ("no line", "no class for image '.*val_0.JPEG'"),
        ("no synset", "'goldfish' is not a synset"),
        ("not text", "words.txt: not UTF-8"),
        ("no such class", "class 'n09999999' is not in wnids.txt"),
        ("64", "box 0 0 64 60 does not lie in a picture of 64 x 64"),
        ("inverted", "box 10 0 9 60 does not lie"),
        ("five", "a box is not four numbers"),
        ("huge", "a box is not four numbers"),
        ("less", "line 1 has 5 fields, valid are 6"),
    ],
)
def test_a_bad_archive_leaves_nothing_and_says_one_line(tmp_path: Path, kind: str, reason: str) -> None:
    archive = write_zip(tmp_path / "tiny.zip", spoilt(kind))
    with pytest.raises(InputError, match=reason) as error:
        prepare_tiny_imagenet(archive, tmp_path / "work" / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "work").exists() or not list((tmp_path / "work").iterdir())


def test_other_splits_are_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "tiny.zip", tiny_imagenet())
    with pytest.raises(InputError, match="split 'test': valid are val, train"):
        prepare_tiny_imagenet(archive, tmp_path / "out", "test")


def test_a_damaged_image_stops_the_preparation(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "tiny.zip", tiny_imagenet())
    with zipfile.ZipFile(archive) as members:
        info = members.getinfo(VAL)
    data = bytearray(archive.read_bytes())
    data[info.header_offset + 30 + len(VAL) + info.compress_size // 2] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(InputError, match=r"damaged or cut off inside member '.*val_0.JPEG'"):
        prepare_tiny_imagenet(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()
