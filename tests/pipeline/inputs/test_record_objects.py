"""Prepared datasets in an object store: TFRecord files, whole, damaged and replaced, are those of a disk."""

from __future__ import annotations

import dataclasses
import json
import struct
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config_sections import DatasetConfig
from pipeline.errors import InputError
from pipeline.inputs.datasets import Dataset, open_dataset, section_of
from pipeline.inputs.datasets.record_objects import INDEX, ObjectRecords
from pipeline.inputs.datasets.recordfiles import read_tfrecords, record_offsets
from pipeline.inputs.objects import store
from pipeline.inputs.objects.places import ObjectPath
from pipeline.inputs.objects.store import ObjectStore, Patience
from pipeline.inputs.objects.traffic import TRAFFIC
from pipeline.inputs.picked import Picked
from pipeline.inputs.shards import Shard
from tests.object_stores import Faults, environment, proxy, upload

PREPARED = "s3://audits/prepared"
MEMORY = "memory://records"


def opened(path: str | Path, **settings: Any) -> Dataset:
    return open_dataset(DatasetConfig.model_validate({"source": "tfds", "path": str(path)} | settings))


def rows(dataset: Dataset, size: int = 5) -> list[tuple[Any, ...]]:
    """Everything that the records hold, read in shards of ``size``."""
    info = dataset.info
    shards = [
        Shard(info.name, info.split, start, min(start + size, info.n_examples), "")
        for start in range(0, info.n_examples, size)
    ]
    return [
        tuple(v.tolist() if isinstance(v, np.ndarray) else v for v in dataclasses.astuple(record))
        for shard in shards
        for record in dataset.read(shard)
    ]


def reopened_memory(folder: Path) -> ObjectRecords:
    """The files of ``folder`` in fsspec's memory."""
    memory = fsspec.filesystem("memory")
    if memory.exists("/records"):
        memory.rm("/records", recursive=True)
    upload(memory, folder, "/records")
    place = ObjectPath(MEMORY)
    return ObjectRecords(place, dict(place.below()))


@pytest.mark.parametrize("index", [True, False])
def test_a_prepared_dataset_in_a_bucket_is_the_local_one(s3: Any, tiny_prepared: Path, index: bool) -> None:
    upload(s3, tiny_prepared, "audits/prepared")
    if not index:
        s3.rm_file(f"audits/prepared/{INDEX}")
    here, there = opened(tiny_prepared), opened(PREPARED)
    assert section_of(PREPARED) == {"source": "tfds", "path": PREPARED}
    assert rows(there) == rows(here)
    assert len(rows(there)) == 12
    assert dataclasses.replace(there.info, versions="") == here.info
    spread = {"limit": 4, "choice": "spread"}
    assert rows(opened(PREPARED, **spread)) == rows(opened(tiny_prepared, **spread))
    some = Shard("", "", 0, 9, "")
    chosen = (0, 1, 2, 3, 4, 5, 8, 9, 11)
    picked = [
        [r.example_id for r in Picked(dataset, chosen).read(some)] for dataset in (opened(PREPARED), here)
    ]
    assert picked[0] == picked[1] == [rows(here)[i][0] for i in chosen]


def test_boxes_from_a_csv_in_the_bucket(s3: Any, tiny_prepared: Path, tmp_path: Path) -> None:
    upload(s3, tiny_prepared, "audits/prepared")
    name = rows(opened(tiny_prepared))[3][2]
    (tmp_path / "boxes.csv").write_text(f"file,xmin,ymin,xmax,ymax\n{name},1,2,3,4\n")
    s3.pipe_file("audits/boxes.csv", (tmp_path / "boxes.csv").read_bytes())
    here = opened(tiny_prepared, annotations=str(tmp_path / "boxes.csv"))
    there = opened(PREPARED, annotations="s3://audits/boxes.csv")
    assert rows(there) == rows(here)
    assert there.info.fingerprint == here.info.fingerprint


