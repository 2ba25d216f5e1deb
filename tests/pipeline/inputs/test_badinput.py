"""Damaged files on disk: each costs its rows and says why; what is whole is still read."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest

from pipeline import schema
from pipeline.config_sections import DatasetConfig
from pipeline.errors import InputError
from pipeline.inputs.datasets import Record, open_dataset
from pipeline.inputs.datasets.recordfiles import read_tfrecords, record_offsets
from tests.pipeline.inputs.test_batches import IMAGENET, batches_of
from tests.pipeline.inputs.test_datasets import read_all


@pytest.fixture
def copy(tiny_prepared: Path, tmp_path: Path) -> Path:
    """A dataset to damage."""
    return Path(shutil.copytree(tiny_prepared, tmp_path / "copy"))


def shard_file(folder: Path) -> Path:
    (path,) = folder.glob("*.tfrecord-*")
    return path


def read(folder: Path) -> list[Record]:
    return read_all(open_dataset(DatasetConfig(source="tfds", path=str(folder))))


def test_records_are_found_by_hopping(tiny_prepared: Path) -> None:
    import tensorflow as tf

    path = shard_file(tiny_prepared)
    expected = [r.numpy() for r in tf.data.TFRecordDataset(str(path))]
    assert list(read_tfrecords(path, 0, 12)) == expected
    assert list(read_tfrecords(path, 3, 7)) == expected[3:7]
    assert len(record_offsets(path)) == 12


def test_a_truncated_shard_loses_only_its_tail(copy: Path, tiny_prepared: Path) -> None:
    path = shard_file(copy)
    offsets = record_offsets(path)
    with path.open("r+b") as file:
        file.truncate(offsets[8] + 50)
    records, whole = read(copy), read(tiny_prepared)
    assert [r.error is None for r in records] == [True] * 8 + [False] * 4
    assert [r.image for r in records[:8]] == [r.image for r in whole[:8]]
    assert all("the file ends or is damaged after 8 records" in str(r.error) for r in records[8:])
    dataset = open_dataset(DatasetConfig(source="tfds", path=str(copy)))
    status = [s for batch in batches_of(dataset, IMAGENET, 5) for s in batch.status if s]
    assert status.count(schema.STATUS_FAILED) == 4
    assert len(status) == 12


def test_a_flipped_byte_costs_one_row(copy: Path) -> None:
    path = shard_file(copy)
    offsets = record_offsets(path)
    data = bytearray(path.read_bytes())
    data[offsets[4] + 300] ^= 0xFF
    path.write_bytes(bytes(data))
    assert [i for i, r in enumerate(read(copy)) if r.error] == [4]
    assert "record 4 is damaged (DataLossError)" in str(read(copy)[4].error)


def test_a_damaged_length_costs_the_rest(copy: Path) -> None:
    path = shard_file(copy)
    offsets = record_offsets(path)
    data = bytearray(path.read_bytes())
    data[offsets[5] : offsets[5] + 8] = struct.pack("<Q", 1 << 60)
    path.write_bytes(bytes(data))
    assert [i for i, r in enumerate(read(copy)) if r.error] == [5, 6, 7, 8, 9, 10, 11]


def test_a_missing_shard_costs_its_rows(copy: Path) -> None:
    shard_file(copy).unlink()
    records = read(copy)
    assert len(records) == 12
    assert all(r.image is None and "No such file" in str(r.error) for r in records)
    assert len({r.example_id for r in records}) == 12


def test_a_record_that_is_no_example_costs_one_row(copy: Path) -> None:
    import tensorflow as tf

    path = shard_file(copy)
    stored = [r.numpy() for r in tf.data.TFRecordDataset(str(path))]
    stored[2] = b"\xff\xfe no protocol buffer"
    stored[3] = tf.train.Example().SerializeToString()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for item in stored:
            writer.write(item)
    records = read(copy)
    assert [i for i, r in enumerate(records) if r.error] == [2, 3]
    assert all("does not hold an example" in str(records[i].error) for i in (2, 3))


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_a_damaged_description_is_one_clear_error(copy: Path, name: str) -> None:
    (copy / name).write_text("{")
    with pytest.raises(InputError) as error:
        read(copy)
    assert "\n" not in str(error.value)


def test_the_fingerprint_notices_a_change(copy: Path, tiny_prepared: Path) -> None:
    def fingerprint(folder: Path) -> str:
        return open_dataset(DatasetConfig(source="tfds", path=str(folder))).info.fingerprint

    assert fingerprint(copy) == fingerprint(tiny_prepared)
    with shard_file(copy).open("ab") as file:
        file.write(b"more")
    assert fingerprint(copy) != fingerprint(tiny_prepared)
