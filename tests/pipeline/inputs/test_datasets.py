"""Every source of images: what is read is what was written, at any shard size; faults say why."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.options import Settings
from pipeline.config import parse_config
from pipeline.config_sections import DatasetConfig
from pipeline.errors import InputError
from pipeline.inputs import datasets
from pipeline.inputs.batches import iter_batches
from pipeline.inputs.card import ModelCard
from pipeline.inputs.datasets import (
    Dataset,
    Record,
    Source,
    list_sources,
    open_dataset,
    register,
    section_of,
    sources,
)
from pipeline.inputs.datasets.features import find_features
from pipeline.inputs.datasets.tfds import TfdsDataset, absolute_boxes
from pipeline.inputs.shards import plan_shards
from tests.archives import encoded, jpeg


def read_all(dataset: Dataset, size: int = 5) -> list[Record]:
    info = dataset.info
    shards = plan_shards(info.name, info.split, info.n_examples, size)
    return [record for shard in shards for record in dataset.read(shard)]


def same(a: Record, b: Record) -> bool:
    return (a.example_id, a.index, a.image, a.label) == (b.example_id, b.index, b.image, b.label)


class Detection(tfds.core.GeneratorBasedBuilder):
    """The layout of VOC: a label per object, boxes relative; two image features; names with a slash."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        objects = {
            "bbox": tfds.features.BBoxFeature(),
            "label": tfds.features.ClassLabel(names=["cat", "dog"]),
        }
        features = {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "image/filename": tfds.features.Text(),
            "mask": tfds.features.Image(encoding_format="png", shape=(None, None, 1)),
            "objects": tfds.features.Sequence(objects),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: object) -> dict[str, object]:
        return {"train": self._generate_examples(3), "test": self._generate_examples(11)}

    def _generate_examples(self, n: int):  # type: ignore[no-untyped-def]
        for i in range(n):
            small, large = (0.1, 0.2, 0.3, 0.4), (0.25, 0.125, 1.0, 0.875)
            objects = [
                {"bbox": tfds.features.BBox(*small), "label": i % 2},
                {"bbox": tfds.features.BBox(*large), "label": (i + 1) % 2},
            ]
            yield (
                i,
                {
                    "image": jpeg(80, 40, i),
                    "image/filename": f"{i}.jpg",
                    "mask": encoded(8, 8, 0, "L", "PNG"),
                    "objects": [] if i == 5 else objects,
                },
            )


@pytest.fixture(scope="module")
def detection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    builder = Detection(data_dir=str(tmp_path_factory.mktemp("tfds")))
    tfds.disable_progress_bar()
    builder.download_and_prepare()
    return Path(builder.data_dir)


@settings(max_examples=15, deadline=None)
@given(size=st.integers(1, 20))
def test_records_do_not_depend_on_the_size_of_a_shard(tiny_dataset: TfdsDataset, size: int) -> None:
    reference = read_all(tiny_dataset, 1000)
    assert [r.index for r in reference] == list(range(12))
    assert all(same(a, b) for a, b in zip(read_all(tiny_dataset, size), reference, strict=True))


def test_reading_agrees_with_tfds_itself(detection: Path) -> None:
    dataset = open_dataset(DatasetConfig(source="tfds", path=str(detection)))
    assert dataset.info.split == "test"
    config = tfds.ReadConfig(add_tfds_id=True, interleave_cycle_length=1)
    skip = {"image": tfds.decode.SkipDecoding(), "mask": tfds.decode.SkipDecoding()}
    builder = tfds.builder_from_directory(str(detection))
    expected = tfds.as_numpy(builder.as_dataset("test", decoders=skip, read_config=config))
    for record, example in zip(read_all(dataset), expected, strict=True):
        assert record.example_id == example["tfds_id"].decode()
        assert record.image == example["image"]
        assert record.file_name == example["image/filename"].decode()


def test_detection_data_take_the_class_of_the_largest_box(detection: Path) -> None:
    dataset = open_dataset(DatasetConfig(source="tfds", path=str(detection)))
    assert dataset.info.class_names == ("cat", "dog")
    records = {r.file_name: r for r in read_all(dataset)}
    assert len(records) == 11
    assert records["4.jpg"].label == 1
    # ymin .25, xmin .125, ymax 1, xmax .875 of 80 x 40
    assert records["4.jpg"].boxes.tolist() == [[10, 10, 69, 39]]
    assert records["5.jpg"].label == -1
    assert len(records["5.jpg"].boxes) == 0


