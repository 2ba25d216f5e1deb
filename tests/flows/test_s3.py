"""A whole audit in an object store: a real S3 protocol server, real requests over the loopback."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows import cli
from pipeline import schema
from pipeline.errors import InputError
from pipeline.inputs.objects import store as stores
from pipeline.inputs.objects.store import ObjectStore, Patience
from pipeline.inputs.objects.traffic import TRAFFIC
from pipeline.inputs.shards import Shard
from pipeline.run.store import Store
from tests.object_stores import Faults, Request, environment, proxy, upload

RUN = "s3://audits/nightly/run"
POLICY = '[[check]]\nstatistic = "n_images"\nmin = 24\n[[check]]\nstatistic = "n_suspicious"\nmax = 30\n'


def test_an_audit_lives_in_a_bucket(s3: Any, prefect_api: str, options: list[str], tmp_path: Path):
    assert cli.run(["run", *options, "--out", RUN]) == cli.DONE
    store = Store(RUN)
    assert store.missing() == ()
    lost = f"audits/nightly/run/examples/part-{store.manifest['shards'][1]}.parquet"
    before = {name: s3.info(name)["ETag"] for name in s3.find("audits/nightly/run/scores")}
    expected = pq.read_table(io.BytesIO(s3.cat_file(lost))).to_pylist()
    s3.rm_file(lost)
    assert cli.run(["run", *options, "--out", RUN]) == cli.DONE  # does what is missing, and that alone
    assert [session["images"] for session in store.manifest["sessions"]] == [24, 8]
    again = pq.read_table(io.BytesIO(s3.cat_file(lost))).to_pylist()
    assert [row["example_id"] for row in again] == [row["example_id"] for row in expected]
    assert s3.find("audits/nightly/run/scores") == list(before)

    assert cli.run(["rank", RUN, "--draws", "100"]) == cli.DONE
    assert cli.run(["report", RUN]) == cli.DONE
    assert b"<h1>" in s3.cat_file("audits/nightly/run/report.html")
    policy = tmp_path / "gate.toml"
    policy.write_text(POLICY)
    assert cli.run(["gate", RUN, "--policy", str(policy)]) == cli.DONE
    policy.write_text(POLICY.replace("min = 24", "min = 25"))
    assert cli.run(["gate", RUN, "--policy", str(policy)]) == cli.BREACH
    assert cli.run(["confirm", RUN, "--top", "2", "--images", "6"]) == cli.DONE
    assert cli.run(["clusters", RUN, "--class", "rhombus"]) == cli.DONE
    assert {"clusters.json", "sanity.json"} <= set(store.files.names(""))
    assert store.files.names("interventions")

    assert cli.run(["verify", RUN]) == cli.DONE
    scores = lost.replace("examples", "scores")
    s3.pipe_file(scores, s3.cat_file(scores)[:-9])
    assert cli.run(["rank", RUN]) == cli.WRONG_INPUT
    assert cli.run(["verify", RUN, "--repair"]) == cli.BREACH
    assert store.missing() == (store.manifest["shards"][1],)


def test_without_credentials_is_one_line(s3: Any, monkeypatch, tmp_path: Path):
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(InputError, match="s3://audits/run"):
        Store("s3://audits/run").manifest  # noqa: B018 - for what it raises


def test_a_bucket_that_is_not_there_is_one_line(s3: Any, prefect_api: str, options: list[str], monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(cli, "_say", said.append)
    assert cli.run(["run", *options, "--out", "s3://no-such-bucket/run"]) == cli.WRONG_INPUT
    assert len(said) == 1
    assert said[0].startswith("s3://no-such-bucket/run")
    assert "\n" not in said[0]


@pytest.fixture(scope="module")
def pictures(tiny_planted, tmp_path_factory) -> Path:
    """The planted images as a folder per class with a CSV of their boxes."""
    root, info = tmp_path_factory.mktemp("objects") / "pictures", tiny_planted.info
    lines = ["file,xmin,ymin,xmax,ymax\n"]
    for record in tiny_planted.read(Shard(info.name, info.split, 0, info.n_examples, "all")):
        name = f"{info.class_names[record.label]}/{record.index}.png"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(record.image)
        lines += [f"{name},{','.join(str(int(side)) for side in box)}\n" for box in record.boxes]
    (root / "annotations.csv").write_text("".join(lines))
    return root


def tables(store: Store) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table of the audit."""
    return {name: store.read(name).to_pylist() for name in schema.TABLES}


def test_a_dataset_in_a_bucket_gives_the_local_tables(
    s3: Any,
    s3_address: str,
    prefect_api: str,
    options: list[str],
    pictures: Path,
    tmp_path: Path,
    monkeypatch,
):
    upload(s3, pictures, "audits/data/pictures")
    asked = ["run", *options, "--no-report", "--out"]
    assert cli.run([*asked, str(tmp_path / "here"), "--dataset", str(pictures)]) == cli.DONE
    here = Store(str(tmp_path / "here"))
    monkeypatch.setattr(stores, "_stores", {"s3": ObjectStore("s3", Patience(first=0.01, longest=0.02))})

    def once_and_once_more(request: Request) -> str | None:
        faults_of = {"1": "500", "2": "503 SlowDown", "3": "cut", "4": "cut"}
        return (
            faults_of.get(request.key[-5:-4]) if request.turn in (0, 2) and request.method == "GET" else None
        )

    faults = Faults(once_and_once_more)
    with proxy(s3_address, faults) as address:
        for name, value in environment(address).items():
            monkeypatch.setenv(name, value)
        said: list[str] = []
        monkeypatch.setattr("flows.run._say", said.append)
        TRAFFIC.tell()  # of other tests
        assert (
            cli.run([*asked, str(tmp_path / "there"), "--dataset", "s3://audits/data/pictures"]) == cli.DONE
        )
    there = Store(str(tmp_path / "there"))
    assert tables(there) == tables(here)
    assert len(faults.done) == 22  # by this process before the first image, and by the workers
    traffic = there.manifest["sessions"][0]["traffic"]
    assert (
        sum(traffic["repeated"].values()) == 22
    )  # by this process before the first image, and by the workers
    assert any(line.startswith("object store: ") and "22 were repeated" in line for line in said)
    assert there.manifest["dataset"]["fingerprint"] == here.manifest["dataset"]["fingerprint"]


def test_credentials_in_a_run_s_url_are_refused_and_not_shown():
    with pytest.raises(InputError, match=r"s3://\*\*\*@audits/run: holds credentials") as told:
        Store("s3://key:secret@audits/run")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("s3://no-such-bucket/photos", "s3://no-such-bucket/photos: there is no such bucket"),
        ("s3://audits/nothing", "--dataset s3://audits/nothing: no such folder"),
        ("s3://key:secret@audits/photos", "s3://***@audits/photos: holds credentials"),
    ],
)
def test_a_dataset_that_cannot_be_there_is_one_line(
    s3: Any, options: list[str], tmp_path: Path, monkeypatch, url: str, line: str
):
    said: list[str] = []
    monkeypatch.setattr(cli, "_say", said.append)
    out = tmp_path / "run"
    assert cli.run(["run", *options, "--out", str(out), "--dataset", url]) == cli.WRONG_INPUT
    assert len(said) == 1
    assert said[0].startswith(line)
    assert "\n" not in said[0]
    assert "secret" not in said[0]
    assert not out.exists()