def test_faults_on_the_way_and_what_is_asked_for(
    s3: Any, s3_address: str, tiny_prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(s3, tiny_prepared, "audits/prepared")
    expected, kinds = rows(opened(tiny_prepared)), iter(["500", "cut", "503", "429", "cut"] * 9)
    faults = Faults(lambda r: next(kinds) if r.turn == 0 and r.method == "GET" else None)
    patience = Patience(first=0.01, longest=0.02)
    monkeypatch.setattr(store, "_stores", {"s3": ObjectStore("s3", patience)})
    with proxy(s3_address, faults) as address:
        for name, value in environment(address).items():
            monkeypatch.setenv(name, value)
        before = TRAFFIC.amount
        dataset = opened(PREPARED)
        assert rows(dataset) == expected
        assert sum((TRAFFIC.amount - before).repeated.values()) == len(faults.done) > 5
        faults.plan = lambda request: None
        (file,) = [path.name for path in tiny_prepared.glob("*.tfrecord*")]
        faults.seen.clear()
        list(dataset.read(Shard("", "", 4, 6, "")))
        begins = record_offsets(tiny_prepared / file)
        spans = [request.span for request in faults.seen]
        assert spans == [
            f"bytes={begins[4]}-{begins[6] - 1}"
        ]  # the shard alone: the index says where it lies
        s3.pipe_file(f"audits/prepared/{file}", (tiny_prepared / file).read_bytes()[:-1] + b"x")
        errors = {record.error for record in dataset.read(Shard("", "", 0, 3, ""))}
        assert errors == {f"{file}: it changed since it was listed"}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of nine records, some of them empty, without an index."""
    import tensorflow as tf

    path = tmp_path_factory.mktemp("records") / "a.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for size in (30, 0, 7, 100, 1, 0, 64, 12, 50):
            writer.write(bytes(range(size)))
    return path


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests and checks of so few bytes that records lie across them."""
    from pipeline.inputs.datasets import record_objects

    monkeypatch.setattr(record_objects, "_BLOCK", 48)
    monkeypatch.setattr(record_objects, "_AHEAD", 2)
    monkeypatch.setattr(record_objects, "_CHECKED", 70)


@given(data=st.data())
@settings(max_examples=60)
def test_damage_costs_the_same_rows_as_on_a_disk(
    records: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    from pipeline.inputs.datasets import record_objects

    content = bytearray(records.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=2), "flipped"):
        content[place] ^= data.draw(st.integers(1, 255), "by")
    content = content[: data.draw(st.integers(0, len(content)), "cut") or len(content)]
    start, stop = sorted(data.draw(st.tuples(st.integers(0, 11), st.integers(0, 11)), "shard"))
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "a.tfrecord").write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_stores", {})
        patch.setattr(record_objects, "_BLOCK", data.draw(st.sampled_from([48, 1 << 20]), "block"))
        patch.setattr(record_objects, "_CHECKED", data.draw(st.sampled_from([1, 70, 1 << 20]), "checked"))
        remote = reopened_memory(folder)
        expected = list(read_tfrecords(folder / "a.tfrecord", start, stop))
        assert list(remote.read("/x/a.tfrecord", start, stop)) == expected
        # a second shard by what is known by then of where records begin
        assert list(remote.read("/x/a.tfrecord", 2, 9)) == list(read_tfrecords(folder / "a.tfrecord", 2, 9))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("index", "line"),
    [
        ({"a.tfrecord": [0, 46, 63]}, "says of a.tfrecord that record 2 begins at 63, the file says 62"),
        ({"a.tfrecord": [0, 46, 40]}, "is no list of where"),
        ({"a.tfrecord": [0, 46, 10**9]}, "is no list of where"),
        ({"b.tfrecord": [0]}, "is no list of where"),
        ({"a.tfrecord": [0, "46"]}, "is no list of where"),
        ([1], "is no list of where"),
    ],
)
def test_an_index_is_not_trusted(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: Any, line: str
) -> None:
    monkeypatch.setattr(store, "_stores", {})
    assert record_offsets(records)[:3] == (0, 46, 62)
    (tmp_path / "a.tfrecord").write_bytes(records.read_bytes())
    (tmp_path / INDEX).write_text(json.dumps(index))
    with pytest.raises(InputError, match=line):
        list(reopened_memory(tmp_path).read("a.tfrecord", 0, 5))


def test_an_index_that_says_more_records_than_there_are(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_stores", {})
    content = bytearray(records.read_bytes())
    begins = list(record_offsets(records))
    content[begins[8] : begins[8] + 8] = struct.pack(
        "<Q", 10**6
    )  # the last record's length leads out of the file
    (tmp_path / "a.tfrecord").write_bytes(content)
    (tmp_path / INDEX).write_text(json.dumps({"a.tfrecord": begins}))
    with pytest.raises(InputError, match=r"record 8 begins at .*, the file ends before it does"):
        list(reopened_memory(tmp_path).read("a.tfrecord", 5, 9))


def test_what_is_no_dataset_there(s3: Any, tiny_prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"s3://audits/empty: no dataset there \(no dataset_info.json\)"):
        opened("s3://audits/empty")
    with pytest.raises(InputError, match="found on this machine only"):
        open_dataset(DatasetConfig(source="tfds", name="mnist", path="s3://audits/data"))
    upload(s3, tiny_prepared, "audits/hostile")
    features = json.loads((tiny_prepared / "features.json").read_text())
    features["pythonClassName"] = "os.path.Evil"
    s3.pipe_file("audits/hostile/features.json", json.dumps(features).encode())
    with pytest.raises(
        InputError, match=r"s3://audits/hostile/features.json: names the class 'os.path.Evil'"
    ):
        opened("s3://audits/hostile")