def test_array_records_hold_the_same(detection: Path, tmp_path: Path) -> None:
    builder = Detection(data_dir=str(tmp_path), file_format="array_record")
    builder.download_and_prepare()
    dataset = open_dataset(DatasetConfig(source="tfds", path=str(builder.data_dir)))
    whole = read_all(open_dataset(DatasetConfig(source="tfds", path=str(detection))))
    for record, other in zip(read_all(dataset, 4), whole, strict=True):
        assert (record.image, record.label, record.boxes.tolist()) == (
            other.image,
            other.label,
            other.boxes.tolist(),
        )
    (path,) = Path(builder.data_dir).glob("*test.array_record*")
    path.write_bytes(path.read_bytes()[:200])
    assert all("cannot be read" in str(r.error) for r in read_all(dataset))
    path.unlink()
    assert all("No such file" in str(r.error) for r in read_all(dataset))


def test_splits_subsplits_and_limits(detection: Path) -> None:
    whole = open_dataset(DatasetConfig(source="tfds", path=str(detection)))
    part = open_dataset(DatasetConfig(source="tfds", path=str(detection), split="test[4:9]"))
    assert [r.image for r in read_all(part, 2)] == [r.image for r in read_all(whole)][4:9]
    assert part.info.fingerprint != whole.info.fingerprint
    few = open_dataset(DatasetConfig(source="tfds", path=str(detection), split="train", limit=2))
    assert few.info.n_examples == len(read_all(few)) == 2


@pytest.mark.parametrize("shard", [1, 3, 4])
def test_a_limit_may_be_spread_over_the_split(detection: Path, shard: int) -> None:
    """One image of each of four stretches of eleven, whatever the shards; their ids stay the same."""
    whole = read_all(open_dataset(DatasetConfig(source="tfds", path=str(detection))))
    config = DatasetConfig(source="tfds", path=str(detection), limit=4, choice="spread")
    few = open_dataset(config)
    records = read_all(few, shard)
    assert [r.index for r in records] == [0, 1, 2, 3]
    places = [[w.example_id for w in whole].index(r.example_id) for r in records]
    assert all(
        a <= place < b for place, (a, b) in zip(places, [(0, 2), (2, 5), (5, 8), (8, 11)], strict=True)
    )
    assert [r.image for r in records] == [whole[place].image for place in places]
    assert few.info.n_examples == 4
    assert "4 of 11 images: one of each stretch of the split, seeded" in few.info.decisions
    # a dataset that is cut as always is the same as before there was a choice
    assert "choice" not in DatasetConfig(limit=4).model_dump()
    assert config.model_dump()["choice"] == "spread"


def test_paths_can_be_named_and_wrong_ones_list_the_valid(detection: Path) -> None:
    config = DatasetConfig(
        source="tfds", path=str(detection), boxes="objects/bbox", label="objects/label", image="image"
    )
    assert open_dataset(config).info.n_examples == 11
    for change, reason in (
        ({"boxes": "box"}, r"boxes feature 'box' is not in the dataset; valid: .*objects/bbox"),
        ({"label": "image"}, "no ClassLabel"),
        ({"split": "dev"}, "valid: train, test|valid: test, train"),
        ({"path": "no/such/folder"}, "no dataset there"),
        ({"path": ""}, "neither name nor path"),
        ({"path": "", "name": "no_such_dataset_anywhere"}, "cannot be opened by TFDS"),
    ):
        with pytest.raises(InputError, match=reason):
            open_dataset(config.model_copy(update=change))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cars196", ("image", "label", "bbox")),
        ("stanford_dogs", ("image", "label", "objects/bbox")),
        ("voc/2007", ("image", "objects/label", "objects/bbox")),
        ("oxford_iiit_pet", ("image", "label", "head_bbox")),
        ("open_images_v4", ("image", "bobjects/label", "bobjects/bbox")),
    ],
)
def test_features_of_the_catalog_are_found_by_type(
    name: str, expected: tuple[str, ...], tmp_path: Path
) -> None:
    features = tfds.builder(name, data_dir=str(tmp_path)).info.features
    paths = find_features(features, DatasetConfig())
    assert (paths.image, paths.label, paths.boxes) == expected
    assert paths.relative


def test_features_that_are_not_clear_must_be_named(tmp_path: Path) -> None:
    features = tfds.builder("kitti", data_dir=str(tmp_path)).info.features
    with pytest.raises(InputError, match="several candidates"):
        find_features(features, DatasetConfig())


