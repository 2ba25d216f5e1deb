"""Folders and annotations as people have them: every situation is read rightly, refused, or said."""

from __future__ import annotations

import io
import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import schema
from pipeline.config_sections import DatasetConfig
from pipeline.errors import InputError
from pipeline.inputs.batches import iter_batches
from pipeline.inputs.card import ModelCard
from pipeline.inputs.datasets import Dataset, open_dataset
from pipeline.inputs.shards import Shard
from tests.archives import jpeg
from tests.pipeline.inputs.test_datasets import read_all

HEADER = "file,label,xmin,ymin,xmax,ymax\n"
BOM = "\ufeff"


def write_images(root: Path, *names: str, size: tuple[int, int] = (60, 40)) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(jpeg(*size, seed=len(name)))


def opened(root: Path, **settings: object) -> Dataset:
    return open_dataset(DatasetConfig.model_validate({"source": "folder", "path": str(root)} | settings))


def boxes_of(dataset: Dataset) -> dict[str, list[list[float]]]:
    return {r.file_name: r.boxes.tolist() for r in read_all(dataset)}


def decoded(dataset: Dataset) -> list[tuple[str, str | None]]:
    """Status and reason of every row, in order."""
    info = dataset.info
    n = len(info.class_names)
    card = ModelCard(height=20, width=30, resize="stretch", classes=n)
    shard = Shard(info.name, info.split, 0, info.n_examples, "all")
    batch = next(iter_batches(dataset, shard, card, info.n_examples))
    return list(zip(batch.status, batch.reason, strict=True))


# -- folders


def test_hidden_and_system_folders_are_no_classes_and_that_is_said(tmp_path: Path) -> None:
    write_images(tmp_path, "cat/a.jpg", "dog/b.jpg")
    write_images(tmp_path, ".ipynb_checkpoints/a.jpg", "__MACOSX/cat/._a.jpg", "cat/.ipynb_checkpoints/c.jpg")
    write_images(tmp_path, ".hidden.jpg")
    (tmp_path / "annotations.csv").write_text(HEADER)
    info = opened(tmp_path).info
    assert info.class_names == ("cat", "dog")
    assert info.n_examples == 2
    assert info.decisions == (
        "boxes: annotations.csv, found in the images' folder",
        "no boxes: annotations.csv has none; nothing that needs boxes is said",
        "images in hidden or system folders are ignored: .hidden.jpg (1), .ipynb_checkpoints (2), "
        "__MACOSX (1)",
    )


def test_folders_of_splits_are_no_classes(tmp_path: Path) -> None:
    write_images(tmp_path, "train/apple/1.jpg", "train/pear/2.jpg", "val/apple/3.jpg")
    (tmp_path / "annotations.csv").write_text(HEADER + "train/apple/1.jpg,apple,1,2,3,4\n")
    with pytest.raises(
        InputError, match=r"splits \(train, val\), not classes, and none was chosen.*--split train"
    ):
        opened(tmp_path)
    with pytest.raises(InputError, match="there is no 'test'"):
        opened(tmp_path, split="test")
    dataset = opened(tmp_path, split="train")
    assert dataset.info.class_names == ("apple", "pear")
    assert boxes_of(dataset) == {"apple/1.jpg": [[1, 2, 3, 4]], "pear/2.jpg": []}


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    write_images(tmp_path, "train/1.jpg", "bus/2.jpg")
    (tmp_path / "annotations.csv").write_text(HEADER)
    assert opened(tmp_path).info.class_names == ("bus", "train")


def test_a_name_that_is_not_utf8_costs_one_row(tmp_path: Path) -> None:
    write_images(tmp_path, "cat/a.jpg", "cat/\\xff.jpg")
    raw = os.path.join(os.fsencode(tmp_path), b"cat", b"\xff.jpg")
    with open(raw, "wb") as file:
        file.write(jpeg(20, 20))
    (tmp_path / "annotations.csv").write_text(HEADER)
    records = read_all(opened(tmp_path))
    assert len({r.example_id for r in records}) == 3
    assert all(r.example_id.isprintable() and r.example_id.encode() for r in records)
    (bad,) = [r for r in records if r.image is None]
    assert "not UTF-8" in str(bad.error)


