"""`prepare ilsvrc2012`: from the official archives to a dataset, whole or not at all."""

from __future__ import annotations

import csv
import errno
import io
import re
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.config_sections import DatasetConfig
from pipeline.errors import InputError
from pipeline.inputs.datasets import open_dataset
from pipeline.inputs.datasets.archives import parse_xml, read_annotations
from pipeline.inputs.datasets.ilsvrc2012 import (
    imagenet_classes,
    packaged_labels,
    prepare_ilsvrc2012,
)
from pipeline.inputs.datasets.tfds import TfdsDataset
from tests.archives import jpeg, write_archives, write_tar, xml
from tests.pipeline.inputs.test_datasets import read_all

NAME = "ILSVRC2012_val_00000001"
BOMB = b'<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]><annotation>&c;&c;</annotation>'


def test_the_dataset_holds_what_the_archives_hold(tiny_dataset: TfdsDataset, tmp_path: Path) -> None:
    archives = write_archives(tmp_path, 12)
    with tarfile.open(archives.images) as tar:
        original = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    records = read_all(tiny_dataset)
    ids = tiny_dataset.info.class_ids
    assert {r.file_name: r.image for r in records} == original
    assert {r.file_name: (ids[r.label], r.boxes.tolist()) for r in records} == archives.truth
    assert all(r.example_id == r.file_name for r in records)
    assert tiny_dataset.info.split == "validation"


def test_order_in_the_archive_does_not_matter(tmp_path: Path) -> None:
    archives = write_archives(tmp_path, 5)
    with tarfile.open(archives.images) as tar:
        members = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    other = write_tar(tmp_path / "sorted.tar", dict(sorted(members.items())))
    found = []
    for images, out in ((archives.images, "a"), (other, "b")):
        prepare_ilsvrc2012(images, archives.boxes, tmp_path / out)
        dataset = open_dataset(DatasetConfig(source="tfds", path=str(tmp_path / out)))
        found.append([(r.example_id, r.label) for r in read_all(dataset)])
    assert found[0] == found[1]


def test_kaggle_csv_gives_the_same(tmp_path: Path) -> None:
    archives = write_archives(tmp_path, 4)
    with open(tmp_path / "solution.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["ImageId", "PredictionString"])
        for name, (synset, boxes) in archives.truth.items():
            words = " ".join(f"{synset} {' '.join(map(str, box))}" for box in boxes)
            rows.writerow([name.removesuffix(".JPEG"), f"{words} "])
    from_csv, from_xml = read_annotations(tmp_path / "solution.csv"), read_annotations(archives.boxes)
    assert from_csv.keys() == from_xml.keys()
    for name, one in from_csv.items():
        assert one.synset == from_xml[name].synset
        assert one.boxes.tolist() == from_xml[name].boxes.tolist()


def test_images_without_boxes_take_their_class_from_the_labels(tmp_path: Path) -> None:
    images = write_tar(tmp_path / "i.tar", {f"{NAME}.JPEG": jpeg(40, 40), f"{NAME[:-1]}2.JPEG": jpeg(40, 40)})
    boxes = write_tar(tmp_path / "b.tgz", {f"val/{NAME[:-1]}7.xml": xml("x", "n01440764", [[0, 0, 5, 5]])})
    report = prepare_ilsvrc2012(images, boxes, tmp_path / "out")
    assert (report.images, len(report.without_boxes), report.without_image) == (2, 2, 1)
    dataset = open_dataset(DatasetConfig(source="tfds", path=str(tmp_path / "out")))
    labels = {r.file_name: dataset.info.class_ids[r.label] for r in read_all(dataset)}
    assert labels == {f"{NAME}.JPEG": packaged_labels()[0], f"{NAME[:-1]}2.JPEG": packaged_labels()[1]}
    (tmp_path / "labels.txt").write_text("n02802426\n\n")
    with pytest.raises(InputError, match=r"00000002.JPEG: no class for it"):
        prepare_ilsvrc2012(images, boxes, tmp_path / "out2", labels=tmp_path / "labels.txt")


def test_class_names_come_from_the_mapping(tmp_path: Path) -> None:
    ids, names = imagenet_classes()
    assert (len(ids), len(set(names))) == (1000, 1000)
    assert (ids[430], names[430]) == ("n02802426", "basketball")
    mapping = tmp_path / "mapping.txt"
    mapping.write_text("".join(f"{wnid} name {i}, other\n" for i, wnid in enumerate(ids)))
    assert imagenet_classes(mapping)[1][7] == "name 7, other"
    mapping.write_text("n01440764 tench\n")
    with pytest.raises(InputError, match="not the 1000 ILSVRC synsets"):
        imagenet_classes(mapping)


def spoilt(kind: str, folder: Path) -> tuple[Path, Path]:
    """Archives with one thing wrong."""
    image, box = jpeg(64, 64), xml(NAME, "n01440764", [[0, 0, 5, 5]])
    images, boxes = {f"{NAME}.JPEG": image}, {f"val/{NAME}.xml": box}
    if kind == "climbing image":
        images = {f"../{NAME}.JPEG": image}
    elif kind == "climbing box":
        boxes = {f"val/../../{NAME}.xml": box}
    elif kind == "absolute":
        images = {f"/tmp/{NAME}.JPEG": image}
    elif kind == "stranger":
        images = {"holiday.jpg": image}
    elif kind == "bomb":
        boxes = {f"val/{NAME}.xml": BOMB}
    elif kind == "no xml":
        boxes = {"readme": b""}
    elif kind == "broken xml":
        boxes = {f"val/{NAME}.xml": box[:60]}
    elif kind == "no number":
        boxes = {f"val/{NAME}.xml": box.replace(b"<xmax>5", b"<xmax>five")}
    elif kind == "other class":
        boxes = {f"val/{NAME}.xml": xml(NAME, "n99999999", [[0, 0, 5, 5]])}
    elif kind == "no synset":
        boxes = {f"val/{NAME}.xml": xml(NAME, "tench", [[0, 0, 5, 5]])}
    elif kind == "empty":
        images = {}
    paths = write_tar(folder / "i.tar", images), write_tar(folder / "b.tgz", boxes)
    if kind == "cut image archive":
        paths[0].write_bytes(paths[0].read_bytes()[:700])
    elif kind == "cut box archive":
        paths[1].write_bytes(paths[1].read_bytes()[:-30])
    elif kind == "no archive":
        paths[0].write_bytes(b"x" * 5000)
    elif kind == "missing archive":
        paths[0].unlink()
    elif kind == "missing boxes":
        paths[1].unlink()
    elif kind == "twice":
        with tarfile.open(paths[0], "a") as tar:
            info = tarfile.TarInfo(f"{NAME}.JPEG")
            info.size = len(image)
            tar.addfile(info, io.BytesIO(image))
    elif kind == "link":
        with tarfile.open(paths[0], "a") as tar:
            info = tarfile.TarInfo("ILSVRC2012_val_00000002.JPEG")
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(info)
    return paths


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("climbing image", "points outside the archive"),
        ("climbing box", "points outside the archive"),
        ("absolute", "points outside the archive"),
        ("link", "is a link or device"),
        ("stranger", "'holiday.jpg' is not named ILSVRC2012_val"),
        ("twice", "occurs twice"),
        ("bomb", "refused, it defines entities"),
        ("no xml", "holds no XML file"),
        ("broken xml", "not well-formed"),
        ("no number", "a box is not four numbers"),
        ("other class", "not one of the 1000"),
        ("no synset", "not a synset"),
        ("empty", "holds no image"),
        ("cut image archive", "cut off"),
        ("cut box archive", "cut off|cannot read the archive|damaged"),
        ("no archive", "damaged|cannot read"),
        ("missing archive", "No such file"),
        ("missing boxes", "no such file"),
    ],
)
def test_bad_archives_leave_nothing_and_say_one_line(tmp_path: Path, kind: str, reason: str) -> None:
    images, boxes = spoilt(kind, tmp_path)
    with pytest.raises(InputError, match=reason) as error:
        prepare_ilsvrc2012(images, boxes, tmp_path / "work" / "out")
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "work").glob("*")) if (tmp_path / "work").exists() else True
    assert not (tmp_path / "work").exists() or not list((tmp_path / "work").glob(".tmp*"))


