"""Datasets in an object store: a real S3 protocol server, real requests, and what networks do to them."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config_sections import DatasetConfig
from pipeline.errors import InputError
from pipeline.inputs.datasets import Dataset, Record, open_dataset, section_of
from pipeline.inputs.objects import store
from pipeline.inputs.objects.ahead import in_order
from pipeline.inputs.objects.faults import StoreFault, Unreadable
from pipeline.inputs.objects.places import ObjectPath
from pipeline.inputs.objects.range_file import RangeFile
from pipeline.inputs.objects.store import ObjectStore, Patience
from pipeline.inputs.objects.traffic import TRAFFIC
from tests.archives import jpeg
from tests.object_stores import Faults, Request, environment, proxy, upload
from tests.pipeline.inputs.test_datasets import read_all

PHOTOS = "s3://audits/photos"
CSV = "file,label,xmin,ymin,xmax,ymax,group\n"
QUICK = Patience(attempts=5, first=0.01, longest=0.02, seconds=2.0)


def rows(dataset: Dataset) -> list[tuple[Any, ...]]:
    """Everything that the records hold, comparable."""
    return [
        tuple(v.tolist() if isinstance(v, np.ndarray) else v for v in dataclasses.astuple(r))
        for r in read_all(dataset)
    ]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local folder of two classes with boxes, an image that is none, and one that only the CSV names."""
    folder = tmp_path_factory.mktemp("objects") / "photos"
    lines = []
    for i in range(10):
        name = f"{'cat' if i % 2 else 'dog'}/{i:02d}.jpg"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg(40 + i, 30, seed=i))
        if i % 3:
            lines.append(f"{name},{name[:3]},1,2,{10 + i},20,place {i % 4}\n")
    (folder / "cat/broken ä.jpg").write_bytes(b"no image")
    (folder / "cat/.hidden").mkdir()
    (folder / "cat/.hidden/x.jpg").write_bytes(b"")
    (folder / "annotations.csv").write_text(CSV + "".join(lines) + "cat/lost.jpg,cat,,,,,\n")
    return folder


@pytest.fixture(scope="module")
def uploaded(s3_address: str, photos: Path) -> str:
    """The same in the bucket; tests that change something there put it back."""
    s3fs = pytest.importorskip("s3fs")
    files = s3fs.S3FileSystem(endpoint_url=s3_address, key="key", secret="secret", skip_instance_cache=True)
    files.mkdirs("audits", exist_ok=True)
    upload(files, photos, "audits/photos")
    return PHOTOS


@pytest.fixture
def remote(s3: Any, uploaded: str) -> str:
    """Its URL, in the environment of that server."""
    return uploaded