def test_a_dataset_may_have_no_boxes_but_not_several_labels_then(tmp_path: Path) -> None:
    paths = find_features(tfds.builder("mnist", data_dir=str(tmp_path)).info.features, DatasetConfig())
    assert (paths.image, paths.label, paths.boxes, paths.relative) == ("image", "label", "", False)
    several = {
        "image": tfds.features.Image(),
        "labels": tfds.features.Sequence(tfds.features.ClassLabel(names=["a", "b"])),
    }
    with pytest.raises(InputError, match="'labels' is a list per example, and no feature holds boxes; valid"):
        find_features(tfds.features.FeaturesDict(several), DatasetConfig())


class Bare(tfds.core.GeneratorBasedBuilder):
    """Pictures with a class and nothing else."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=["gull", "wren"]),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: object) -> dict[str, object]:
        return {"test": self._generate_examples()}

    def _generate_examples(self):  # type: ignore[no-untyped-def]
        for i in range(4):
            yield i, {"image": jpeg(40, 30, i), "label": i % 2}


def test_boxes_of_a_dataset_without_any_come_from_a_csv(tmp_path: Path) -> None:
    """By the ids of its images; a path that is fractions, and a file that is not there, are refused."""
    builder = Bare(data_dir=str(tmp_path))
    builder.download_and_prepare()
    config = DatasetConfig(source="tfds", path=str(builder.data_dir))
    dataset = open_dataset(config)
    assert [r.boxes.tolist() for r in read_all(dataset)] == [[]] * 4
    assert dataset.info.decisions[0].startswith("no boxes: no feature of the dataset holds any")
    ids = [record.example_id for record in read_all(dataset)]
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(f"file,label,xmin,ymin,xmax,ymax\n{ids[2]},gull,1,2,30,20\n{ids[0]},gull,,,,\n")
    drawn = open_dataset(config.model_copy(update={"annotations": str(boxes)}))
    assert [r.boxes.tolist() for r in read_all(drawn)] == [[], [], [[1, 2, 30, 20]], []]
    assert drawn.info.decisions[0].startswith("boxes of 1 images are those of boxes.csv")
    assert drawn.info.fingerprint != dataset.info.fingerprint
    assert pickle.loads(pickle.dumps(drawn)).info == drawn.info
    boxes.write_text(f"file,xmin,ymin,xmax,ymax\n{ids[2]},0.1,0.2,0.5,0.5\n")
    for change, reason in ((str(boxes), "between 0 and 1"), ("none.csv", "no such file; valid is a CSV")):
        with pytest.raises(InputError, match=reason):
            open_dataset(config.model_copy(update={"annotations": change}))


def test_a_catalog_dataset_that_is_not_prepared_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="tfds build cars196"):
        open_dataset(DatasetConfig(source="tfds", name="cars196", path=str(tmp_path)))


def test_datasets_travel_to_other_processes(
    tiny_dataset: TfdsDataset, detection: Path, tmp_path: Path
) -> None:
    make_folder(tmp_path)
    folder = open_dataset(DatasetConfig(source="folder", path=str(tmp_path)))
    for dataset in (tiny_dataset, folder):
        copy = pickle.loads(pickle.dumps(dataset))
        assert copy.info == dataset.info
        assert all(same(a, b) for a, b in zip(read_all(copy), read_all(dataset), strict=True))


@settings(max_examples=50, deadline=None)
@given(width=st.integers(1, 3000), height=st.integers(1, 3000), data=st.data())
def test_relative_boxes_come_back(width: int, height: int, data: st.DataObject) -> None:
    x = sorted(data.draw(st.tuples(*[st.integers(0, width - 1)] * 2)))
    y = sorted(data.draw(st.tuples(*[st.integers(0, height - 1)] * 2)))
    relative = np.array([[y[0] / height, x[0] / width, (y[1] + 1) / height, (x[1] + 1) / width]], np.float32)
    assert absolute_boxes(relative, width, height).tolist() == [[x[0], y[0], x[1], y[1]]]


def make_folder(root: Path) -> None:
    """Three images in two classes, one without a box, boxes in a CSV."""
    for name in ("cat/a.jpg", "cat/b.png", "dog/c.jpg"):
        (root / name).parent.mkdir(exist_ok=True)
        form = "PNG" if name.endswith("png") else "JPEG"
        (root / name).write_bytes(encoded(60, 40, len(name), "RGB", form))
    (root / "annotations.csv").write_text(
        "file,label,xmin,ymin,xmax,ymax\ncat/a.jpg,cat,1,2,30,20\ncat/a.jpg,dog,0,0,59,39\nc.jpg,,5,5,9,9\n"
    )


EXPECTED = {"cat/a.jpg": [[1, 2, 30, 20]], "cat/b.png": [], "dog/c.jpg": [[5, 5, 9, 9]]}


def test_a_folder_with_csv(tmp_path: Path) -> None:
    make_folder(tmp_path)
    dataset = open_dataset(DatasetConfig(source="folder", path=str(tmp_path)))
    assert dataset.info.class_names == ("cat", "dog")
    records = read_all(dataset)
    assert {r.file_name: r.boxes.tolist() for r in records} == EXPECTED
    assert [r.label for r in records] == [0, 0, 1]
    assert records[0].image == (tmp_path / "cat/a.jpg").read_bytes()


def test_a_folder_with_coco(tmp_path: Path) -> None:
    make_folder(tmp_path)
    boxes = {1: [(7, [1, 2, 30, 19]), (9, [0, 0, 60, 40])], 2: [(9, [5, 5, 5, 5])]}
    coco = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "c.jpg"}],
        "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}],
        "annotations": [
            {"id": 10 * i + k, "image_id": i, "category_id": c, "bbox": b}
            for i, items in boxes.items()
            for k, (c, b) in enumerate(items)
        ],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(coco))
    config = DatasetConfig(source="folder", path=str(tmp_path), annotations=str(tmp_path / "boxes.json"))
    assert {r.file_name: r.boxes.tolist() for r in read_all(open_dataset(config))} == EXPECTED


def test_a_folder_with_voc_counts_from_one(tmp_path: Path) -> None:
    make_folder(tmp_path)
    (tmp_path / "xml").mkdir()
    sides = "".join(f"<{side}>{{}}</{side}>" for side in ("xmin", "ymin", "xmax", "ymax"))
    item = "<object><name>{}</name><bndbox>" + sides + "</bndbox></object>"
    for name, objects in {
        "a.jpg": item.format("cat", 2, 3, 31, 21) + item.format("dog", 1, 1, 60, 40),
        "c.jpg": item.format("dog", 6, 6, 10, 10),
    }.items():
        text = f"<annotation><filename>{name}</filename>{objects}</annotation>"
        (tmp_path / "xml" / f"{name[0]}.xml").write_text(text)
    config = DatasetConfig(source="folder", path=str(tmp_path), annotations=str(tmp_path / "xml"))
    assert {r.file_name: r.boxes.tolist() for r in read_all(open_dataset(config))} == EXPECTED


def test_a_flat_folder_takes_classes_from_the_annotations(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.jpg").write_bytes(jpeg(30, 30))
    (tmp_path / "annotations.csv").write_text(
        "file,label,xmin,ymin,xmax,ymax\na.jpg,dog,0,0,3,3\na.jpg,cat,0,0,9,9\nb.jpg,ant,,,,\ngone.jpg,cat,0,0,1,1\n"
    )
    dataset = open_dataset(DatasetConfig(source="folder", path=str(tmp_path)))
    a, b, gone = read_all(dataset)
    assert dataset.info.class_names == ("ant", "cat")
    assert (a.label, a.boxes.tolist()) == (1, [[0, 0, 9, 9]])
    assert (b.label, len(b.boxes)) == (0, 0)
    assert gone.image is None
    assert "no such file" in str(gone.error)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.csv", "file,xmin\n", "columns .* are missing"),
        ("a.csv", "file,xmin,ymin,xmax,ymax\ncat/a.jpg,1,2,x,4\n", "line 2: 'x' is not a number"),
        ("a.csv", "file,xmin,ymin,xmax,ymax\n../../etc/a.jpg,1,2,3,4\n", "outside the folder"),
        ("a.json", "{}", "not COCO's layout"),
        ("a.json", "{", "not valid JSON"),
        ("a.csv", f'file,xmin,ymin,xmax,ymax\n"{"a" * 200_000}",1,2,3,4\n', "not readable as CSV"),
        ("a.xml", "<annotation>", "not well-formed"),
        ("a.xml", '<?xml version="1.0" encoding="shift_jis"?><annotation/>', "not well-formed"),
        ("a.xml", '<?xml version="1.0" encoding="nothing"?><annotation/>', "not well-formed"),
        (
            "a.xml",
            '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;">]><annotation>&c;</annotation>',
            "refused",
        ),
    ],
)
def test_bad_annotations_say_what_is_wrong(tmp_path: Path, name: str, text: str, reason: str) -> None:
    make_folder(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=reason) as error:
        open_dataset(DatasetConfig(source="folder", path=str(tmp_path), annotations=str(tmp_path / name)))
    assert "\n" not in str(error.value)


def test_bad_folders_say_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is no folder"):
        open_dataset(DatasetConfig(source="folder", path=str(tmp_path / "none")))
    (tmp_path / "bare" / "cat").mkdir(parents=True)
    (tmp_path / "bare" / "cat" / "a.jpg").write_bytes(jpeg(8, 8))
    (tmp_path / "bare" / "cat" / "a.jpg").rename(tmp_path / "bare" / "a.jpg")
    with pytest.raises(InputError, match="no image has a class; put images in one sub-folder per class"):
        open_dataset(DatasetConfig(source="folder", path=str(tmp_path / "bare")))
    shutil.rmtree(tmp_path / "bare")
    make_folder(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        open_dataset(DatasetConfig(source="folder", path=str(tmp_path), annotations="nothing.csv"))
    boxes = str(tmp_path / "annotations.csv")
    config = DatasetConfig(source="folder", path=str(tmp_path / "empty"), annotations=boxes)
    with pytest.raises(InputError, match="holds no image"):
        open_dataset(config)


def test_every_source_is_tested_here() -> None:
    assert {source.name for source in list_sources()} == {"tfds", "folder", "planted"}  # test_planted.py


def test_listing_the_sources_loads_no_framework() -> None:
    code = (
        "import sys; from pipeline.inputs.datasets import list_sources, section_of; list_sources();"
        "section_of('voc/2007');"
        "sys.exit(len({'tensorflow', 'tensorflow_datasets', 'keras'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


STRIPES = """
import io
import numpy as np
from PIL import Image
from pipeline.inputs.datasets import DatasetInfo, Record, Source, register

