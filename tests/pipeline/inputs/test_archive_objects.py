"""Archives in an object store: read by ranges, never copied whole, prepared as those of a disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config_sections import DatasetConfig
from pipeline.errors import InputError
from pipeline.inputs.datasets import open_dataset
from pipeline.inputs.datasets.archives import read_members
from pipeline.inputs.datasets.ilsvrc2012 import prepare_ilsvrc2012
from pipeline.inputs.datasets.tiny_imagenet import prepare_tiny_imagenet
from pipeline.inputs.datasets.zip_archives import open_zip
from pipeline.inputs.objects import store
from pipeline.inputs.objects.places import ObjectPath
from pipeline.inputs.objects.store import ObjectStore, Patience
from tests.archives import tiny_imagenet, write_archives, write_zip
from tests.object_stores import Faults, Request, environment, proxy
from tests.pipeline.inputs.test_datasets import read_all

BLOCK = 1 << 12


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that are small beside these archives."""
    monkeypatch.setattr(ObjectPath, "open_bytes", partialmethod(ObjectPath.open_bytes, BLOCK, 3))


def contents(folder: Path) -> list[tuple[Any, ...]]:
    dataset = open_dataset(DatasetConfig(source="tfds", path=str(folder)))
    return [
        tuple(v.tolist() if isinstance(v, np.ndarray) else v for v in dataclasses.astuple(record))
        for record in read_all(dataset)
    ]


@pytest.fixture
def faults(s3: Any, s3_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """What happens to requests, of a client that does not wait long."""
    faults = Faults()
    monkeypatch.setattr(store, "_stores", {"s3": ObjectStore("s3", Patience(first=0.01, longest=0.02))})
    with proxy(s3_address, faults) as address:
        for name, value in environment(address).items():
            monkeypatch.setenv(name, value)
        yield faults


def put(s3: Any, path: Path) -> str:
    """The file in the bucket."""
    s3.pipe_file(f"audits/archives/{path.name}", path.read_bytes())
    return f"s3://audits/archives/{path.name}"


def every_other(request: Request) -> str | None:
    """Every second stretch of an archive meets a fault the first time."""
    first = int(request.span.removeprefix("bytes=").partition("-")[0] or 0) // BLOCK
    kinds = ["cut", "500", "503 SlowDown"]
    return kinds[first // 2 % 3] if request.method == "GET" and not request.turn and first % 2 else None


@pytest.mark.usefixtures("blocks")
def test_the_tar_of_ilsvrc_in_a_bucket_is_prepared_as_that_of_a_disk(
    s3: Any, faults: Faults, tmp_path: Path, tiny_prepared: Path
) -> None:
    archives = write_archives(tmp_path, 12)
    images, boxes = put(s3, archives.images), put(s3, archives.boxes)
    faults.plan = every_other
    report = prepare_ilsvrc2012(images, boxes, tmp_path / "there")
    assert (report.images, len(report.classes)) == (12, 3)
    assert contents(tmp_path / "there") == contents(tiny_prepared)
    assert len(faults.done) >= 3
    size = archives.images.stat().st_size
    read = [r for r in faults.seen if r.key.endswith(".tar") and r.method == "GET"]
    assert len({r.span for r in read}) == -(
        -size // BLOCK
    )  # each stretch of it, and once, where nothing went wrong
    assert sum(r.turn > 0 for r in read) == sum(every_other(r) is not None for r in read)


@pytest.mark.usefixtures("blocks")
def test_a_zip_in_a_bucket_is_prepared_as_that_of_a_disk(s3: Any, faults: Faults, tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "tiny.zip", tiny_imagenet())
    faults.plan = every_other
    for split in ("val", "train"):
        here = prepare_tiny_imagenet(archive, tmp_path / f"{split}-here", split)
        there = prepare_tiny_imagenet(put(s3, archive), tmp_path / f"{split}-there", split)
        assert dataclasses.replace(there, path=here.path) == here
        assert contents(tmp_path / f"{split}-there") == contents(tmp_path / f"{split}-here")
    assert faults.done


@pytest.mark.usefixtures("blocks")
def test_one_member_of_a_zip_does_not_cost_the_whole(s3: Any, faults: Faults, tmp_path: Path) -> None:
    members = {f"{i}.bin": np.random.default_rng(i).bytes(50_000) for i in range(20)}  # not to be packed
    url = put(s3, write_zip(tmp_path / "big.zip", members))
    with open_zip(url, 1 << 30) as archive:
        assert archive.read("7.bin", 1 << 20) == members["7.bin"]
    size = (tmp_path / "big.zip").stat().st_size
    asked = sum(request.method == "GET" for request in faults.seen) * BLOCK
    assert size > 1_000_000 > 100_000 > asked


@pytest.mark.usefixtures("blocks")
def test_an_archive_that_is_replaced_while_it_is_read_is_one_line(s3: Any, tmp_path: Path) -> None:
    archives = write_archives(tmp_path, 12)
    url = put(s3, archives.images)
    members = read_members(url, 1 << 20, 1 << 30)
    next(members)
    s3.pipe_file("audits/archives/" + archives.images.name, archives.images.read_bytes()[::-1])
    with pytest.raises(InputError, match=r"ILSVRC2012_img_val.tar: it changed since it was listed"):
        list(members)


@pytest.mark.usefixtures("blocks")
def test_a_zip_that_is_replaced_while_it_is_read_is_the_same_line(s3: Any, tmp_path: Path) -> None:
    url = put(
        s3, write_zip(tmp_path / "tiny.zip", {"a.bin": np.random.default_rng(0).bytes(50_000), "b": b""})
    )
    with open_zip(url, 1 << 30) as archive:
        s3.pipe_file("audits/archives/tiny.zip", b"another")
        with pytest.raises(
            InputError, match=r"^s3://audits/archives/tiny\.zip: it changed since it was listed$"
        ):
            archive.read("a.bin", 1 << 20)


def test_a_cut_archive_and_none_at_all(s3: Any, tmp_path: Path) -> None:
    archives = write_archives(tmp_path, 12)
    archives.images.write_bytes(archives.images.read_bytes()[:9000])
    with pytest.raises(InputError) as here:
        list(read_members(archives.images, 1 << 20, 1 << 30))
    url = put(s3, archives.images)
    with pytest.raises(InputError) as there:
        list(read_members(url, 1 << 20, 1 << 30))
    assert str(there.value) == str(here.value).replace(str(archives.images), url)
    with pytest.raises(InputError, match=r"s3://audits/archives/none\.tar: No such file"):
        list(read_members("s3://audits/archives/none.tar", 1 << 20, 1 << 30))
    with pytest.raises(InputError, match=r"s3://audits/archives/none\.zip: No such file"):
        prepare_tiny_imagenet("s3://audits/archives/none.zip", tmp_path / "out")


def test_a_dataset_is_not_written_to_a_store(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "tiny.zip", tiny_imagenet())
    with pytest.raises(InputError, match=r"s3://audits/out: a prepared dataset is written on this machine"):
        prepare_tiny_imagenet(archive, "s3://audits/out")