def test_an_existing_folder_is_not_touched(tmp_path: Path) -> None:
    archives = write_archives(tmp_path, 2)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "diary.txt").write_text("dear diary")
    with pytest.raises(InputError, match="is there already"):
        prepare_ilsvrc2012(archives.images, archives.boxes, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["diary.txt"]


def test_a_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archives = write_archives(tmp_path, 2)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tensorflow_datasets.core.writer.Writer.finalize", full)
    with pytest.raises(InputError, match="cannot write there: No space left on device"):
        prepare_ilsvrc2012(archives.images, archives.boxes, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".tmp*"))


def test_several_classes_in_one_file_are_refused() -> None:
    two = xml(NAME, "n01440764", [[0, 0, 1, 1]]).replace(
        b"</annotation>", xml(NAME, "n02802426", [[0, 0, 1, 1]])[len("<annotation>") :]
    )
    with pytest.raises(InputError, match="several classes"):
        parse_xml(two, "x.xml")


@pytest.mark.ilsvrc
def test_the_real_archives(ilsvrc: Path, ilsvrc_dataset: Path) -> None:
    dataset = open_dataset(DatasetConfig(source="tfds", path=str(ilsvrc_dataset)))
    records = read_all(dataset, 128)
    boxes = np.concatenate([r.boxes for r in records])
    assert (len(records), len(boxes), len({r.label for r in records})) == (500, 770, 387)
    assert Counter(len(r.boxes) for r in records)[1] == 386
    own, mapped = imagenet_classes(), imagenet_classes(ilsvrc / "LOC_synset_mapping.txt")
    assert own[0] == mapped[0]
    assert [i for i in range(1000) if own[1][i] != mapped[1][i]] == [134, 517]  # the two cranes
    solution = read_annotations(ilsvrc / "LOC_val_solution.csv")
    labels = packaged_labels()
    for record in records:
        number = int(re.sub(r"\D", "", record.file_name.partition("val_")[2]))
        assert dataset.info.class_ids[record.label] == labels[number - 1]
        assert record.boxes.tolist() == solution[record.file_name.removesuffix(".JPEG")].boxes.tolist()
    edges = {
        (record.boxes[:, 2] == Image.open(io.BytesIO(record.image or b"")).width - 1).sum()
        for record in records
    }
    assert edges  # boxes touch the last column, never go beyond: 0-based, inclusive
    assert dataset.info.class_names[0] == "tench, Tinca tinca"


def test_without_an_image_the_report_says_so(tmp_path: Path) -> None:
    archives = write_archives(tmp_path, 3)
    extra = {f"val/{NAME[:-1]}9.xml": xml("x", "n01440764", [[0, 0, 5, 5]])}
    with tarfile.open(archives.boxes) as tar:
        extra |= {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    report = prepare_ilsvrc2012(archives.images, write_tar(tmp_path / "more.tgz", extra), tmp_path / "out")
    assert (report.images, report.without_boxes, report.without_image) == (3, [], 1)
