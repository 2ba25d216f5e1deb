"""Where an image comes from: of folders and TFDS datasets, with every way in which a group can be missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from pipeline.config import parse_config
from pipeline.config_sections import DatasetConfig
from pipeline.errors import InputError
from pipeline.inputs.datasets import open_dataset
from tests.archives import jpeg
from tests.pipeline.inputs.test_datasets import read_all
from tests.pipeline.inputs.test_image_folders import opened, write_images

HEADER = "file,label,xmin,ymin,xmax,ymax,group\n"


def groups_of(root: Path, **settings: object) -> dict[str, str | None]:
    return {record.file_name: record.group for record in read_all(opened(root, **settings))}


def test_a_column_of_the_csv_says_the_group_with_or_without_a_box(tmp_path: Path) -> None:
    write_images(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg")
    (tmp_path / "annotations.csv").write_text(
        HEADER
        + "a.jpg,gull,1,2,30,20,water\n"
        + "a.jpg,gull,5,5,20,20,\n"  # another box of the same image
        + "b.jpg,gull,,,,, land \n"  # a label only
        + "c.jpg,gull,1,2,30,20,\n"
        + "d.jpg,,,,,,water\n"  # a group only
        + 'e.jpg,gull,1,2,30,20,"wa\x1b[31mter"\n'
    )
    assert groups_of(tmp_path) == {
        "a.jpg": "water",
        "b.jpg": "land",
        "c.jpg": None,
        "d.jpg": "water",
        "e.jpg": "wa\x1b[31mter",  # as it is; what shows it must escape it
    }
    said = opened(tmp_path).info.decisions
    assert "groups: column 'group', 3 different ones; 1 images have none" in said


def test_another_column_can_be_named(tmp_path: Path) -> None:
    write_images(tmp_path, "cat/a.jpg", "cat/b.jpg")
    (tmp_path / "annotations.csv").write_text(
        "file,xmin,ymin,xmax,ymax,group,camera\ncat/a.jpg,1,2,3,4,x,left\ncat/b.jpg,,,,,x,right\n"
    )
    assert groups_of(tmp_path, group="camera") == {"cat/a.jpg": "left", "cat/b.jpg": "right"}
    with pytest.raises(InputError, match=r"no column 'hospital' for the groups; it has file, .*camera"):
        opened(tmp_path, group="hospital")


def test_without_such_a_column_there_are_no_groups(tmp_path: Path) -> None:
    write_images(tmp_path, "cat/a.jpg")
    (tmp_path / "annotations.csv").write_text("file,xmin,ymin,xmax,ymax\ncat/a.jpg,1,2,3,4\n")
    assert groups_of(tmp_path) == {"cat/a.jpg": None}
    assert not any("groups" in said for said in opened(tmp_path).info.decisions)


def test_two_groups_of_one_image_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path, "a.jpg")
    (tmp_path / "annotations.csv").write_text(HEADER + "a.jpg,gull,1,2,9,9,water\na.jpg,gull,2,2,9,9,land\n")
    with pytest.raises(InputError, match=r"line 3: a.jpg is of group 'land', an earlier row says 'water'"):
        opened(tmp_path)


def test_only_a_csv_has_columns(tmp_path: Path) -> None:
    write_images(tmp_path, "cat/a.jpg")
    (tmp_path / "annotations.json").write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(InputError, match="group 'camera' is the name of a CSV's column, and this is COCO"):
        opened(tmp_path, group="camera")


def test_the_group_is_part_of_what_identifies_the_data(tmp_path: Path) -> None:
    write_images(tmp_path, "cat/a.jpg")
    fingerprints = []
    for line in ("cat/a.jpg,cat,1,2,9,9,", "cat/a.jpg,cat,1,2,9,9,water", "cat/a.jpg,cat,1,2,9,9,land"):
        (tmp_path / "annotations.csv").write_text(HEADER + line + "\n")
        fingerprints.append(opened(tmp_path).info.fingerprint)
    (tmp_path / "annotations.csv").write_text(HEADER.replace(",group", "") + "cat/a.jpg,cat,1,2,9,9\n")
    assert fingerprints[0] == opened(tmp_path).info.fingerprint  # as of data without groups
    assert len(set(fingerprints)) == 3


def test_a_configuration_without_groups_is_the_same_run_as_before_there_were_any() -> None:
    dataset = {"source": "folder", "path": "photos"}
    config = parse_config({"dataset": dataset})
    assert "group" not in config.canonical_json()
    assert "group" not in config.model_dump(mode="json")["dataset"]
    named = parse_config({"dataset": dataset | {"group": "camera"}})
    assert named.run_id != config.run_id
    assert parse_config(named.model_dump(mode="json")) == named


class Birds(tfds.core.GeneratorBasedBuilder):
    """A class per place, a camera's number, a site's name, and features that are no group."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=["gull", "wren"]),
            "bbox": tfds.features.BBoxFeature(),
            "place": tfds.features.ClassLabel(names=["land", "water"]),
            "camera": tfds.features.Scalar(np.int64),
            "about": {"site": tfds.features.Text()},
            "parts": tfds.features.Sequence({"kind": tfds.features.ClassLabel(names=["beak"])}),
            "weight": tfds.features.Scalar(np.float32),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: object) -> dict[str, object]:
        return {"test": self._generate_examples()}

    def _generate_examples(self):  # type: ignore[no-untyped-def]
        for i in range(4):
            yield (
                i,
                {
                    "image": jpeg(40, 30, i),
                    "label": i % 2,
                    "bbox": tfds.features.BBox(0.1, 0.1, 0.9, 0.9),
                    "place": i // 2 if i else -1,
                    "camera": 10 + i,
                    "about": {"site": ["", " north ", "süd", "s\0"][i]},
                    "parts": [{"kind": 0}],
                    "weight": 0.5,
                },
            )


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    builder = Birds(data_dir=str(tmp_path_factory.mktemp("tfds")))
    tfds.disable_progress_bar()
    builder.download_and_prepare()
    return Path(builder.data_dir)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("place", {None, "land", "water"}),  # -1: the data do not say
        ("camera", {"10", "11", "12", "13"}),
        ("about/site", {None, "north", "süd", "s\0"}),
        ("", {None}),
    ],
)
def test_a_feature_says_the_group(birds: Path, path: str, expected: set[str | None]) -> None:
    dataset = open_dataset(DatasetConfig(source="tfds", path=str(birds), group=path))
    assert {record.group for record in read_all(dataset)} == expected


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("hospital", "group feature 'hospital' is not in the dataset; valid: .*place"),
        ("weight", "group feature 'weight' is Scalar; valid: one class, text or integer"),
        ("image", "'image' is several of Image"),
        ("parts/kind", "'parts/kind' is several of ClassLabel"),
    ],
)
def test_what_is_no_group_is_refused(birds: Path, path: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        open_dataset(DatasetConfig(source="tfds", path=str(birds), group=path))