def test_a_sample_takes_of_every_class_and_is_the_same_every_time(tmp_path: Path) -> None:
    write_images(tmp_path, *(f"{name}/{i}.jpg" for name in ("ant", "bee", "cat") for i in range(10)))
    (tmp_path / "annotations.csv").write_text(HEADER)
    dataset = opened(tmp_path, limit=7)
    labels = [r.label for r in read_all(dataset)]
    assert sorted(np.bincount(labels)) == [2, 2, 3]
    assert [r.example_id for r in read_all(opened(tmp_path, limit=7))] == [
        r.example_id for r in read_all(dataset)
    ]
    assert "7 of 30 images, a seeded choice spread over the classes" in dataset.info.decisions
    assert opened(tmp_path, limit=2).info.class_names == ("ant", "bee", "cat")


@pytest.mark.parametrize("suffix", [".jfif", ".JPE", ".JPG"])
def test_every_usual_suffix_is_an_image(tmp_path: Path, suffix: str) -> None:
    write_images(tmp_path, f"cat/a{suffix}")
    (tmp_path / "annotations.csv").write_text(HEADER + f"cat/a{suffix},cat,1,2,3,4\n")
    assert boxes_of(opened(tmp_path)) == {f"cat/a{suffix}": [[1, 2, 3, 4]]}


@pytest.mark.parametrize(
    "given", ["cat\\é.jpg", "./cat/é.jpg", unicodedata.normalize("NFC", "cat/é.jpg"), "é"]
)
def test_annotations_find_files_whatever_wrote_their_names(tmp_path: Path, given: str) -> None:
    write_images(tmp_path, unicodedata.normalize("NFD", "cat/é.jpg"))
    (tmp_path / "annotations.csv").write_text(HEADER + f"{given},cat,1,2,3,4\n", encoding="utf-8")
    (record,) = read_all(opened(tmp_path))
    assert (record.error, record.boxes.tolist()) == (None, [[1, 2, 3, 4]])


@pytest.mark.parametrize("given", ["..\\a.jpg", "/a.jpg", "cat/../../a.jpg"])
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, given: str) -> None:
    write_images(tmp_path, "cat/a.jpg")
    (tmp_path / "annotations.csv").write_text(HEADER + f"{given},cat,1,2,3,4\n")
    with pytest.raises(InputError, match="points outside the folder"):
        opened(tmp_path)


def test_two_entries_of_one_image_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path, "cat/a.jpg")
    (tmp_path / "annotations.csv").write_text(HEADER + "cat/a.jpg,cat,1,2,3,4\na.jpg,cat,5,6,7,8\n")
    with pytest.raises(InputError, match=r"'cat/a.jpg' and 'a.jpg' are both about image 'cat/a.jpg'"):
        opened(tmp_path)


# -- CSV