@pytest.fixture
def faults(remote: str, s3_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """What happens to requests, of a client that does not wait long."""
    faults = Faults()
    monkeypatch.setattr(store, "_stores", {"s3": ObjectStore("s3", QUICK)})
    with proxy(s3_address, faults) as address:
        for name, value in environment(address).items():
            monkeypatch.setenv(name, value)
        store.store_of(remote).state(f"{remote}/annotations.csv")  # the first request loads the client
        faults.seen.clear()
        yield faults


def opened(path: str | Path, **settings: Any) -> Dataset:
    return open_dataset(DatasetConfig.model_validate({"source": "folder", "path": str(path)} | settings))


def test_a_folder_in_a_bucket_is_the_local_one(remote: str, photos: Path) -> None:
    here, there = opened(photos), opened(remote)
    assert rows(there) == rows(here)
    assert len(rows(there)) == 12
    assert there.info.fingerprint == here.info.fingerprint
    assert dataclasses.replace(there.info, versions="") == here.info
    assert len(there.info.versions) == 64
    assert section_of(remote) == {"source": "folder", "path": remote}


def test_requests_of_a_folder(faults: Faults, remote: str) -> None:
    dataset = opened(remote)
    before = TRAFFIC.amount
    read_all(dataset)
    taken = TRAFFIC.amount - before
    assert taken.requests == 11  # one per image, none for the one that is not there
    assert taken.repeated == {}


def test_what_passes_is_asked_for_again_and_counted(faults: Faults, remote: str, photos: Path) -> None:
    expected = rows(opened(photos))
    plan = {
        "/audits": "503 SlowDown",  # the list
        "annotations.csv": "cut",
        "dog/00.jpg": "500",
        "cat/01.jpg": "503",
        "dog/02.jpg": "429",
        "cat/03.jpg": "cut",
        "dog/04.jpg": "lost",
        "cat/05.jpg": "slow",
        "dog/06.jpg": "400 RequestTimeout",
    }

    def first_time(request: Request) -> str | None:
        times = (
            2 if request.key.endswith("04.jpg") else 1
        )  # aiohttp itself asks again on a connection that was kept
        hit = next((fault for end, fault in plan.items() if request.key.endswith(end)), None)
        return hit if request.method == "GET" and request.turn < times else None

    faults.plan = first_time
    before = TRAFFIC.amount
    assert rows(opened(remote)) == expected
    repeated = dict((TRAFFIC.amount - before).repeated)
    assert repeated.pop("time-out") >= 1  # of a machine that is busy there may be more
    assert repeated == {
        "HTTP 500": 1,
        "HTTP 503": 2,
        "HTTP 429": 1,
        "RequestTimeout": 1,
        "connection lost": 3,
    }


def test_a_store_that_stays_away_ends_the_work_and_loses_no_image(faults: Faults, remote: str) -> None:
    dataset = opened(remote)
    faults.plan = lambda request: "503" if request.key.endswith("05.jpg") else None
    with pytest.raises(
        StoreFault, match=r"cat/05.jpg: no answer of the store in 5 attempts.*\(HTTP 503\)"
    ) as told:
        read_all(dataset)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("404 NoSuchKey", "No such file or directory"),
        ("403 AccessDenied", r"Permission denied \(AccessDenied\)"),
        ("412 PreconditionFailed", "it changed since it was listed"),
    ],
)
def test_an_object_that_cannot_be_read_costs_its_row(
    faults: Faults, remote: str, photos: Path, fault: str, why: str
) -> None:
    expected = rows(opened(photos))
    faults.plan = lambda request: fault if request.key.endswith("05.jpg") else None
    read = rows(opened(remote))
    place = next(i for i, row in enumerate(read) if row != expected[i])
    assert read[:place] + read[place + 1 :] == expected[:place] + expected[place + 1 :]
    named = dict(zip((f.name for f in dataclasses.fields(Record)), read[place], strict=True))
    assert (named["example_id"], named["image"]) == ("cat/05.jpg", None)
    assert re.search(f"cannot read the file: {why}", named["error"])
    assert len(faults.done) == 1  # never asked for again


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("403 InvalidAccessKeyId", r"does not take the credentials \(InvalidAccessKeyId\)"),
        ("403 SignatureDoesNotMatch", r"does not take the credentials \(SignatureDoesNotMatch\)"),
        ("400 ExpiredToken", r"does not take the credentials \(ExpiredToken\)"),
        ("404 NoSuchBucket", "no such bucket"),
    ],
)
def test_credentials_and_buckets_are_one_line_before_any_work(
    faults: Faults, remote: str, fault: str, line: str
) -> None:
    faults.plan = lambda request: fault
    with pytest.raises(StoreFault, match=line) as told:
        opened(remote)
    assert len(faults.done) == 1
    assert "\n" not in str(told.value)


def test_a_token_that_expires_on_the_way_ends_the_work(faults: Faults, remote: str) -> None:
    dataset = opened(remote)
    faults.plan = lambda request: "403 ExpiredToken"
    with pytest.raises(StoreFault, match="credentials"):
        read_all(dataset)


def test_no_credentials_no_bucket_no_server(s3: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="s3://no-such-bucket/photos: there is no such bucket"):
        opened("s3://no-such-bucket/photos")
    monkeypatch.setattr(store, "_stores", {"s3": ObjectStore("s3", QUICK)})
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"no answer of the store in 5 attempts.*\(connection lost\)"):
        opened(PHOTOS)
    monkeypatch.setattr(store, "_stores", {})
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(InputError, match="does not take the credentials"):
        opened(PHOTOS)


def test_an_object_that_is_replaced_is_noticed(s3: Any, remote: str) -> None:
    dataset = opened(remote)
    before = s3.cat_file("audits/photos/cat/07.jpg")
    s3.pipe_file("audits/photos/cat/07.jpg", before[:-2] + b"!!")  # of the same size
    try:
        errors = [record.error for record in read_all(dataset) if record.error]
        again = opened(remote)
    finally:
        s3.pipe_file("audits/photos/cat/07.jpg", before)
    assert "cat/07.jpg: cannot read the file: it changed since it was listed" in errors
    assert again.info.fingerprint == dataset.info.fingerprint  # names and sizes are the same
    assert again.info.versions != dataset.info.versions