class Stripes:
    info = DatasetInfo("stripes", "all", 6, ("across", "down"), ("across", "down"), "0" * 64)
    def __init__(self, config):
        self.config = config
    def read(self, shard):
        for i in range(shard.start, shard.stop):
            picture = np.zeros((20, 30, 3), np.uint8)
            picture[5:9] = 40 * i
            file = io.BytesIO()
            Image.fromarray(picture).save(file, "PNG")
            yield Record(f"s{i}", i, "", file.getvalue(), i % 2, np.array([[0, 5, 29, 8]], np.float32))

def section(text):
    return {"source": "stripes"} if text == "stripes" else None

register(Source("stripes", "what it is", Stripes, section))
"""


def test_one_more_source_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "stripes" not in [source.name for source in list_sources()]
    (tmp_path / "stripes.py").write_text(STRIPES)
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(tmp_path)])
    monkeypatch.setattr(datasets, "_REGISTRY", dict(datasets._REGISTRY))
    list_sources.cache_clear()
    try:
        assert ("stripes", "what it is") in [(s.name, s.about) for s in list_sources()]
        config = parse_config({"dataset": section_of("stripes")}, "here").dataset
        dataset = open_dataset(config)
        assert [record.label for record in read_all(dataset, 4)] == [0, 1, 0, 1, 0, 1]
        card = ModelCard(height=10, width=15, resize="stretch", classes=2)
        (shard,) = plan_shards("stripes", "all", 6, 6)
        (batch,) = iter_batches(dataset, shard, card, 6)
        assert batch.status == ("ok",) * 6
        assert batch.pictures[3].max() == 120
    finally:
        list_sources.cache_clear()
        sys.modules.pop("pipeline.inputs.datasets.sources.stripes", None)


def test_an_unknown_source_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(InputError, match="'stripes' is unknown; valid: folder, planted, tfds"):
        open_dataset(DatasetConfig(source="stripes"))
    settings = Settings(None)
    settings.set("dataset", source="stripes")
    settings.set("model", source="VGG16")
    with pytest.raises(InputError, match="'stripes' is unknown"):
        settings.config()


def test_two_sources_of_one_name_are_refused() -> None:
    list_sources()
    with pytest.raises(ValueError, match="'folder' is registered twice"):
        register(Source("folder", "another", lambda config: pytest.fail("opened")))
