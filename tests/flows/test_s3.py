"""A whole audit in an object store: a real S3 protocol server, real requests over the loopback."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows import cli
from pipeline.errors import InputError
from pipeline.run.store import Store

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