def test_any_other_store_of_fsspec(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    monkeypatch.setattr(store, "_stores", {})
    memory = fsspec.filesystem("memory")
    upload(memory, photos, "/objects/photos")
    dataset = opened("memory://objects/photos")
    assert rows(dataset) == rows(opened(photos))
    memory.pipe_file("/objects/photos/cat/01.jpg", b"longer than it was" * 9999)
    memory.pipe_file("/objects/photos/dog/02.jpg", b"shorter")
    memory.rm_file("/objects/photos/cat/03.jpg")
    monkeypatch.setattr(store, "_stores", {"memory": ObjectStore("memory", QUICK)})
    ends = {record.example_id: record.error for record in read_all(dataset) if record.error}
    assert "it changed" in ends["cat/01.jpg"]
    assert "it is cut off: 7 bytes instead of" in ends["dog/02.jpg"]
    assert "No such file" in ends["cat/03.jpg"]


def test_names_in_a_list_are_not_trusted(s3: Any, remote: str) -> None:
    client = s3.s3  # the file system would mend the name
    import fsspec.asyn

    fsspec.asyn.sync(
        s3.loop, client.put_object, Bucket="audits", Key="photos/cat/../../../etc/x.jpg", Body=b"x"
    )
    try:
        with pytest.raises(InputError, match=r"'cat/\.\./\.\./\.\./etc/x\.jpg' has a name that leads out"):
            opened(remote)
    finally:
        fsspec.asyn.sync(s3.loop, client.delete_object, Bucket="audits", Key="photos/cat/../../../etc/x.jpg")


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA:sec/ret@audits/photos",
        "s3://token@audits/photos",
        "https://host/photos?X-Amz-Signature=secret",
        "simplecache::s3://AKIA:secret@audits/photos",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_shown(url: str) -> None:
    from pipeline.config import ConfigError, parse_config
    from pipeline.run.files import open_files

    for read in (
        lambda: section_of(url),
        lambda: open_files(url),
        lambda: parse_config({"dataset": {"source": "folder", "path": url}}),
        lambda: parse_config({"dataset": {"annotations": url}}),
        lambda: parse_config({"model": {"source": url}}),
        lambda: parse_config({"reference": {"source": url}}),
        lambda: parse_config({"report": {"baseline": url}}),
    ):
        with pytest.raises(InputError, match="holds credentials") as told:
            read()
        assert not {"sec", "ret@", "AKIA", "token@", "Signature"} & set(str(told.value).split("'")), (
            told.value
        )
        assert all(
            secret not in str(told.value) for secret in ("AKIA", "sec/ret", "token", "X-Amz", "secret")
        )
    assert issubclass(ConfigError, InputError)


@pytest.mark.parametrize(
    "url", ["s3://", "simplecache::s3://audits/x", "s3://audits/a/../b", "nothing://a/b"]
)
def test_urls_that_name_no_folder(url: str) -> None:
    with pytest.raises(InputError, match=r"names no bucket|chain of places|climbs out|cannot be opened"):
        section_of(url)


def test_a_file_url_is_a_folder_of_this_machine(tmp_path: Path) -> None:
    for source, file in (("tfds", "dataset_info.json"), ("folder", "a.png")):
        (tmp_path / source).mkdir()
        (tmp_path / source / file).touch()
        path = str(tmp_path / source)
        assert section_of(f"file://{path}") == {"source": source, "path": path}


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def absent(protocol: str) -> None:
        raise ImportError("Install gcsfs")

    monkeypatch.setattr(store, "_stores", {})
    monkeypatch.setattr(fsspec, "get_filesystem_class", absent)
    with pytest.raises(
        InputError, match=r"package for gs:// is not installed; pip install 'hansaudit\[gcs\]'"
    ):
        section_of("gs://bucket/photos")


# -- reading from any position, in order


moves = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(-1, 70)),
        st.tuples(st.just("set"), st.integers(0, 120)),
        st.tuples(st.just("cur"), st.integers(-20, 20)),
        st.tuples(st.just("end"), st.integers(-120, 10)),
    ),
    max_size=25,
)


@given(size=st.integers(0, 100), block=st.integers(1, 40), ahead=st.integers(0, 3), moves=moves)
def test_a_range_file_is_the_local_file(
    size: int, block: int, ahead: int, moves: list[tuple[str, int]]
) -> None:
    content = bytes(range(size))
    local = io.BytesIO(content)
    with RangeFile(lambda span: content[span.start : span.stop], size, block, ahead) as file:
        for what, number in moves:
            if what == "read":
                assert file.read(number) == local.read(number)
            else:
                whence = {"set": 0, "cur": 1, "end": 2}[what]
                base = (0, local.tell(), size)[whence]
                if base + number >= 0:
                    assert file.seek(number, whence) == local.seek(base + number)
            assert file.tell() == local.tell()
            assert len(file._coming) <= ahead  # bounded, wherever it was before