def test_a_label_and_a_box_of_one_image(tmp_path: Path) -> None:
    write_images(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "annotations.csv").write_text(
        HEADER + "a.jpg,cat,,,,\na.jpg,,1,2,3,4\nb.jpg,,5,6,7,8\nb.jpg,dog,,,,\n"
    )
    dataset = opened(tmp_path)
    assert dataset.info.class_names == ("cat", "dog")
    assert [r.label for r in read_all(dataset)] == [0, 1]
    assert boxes_of(dataset) == {"a.jpg": [[1, 2, 3, 4]], "b.jpg": [[5, 6, 7, 8]]}


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    write_images(tmp_path, "cat/a.jpg")
    (tmp_path / "annotations.csv").write_text(BOM + HEADER + "cat/a.jpg,cat,1,2,3,4\n", encoding="utf-8")
    assert boxes_of(opened(tmp_path)) == {"cat/a.jpg": [[1, 2, 3, 4]]}


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("cat/a.jpg,cat,1,2\n", "line 2: the box is half filled, xmin, ymin without xmax, ymax; valid: all"),
        (",cat,1,2,3,4\n", "line 2: the file is missing"),
        (
            "cat/a.jpg,cat,1,2,3,\n",
            "line 2: the box is half filled, xmin, ymin, xmax without ymax; valid: all",
        ),
        ("cat/a.jpg,cat,1,2,3," + "9" * 5000 + "x\n", "is not a number"),
    ],
)
def test_a_bad_row_is_named_in_one_line(tmp_path: Path, rows: str, reason: str) -> None:
    write_images(tmp_path, "cat/a.jpg")
    (tmp_path / "annotations.csv").write_text(HEADER + rows)
    with pytest.raises(InputError, match=reason) as error:
        opened(tmp_path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_no_image_has_ten_thousand_boxes(tmp_path: Path) -> None:
    write_images(tmp_path, "cat/a.jpg")
    (tmp_path / "annotations.csv").write_text(HEADER + "cat/a.jpg,cat,1,2,3,4\n" * 10_001)
    with pytest.raises(InputError, match=r"cat/a\.jpg: more than 10000 boxes"):
        opened(tmp_path)


def test_folders_without_annotations_are_images_without_boxes(tmp_path: Path) -> None:
    write_images(tmp_path, "cat/a.jpg", "dog/b.jpg")
    dataset = opened(tmp_path)
    assert dataset.info.class_names == ("cat", "dog")
    assert dataset.info.decisions == ("no boxes: there are no annotations; nothing that needs boxes is said",)
    assert boxes_of(dataset) == {"cat/a.jpg": [], "dog/b.jpg": []}
    with pytest.raises(InputError, match="no annotations, so no column 'place' for the groups"):
        opened(tmp_path, group="place")


def test_a_csv_that_nobody_filled_is_no_boxes_and_said(tmp_path: Path) -> None:
    write_images(tmp_path, "cat/a.jpg", "dog/b.jpg")
    (tmp_path / "boxes.csv").write_text(HEADER + "cat/a.jpg,cat,,,,\ndog/b.jpg,dog, , ,,\n")
    info = opened(tmp_path, annotations=str(tmp_path / "boxes.csv")).info
    assert info.decisions == ("no boxes: boxes.csv has none; nothing that needs boxes is said",)
    assert info.fingerprint == opened(tmp_path).info.fingerprint


def test_boxes_of_a_part_are_used_and_counted(tmp_path: Path) -> None:
    write_images(tmp_path, "cat/a.jpg", "cat/b.jpg", "dog/c.jpg")
    (tmp_path / "annotations.csv").write_text(HEADER + "cat/a.jpg,cat,1,2,3,4\ncat/b.jpg,cat,9,2,3,4\n")
    info = opened(tmp_path).info
    assert info.decisions[1:] == (
        "boxes: of 2 of 3 images; none of 1 classes: dog",
        "1 boxes are left out: xmax is below xmin, or ymax below ymin",
    )
    assert decoded(opened(tmp_path))[:2] == [
        (schema.STATUS_OK, None),
        (schema.STATUS_NO_BOX, "box 0 is inverted (9, 2, 3, 4)"),
    ]


def test_a_csv_states_the_size_of_its_pictures(tmp_path: Path) -> None:
    """The stored picture is 60 x 40, viewers show it turned: boxes of either are placed, of others not."""
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.jpg").write_bytes(photo(6))
    for size, status, seen in (("60,40", "ok", [60, 40]), (",", "ok", [40, 60]), ("9,9", "failed", [0, 0])):
        (tmp_path / "annotations.csv").write_text(
            f"file,xmin,ymin,xmax,ymax,width,height\ncat/a.jpg,1,2,3,4,{size}\n"
        )
        _, (found, _), shown = picture_of(tmp_path)
        assert (found, shown) == (status, seen)
    (tmp_path / "annotations.csv").write_text(
        "file,xmin,ymin,xmax,ymax,width,height\ncat/a.jpg,1,2,3,4,-6,4\n"
    )
    with pytest.raises(InputError, match="line 2: width and height are '-6' and '4'; valid: pixels"):
        opened(tmp_path)


def test_absolute_paths_below_the_folder_find_their_images(tmp_path: Path) -> None:
    write_images(tmp_path, "cat/a.jpg")
    (tmp_path / "annotations.csv").write_text(HEADER + f"{tmp_path}/cat/a.jpg,cat,1,2.5,3,4\n")
    assert boxes_of(opened(tmp_path)) == {"cat/a.jpg": [[1, 2.5, 3, 4]]}
    (tmp_path / "annotations.csv").write_text(HEADER + f"{tmp_path.parent}/cat/a.jpg,cat,1,2,3,4\n")
    with pytest.raises(InputError, match="points outside the folder; it is refused; valid: a path below"):
        opened(tmp_path)


def test_fractions_of_the_picture_are_no_pixels(tmp_path: Path) -> None:
    write_images(tmp_path, "cat/a.jpg", "cat/b.jpg")
    (tmp_path / "annotations.csv").write_text(HEADER + "cat/a.jpg,cat,0.1,0.2,0.9,1\n")
    with pytest.raises(InputError, match=r"annotations\.csv: all coordinates lie between 0 and 1"):
        opened(tmp_path)


def test_names_that_a_spreadsheet_would_execute_come_back(tmp_path: Path) -> None:
    """As this package writes them, with an apostrophe; and a file that is really called so."""
    write_images(tmp_path, "=a/-x.jpg", "=a/y.jpg", "'=b/z.jpg")
    (tmp_path / "annotations.csv").write_text(
        HEADER + "'=a/-x.jpg,'=a,1,2,3,4\n=a/y.jpg,=a,5,6,7,8\n'=b/z.jpg,''=b,2,2,3,3\n"
    )
    assert boxes_of(opened(tmp_path)) == {
        "=a/-x.jpg": [[1, 2, 3, 4]],
        "=a/y.jpg": [[5, 6, 7, 8]],
        "'=b/z.jpg": [[2, 2, 3, 3]],
    }


# -- COCO


def coco(images: list[dict], annotations: list[tuple], names: dict[int, str]) -> str:
    keys = ("image_id", "category_id", "bbox", "iscrowd")
    items = [dict(zip(keys, a, strict=False), id=i) for i, a in enumerate(annotations)]
    categories = [{"id": k, "name": name} for k, name in names.items()]
    return json.dumps({"images": images, "annotations": items, "categories": categories})


def test_coco_without_a_usable_box_is_no_failure(tmp_path: Path) -> None:
    write_images(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    images = [{"id": i, "file_name": f"{name}.jpg"} for i, name in enumerate("abcd")]
    annotations = [(0, 5, [30, 38, 8, 0]), (1, 5, [0, 0, 9, 9], 1), (3, 2, [4, 5, 10, 20])]
    (tmp_path / "annotations.json").write_text(BOM + coco(images, annotations, {5: "ant", 2: "cat"}))
    dataset = opened(tmp_path)
    assert decoded(dataset) == [
        (schema.STATUS_NO_BOX, "box of width 8 and height 0"),
        (schema.STATUS_NO_BOX, "a crowd, which has no box of its own"),
        (schema.STATUS_NO_BOX, "neither folder nor annotations give the image a class"),
        (schema.STATUS_OK, None),
    ]
    assert [r.label for r in read_all(dataset)] == [1, 1, -1, 0]
    assert boxes_of(dataset)["d.jpg"] == [[4, 5, 13, 24]]
    assert any("1 images have no class" in said for said in dataset.info.decisions)


def test_coco_classes_keep_the_order_of_their_ids(tmp_path: Path) -> None:
    write_images(tmp_path, "a.jpg", "b.jpg")
    images = [{"id": i, "file_name": f"{name}.jpg"} for i, name in enumerate("ab")]
    names = {0: "zebra", 1: "unseen", 2: "ant"}
    (tmp_path / "annotations.json").write_text(
        coco(images, [(0, 2, [0, 0, 9, 9]), (1, 0, [0, 0, 9, 9])], names)
    )
    info = opened(tmp_path).info
    assert info.class_names == ("zebra", "unseen", "ant")
    assert info.decisions[1:] == (
        "classes are in the order of the annotations' category ids: zebra, unseen, ant",
    )


def test_coco_may_not_name_an_image_twice(tmp_path: Path) -> None:
    write_images(tmp_path, "a.jpg")
    images = [{"id": i, "file_name": "a.jpg"} for i in range(2)]
    (tmp_path / "annotations.json").write_text(coco(images, [(0, 0, [0, 0, 9, 9])], {0: "ant"}))
    with pytest.raises(InputError, match=r"image 1 .'a.jpg'. occurs twice"):
        opened(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"images":' + "9" * 5000 + "}", '{"images": [7], "annotations": [], "categories": []}'],
)
def test_hostile_json_is_one_line(tmp_path: Path, text: str) -> None:
    write_images(tmp_path, "a.jpg")
    (tmp_path / "annotations.json").write_text(text)
    with pytest.raises(InputError, match=r"annotations\.json") as error:
        opened(tmp_path)
    assert "\n" not in str(error.value)


# -- VOC


def voc(filename: str, size: tuple[int, int] | None = None) -> str:
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    sides = "<xmin>2</xmin><ymin>3</ymin><xmax>31</xmax><ymax>21</ymax>"
    return (
        f"<annotation><filename>{filename}</filename>{stated}"
        f"<object><name>cat</name><bndbox>{sides}</bndbox></object></annotation>"
    )


def test_the_stem_of_a_voc_file_names_its_image(tmp_path: Path) -> None:
    write_images(tmp_path, "cat/a.jpg", "cat/b.jpg", "cat/c.jpg")
    (tmp_path / "annotations").mkdir()
    for name in "ab":
        (tmp_path / "annotations" / f"{name}.xml").write_text(voc("a.jpg"))
    (tmp_path / "annotations" / "0003.xml").write_text(voc("c.jpg"))
    assert boxes_of(opened(tmp_path)) == {f"cat/{name}.jpg": [[1, 2, 30, 20]] for name in "abc"}


def test_voc_files_that_all_name_one_image_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path, "cat/a.jpg")
    (tmp_path / "annotations").mkdir()
    for name in ("1", "2"):
        (tmp_path / "annotations" / f"{name}.xml").write_text(voc("a.jpg"))
    with pytest.raises(InputError, match=r"'1' and '2' are both about image 'cat/a\.jpg'"):
        opened(tmp_path)


# -- the picture that was annotated


def photo(orientation: int) -> bytes:
    """60 x 40 as stored, left third red, with this EXIF orientation."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :20, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", exif=exif, quality=95, subsampling=0)
    return file.getvalue()


def picture_of(root: Path) -> tuple[np.ndarray, tuple[str, str | None], list[int]]:
    """Picture of the only image, status with reason, and size."""
    dataset = opened(root)
    card = ModelCard(height=30, width=30, resize="stretch", classes=1)
    info = dataset.info
    batch = next(iter_batches(dataset, Shard(info.name, info.split, 0, 1, "all"), card, 1))
    return batch.pictures[0], (batch.status[0], batch.reason[0]), batch.sizes[0].tolist()


@pytest.mark.parametrize("stated", [None, (40, 60)])
def test_photos_are_seen_as_viewers_show_them(tmp_path: Path, stated: tuple[int, int] | None) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.jpg").write_bytes(photo(6))  # to be turned a quarter clockwise: the left is on top
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.xml").write_text(voc("a.jpg", stated))
    picture, status, size = picture_of(tmp_path)
    assert (status, size) == ((schema.STATUS_OK, None), [40, 60])
    assert picture[:9, :, 0].min() > 200
    assert picture[12:, :, 0].max() < 60


def test_boxes_that_were_drawn_on_the_stored_picture_keep_it(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.jpg").write_bytes(photo(6))
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.xml").write_text(voc("a.jpg", (60, 40)))
    picture, status, size = picture_of(tmp_path)
    assert (status, size) == ((schema.STATUS_OK, None), [60, 40])
    assert picture[:, :9, 0].min() > 200


def test_annotations_of_another_size_are_said(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.jpg").write_bytes(photo(6))
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.xml").write_text(voc("a.jpg", (120, 80)))
    _, (status, reason), _ = picture_of(tmp_path)
    assert status == schema.STATUS_FAILED
    assert reason == (
        "the annotations are of an image of 120 x 80 pixels, the file has 60 x 40, 40 x 60 when turned "
        "as its EXIF orientation says: its boxes cannot be placed"
    )


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_pixels_of_unknown_range_are_not_black(tmp_path: Path, dtype: type) -> None:
    (tmp_path / "cat").mkdir()
    values = np.linspace(0, 255 if dtype is np.int32 else 1, 400).reshape(20, 20).astype(dtype)
    Image.fromarray(values).save(tmp_path / "cat" / "a.tif")
    (tmp_path / "annotations.csv").write_text(HEADER)
    _, (status, reason), _ = picture_of(tmp_path)
    assert status == schema.STATUS_FAILED
    assert "black and white are not known; valid: 8 or 16 bits per channel" in str(reason)


def test_sixteen_bits_of_a_tiff_are_cut_to_eight(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    Image.fromarray(np.full((20, 20), 0x8123, np.uint16)).save(tmp_path / "cat" / "a.tif")
    (tmp_path / "annotations.csv").write_text(HEADER)
    picture, (status, _), _ = picture_of(tmp_path)
    assert status == schema.STATUS_NO_BOX
    assert (picture == 0x81).all()