def test_blocks_that_nobody_came_for_are_forgotten() -> None:
    with RangeFile(lambda span: bytes(len(span)), 1000, 10, 3) as file:
        for place in (0, 500, 200, 700):
            file.seek(place)
            file.read(20)  # two blocks in a row: three more are on their way
            assert len(file._coming) == 3


def test_a_file_that_is_read_through_is_asked_for_once() -> None:
    asked: list[range] = []

    def fetch(span: range) -> bytes:
        asked.append(span)
        return bytes(len(span))

    with RangeFile(fetch, 1000, 64, 3) as file:
        while file.read(10):
            pass
    assert sorted(span.start for span in asked) == list(range(0, 1000, 64))
    assert sum(map(len, asked)) == 1000


@given(
    costs=st.lists(st.integers(0, 50), max_size=30),
    readers=st.integers(1, 5),
    budget=st.integers(1, 120),
)
def test_reads_side_by_side_keep_order_and_budget(costs: list[int], readers: int, budget: int) -> None:
    import threading

    lock, held, most = threading.Lock(), [0], [0]

    def call(item: tuple[int, int]) -> tuple[int, int]:
        with lock:
            held[0] += item[1]
            most[0] = max(most[0], held[0])
        return item

    items = list(enumerate(costs))
    taken = []
    for item in in_order(call, items, lambda item: item[1], readers, budget):
        with lock:
            held[0] -= item[1]
        taken.append(item)
    assert taken == items
    # what is taken leaves the window before the next is begun
    assert most[0] <= max([budget, *costs]) + max([0, *costs])


def test_what_a_read_raises_comes_in_its_place() -> None:
    def call(item: int) -> int:
        if item == 3:
            raise Unreadable("memory://x", "gone")
        return item

    stream = in_order(call, range(10), readers=4)
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(Unreadable, match="gone"):
        next(stream)


def test_a_client_crosses_no_fork_and_a_path_crosses_to_a_process(remote: str) -> None:
    import pickle

    first = ObjectPath(f"{remote}/cat/01.jpg")
    data = first.read_bytes()
    other = pickle.loads(pickle.dumps(first))
    assert other.read_bytes() == data
    opened_here = first.store._opened
    assert opened_here is not None
    first.store._opened = (opened_here[0] + 1, opened_here[1])  # as a fork would find it
    assert first.read_bytes() == data
    assert first.store._opened[1] is not opened_here[1]


def test_a_picture_to_explain_lies_there(remote: str, photos: Path) -> None:
    from pipeline.inputs.geometry import read_image

    assert np.array_equal(
        np.asarray(read_image(f"{remote}/cat/01.jpg")), np.asarray(read_image(photos / "cat/01.jpg"))
    )
    with pytest.raises(InputError, match=r"^s3://audits/photos/none.jpg: No such file or directory$"):
        read_image(f"{remote}/none.jpg")


def test_what_was_replaced_is_no_longer_the_run_s() -> None:
    from pipeline.run.provenance import replaced

    manifest = {"dataset": {"versions": "a"}, "config": {"dataset": {"path": PHOTOS}}}
    assert replaced(manifest, PHOTOS, "b")
    assert replaced(manifest, f"{PHOTOS}/", "b")
    assert not replaced(manifest, PHOTOS, "a")
    assert not replaced(manifest, "s3://copy/photos", "b")  # a copy has versions of its own
    assert not replaced(manifest, PHOTOS, "")
    assert not replaced({"dataset": {}, "config": {"dataset": {"path": PHOTOS}}}, PHOTOS, "b")


def test_what_a_worker_asked_for_is_counted_here(remote: str) -> None:
    import cloudpickle

    from flows.worker import counted, packed, run_call

    def reads(key: str, url: str) -> int:
        return len(ObjectPath(url).read_bytes())

    answer = run_call(packed(counted, {"function": reads, "given": {"url": f"{remote}/cat/01.jpg"}}), "k")
    assert answer.traffic.requests == 2  # its state, its bytes
    assert answer.traffic.bytes == answer.result
    before = TRAFFIC.amount
    TRAFFIC.add(cloudpickle.loads(cloudpickle.dumps(answer)).traffic)
    assert TRAFFIC.amount - before == answer.traffic
    assert answer.traffic.line.startswith("object store: 2 requests, ")
