"""The store: whole parts or none, resuming, refusing, streaming, and what happens when it goes wrong."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline import schema
from pipeline.config import parse_config
from pipeline.errors import InputError
from pipeline.run import files
from pipeline.run.folder import SCHEMA_VERSION
from pipeline.run.provenance import Provenance
from pipeline.run.store import Session, Store
from pipeline.temporary import temporary_name
from tests.tables import write_run

KEYS = ("validation-000000000-000000002", "validation-000000002-000000004", "validation-000000004-000000005")


def provenance(**changes) -> Provenance:
    values = {
        "dataset": {"name": "d", "split": "validation", "n_examples": 5, "fingerprint": "f" * 64},
        "model": {"name": "m", "sha256": "a" * 64, "card": {"height": 8, "mean": (0.0, 0.0)}},
        "versions": {"hansaudit": "0.1.0"},
        "shards": KEYS,
    }
    return Provenance(**(values | changes))


def tables(n: int = 2, first: int = 0) -> dict[str, pa.Table]:
    """Rows that are valid, all columns null but the ids."""
    ids = [f"i{k}" for k in range(first, first + n)]
    made = {}
    for name in ("examples", "scores"):
        columns = {f.name: pa.nulls(n, f.type) for f in schema.TABLES[name]} | {"example_id": pa.array(ids)}
        made[name] = pa.table(columns, schema=schema.TABLES[name])
    return made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "run")
    made.open_or_create(parse_config({}), provenance())
    return made


@pytest.fixture
def plain(tmp_path: Path) -> Store:
    """A run that stores examples and scores only, as :func:`tables` has them."""
    made = Store(tmp_path / "plain")
    made.open_or_create(
        parse_config({"audit": {"maps": 0, "thumbnails": False}, "perturbation": False}), provenance()
    )
    return made


def without_inventories(store: Store) -> None:
    """As runs were written before there were inventories."""
    shutil.rmtree(Path(store.path, "inventory"))
    manifest = store.manifest
    del manifest["inventory"]
    Path(store.path, "manifest.json").write_text(json.dumps(manifest))  # which carries no hash


def files_of(store: Store) -> list[str]:
    return sorted(str(p.relative_to(store.path)) for p in Path(store.path).rglob("*") if p.is_file())


def test_a_new_run_lacks_every_shard(store: Store):
    assert store.missing() == KEYS
    assert store.tables == ()
    assert store.manifest["run_id"] == parse_config({}).run_id


def test_a_written_shard_is_there_and_the_others_are_missing(store: Store):
    store.write_shard(KEYS[1], tables())
    assert store.missing() == (KEYS[0], KEYS[2])
    assert store.read("examples", ["example_id"]).column(0).to_pylist() == ["i0", "i1"]
    assert store.tables == ("examples", "scores")


def test_parts_say_what_they_are(store: Store):
    store.write_shard(KEYS[0], tables())
    found = pq.read_schema(Path(store.path, "examples", f"part-{KEYS[0]}.parquet"))
    assert found.metadata[b"schema_version"] == str(SCHEMA_VERSION).encode()
    assert found.metadata[b"run_id"].decode() == store.manifest["run_id"]
    assert json.loads(found.metadata[b"config"]) == store.manifest["config"]
    assert found.field("width").metadata[b"unit"] == b"pixel"


def test_examples_are_the_commit_mark(store: Store, monkeypatch: pytest.MonkeyPatch):
    written = []
    put = files.LocalFiles.put
    monkeypatch.setattr(files.LocalFiles, "put", lambda s, n, d: (written.append(n), put(s, n, d)))
    store.write_shard(KEYS[0], tables())
    assert [name.partition("/")[0] for name in written] == ["inventory", "scores", "examples"]


def test_rows_of_an_unfinished_shard_are_not_read(store: Store):
    store.write_shard(KEYS[0], tables())
    store.write_shard(KEYS[1], tables(first=2))
    Path(store.path, "examples", f"part-{KEYS[1]}.parquet").unlink()
    assert store.read("scores", ["example_id"]).num_rows == 2
    assert KEYS[1] in store.missing()


def test_scan_streams_in_order_with_columns_and_filter(tmp_path: Path):
    truth = write_run(tmp_path, 3, 40, seed=1, shard_size=16)
    store = Store(tmp_path)
    ids = [i for b in store.scan("examples", ["example_id"]) for i in b.column(0).to_pylist()]
    assert ids == truth.examples["example_id"].tolist()
    correct = store.read("examples", ["example_id", "label"], pc.field("correct"))
    expected = truth.examples[truth.examples["correct"] & (truth.examples["status"] != schema.STATUS_FAILED)]
    assert correct["label"].to_pylist() == expected["label"].tolist()


def test_a_table_without_parts_is_empty(store: Store):
    assert list(store.scan("curves")) == []
    assert store.read("curves").num_rows == 0


@pytest.mark.parametrize(
    ("table", "columns", "message"),
    [("score", None, "'score' is unknown; tables: examples"), ("scores", ["metrics"], "no column 'metrics'")],
)
def test_unknown_tables_and_columns_are_named(store: Store, table, columns, message):
    with pytest.raises(InputError, match=message):
        list(store.scan(table, columns))


def test_parts_that_disagree_are_named(plain: Store):
    plain.write_shard(KEYS[0], tables())
    plain.write_shard(KEYS[1], tables(first=2))
    without_inventories(plain)
    path = Path(plain.path, "scores", f"part-{KEYS[1]}.parquet")
    pq.write_table(pq.read_table(path).drop_columns(["reason"]), path)
    with pytest.raises(InputError, match=rf"part-{KEYS[1]}.parquet: column 'reason' is missing"):
        list(plain.scan("scores", ["value"]))


def test_a_part_of_another_schema_version_is_named(plain: Store):
    plain.write_shard(KEYS[0], tables())
    without_inventories(plain)
    path = Path(plain.path, "scores", f"part-{KEYS[0]}.parquet")
    pq.write_table(pq.read_table(path).replace_schema_metadata({"schema_version": "99"}), path)
    with pytest.raises(InputError, match="schema version 99"):
        list(plain.scan("scores"))


def test_a_part_that_is_no_parquet_is_named(plain: Store):
    plain.write_shard(KEYS[0], tables())
    without_inventories(plain)
    Path(plain.path, "scores", f"part-{KEYS[0]}.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        list(plain.scan("scores"))


def test_the_same_audit_goes_on(store: Store):
    store.write_shard(KEYS[0], tables())
    again = parse_config({"execution": {"batch_size": 2}, "ranking": {"draws": 100}})
    given = store.open_or_create(again, provenance())
    assert store.missing() == KEYS[1:]
    # the ranking is the one asked for last; how the shards were cut stays
    assert given == store.manifest
    assert store.manifest["config"]["ranking"]["draws"] == 100
    assert store.manifest["config"]["execution"]["batch_size"] == 16


def test_a_batch_size_that_was_found_is_not_looked_for_again(store: Store):
    asked = parse_config({"execution": {"batch_size": "auto"}})
    assert store.settled(asked).execution.batch_size == 16
    assert store.settled(parse_config({"execution": {"batch_size": 3}})).execution.batch_size == 3


@pytest.mark.parametrize(
    ("config", "changes", "line"),
    [
        ({"audit": {"seed": 7}}, {}, "audit.seed: this folder has 0, asked for 7"),
        ({"methods": [{"name": "gradient"}]}, {}, "methods: this folder has"),
        (
            {},
            {"dataset": {"fingerprint": "e" * 64}},
            "the data are others (dataset.fingerprint): this folder has",
        ),
        ({}, {"model": {"sha256": "b" * 64, "card": {"height": 8, "mean": (0.0, 0.0)}}}, "model.sha256"),
        ({}, {"model": {"sha256": "a" * 64, "card": {"height": 9, "mean": (0.0, 0.0)}}}, "model.card.height"),
        ({}, {"versions": {"engine": "jax"}}, 'engine: this folder has "tensorflow", asked for "jax"'),
    ],
    ids=["seed", "methods", "data", "weights", "card", "engine"],
)
def test_another_audit_is_refused_field_by_field(store: Store, config, changes, line):
    before = files_of(store)
    with pytest.raises(InputError) as caught:
        store.open_or_create(parse_config(config), provenance(**changes))
    assert line in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2
    assert files_of(store) == before


def test_the_same_data_and_model_in_another_place_is_the_same_audit(store: Store):
    moved = parse_config({"dataset": {"path": "/elsewhere"}, "model": {"source": "copy.keras"}})
    before = files_of(store)
    store.open_or_create(moved, provenance())
    assert files_of(store) == before


def test_a_folder_with_other_things_is_refused(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match=r"holds other files \(thesis.tex\)"):
        Store(tmp_path).open_or_create(parse_config({}), provenance())


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no run folder"), (b"{", "not valid JSON"), (b"{}", "schema version None")],
)
def test_what_is_no_run_says_so(tmp_path: Path, content, message):
    if content is not None:
        (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(InputError, match=message):
        _ = Store(tmp_path).manifest


def test_sessions_are_kept(store: Store):
    first, second = Session(started="2026-01-01T00:00:00"), Session(started="2026-01-02T00:00:00")
    store.record(first)
    store.record(second)
    first.images = 5
    store.end(first)
    assert [(s["started"], s["images"]) for s in store.manifest["sessions"]] == [
        ("2026-01-02T00:00:00", 0),
        ("2026-01-01T00:00:00", 5),
    ]
    assert store.manifest["sessions"][1]["ended"] is not None


def test_sessions_within_one_second_are_two(store: Store):
    store.record(Session())
    store.record(Session())
    assert len(store.manifest["sessions"]) == 2


def test_a_wrong_table_is_the_programs_fault_and_leaves_nothing(store: Store):
    wrong = tables() | {"scores": tables()["examples"]}
    with pytest.raises(ValueError, match="'scores' has not the columns"):
        store.write_shard(KEYS[0], wrong)
    with pytest.raises(ValueError, match="no 'examples' table"):
        store.write_shard(KEYS[0], {"scores": tables()["scores"]})
    assert files_of(store) == ["manifest.json"]


def test_a_full_disk_is_one_error_and_breaks_nothing(store: Store, monkeypatch: pytest.MonkeyPatch):
    store.write_shard(KEYS[0], tables())
    before = files_of(store)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"no space left .* what was finished is kept") as caught:
        store.write_shard(KEYS[1], tables(first=2))
    assert "\n" not in str(caught.value)
    assert files_of(store) == before
    monkeypatch.undo()
    store.write_shard(KEYS[1], tables(first=2))
    assert store.read("examples").num_rows == 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_really_full_device_is_one_error(store: Store, monkeypatch: pytest.MonkeyPatch):
    real_open = open
    monkeypatch.setattr(
        "builtins.open", lambda p, *a, **more: real_open("/dev/full" if ".tmp-" in str(p) else p, *a)
    )
    with pytest.raises(InputError, match="no space left"):
        store.write_shard(KEYS[0], tables())
    monkeypatch.undo()
    assert store.missing() == KEYS


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Store(tmp_path / "file" / "run").open_or_create(parse_config({}), provenance())


def test_two_writers_are_one_too_many(store: Store):
    with (
        store.lock(),
        pytest.raises(InputError, match=rf"another process \(id {os.getpid()} on .+\) is writing this run"),
        Store(store.path).lock(),
    ):
        pass
    with store.lock(), store.lock():  # whoever holds it may take it again
        store.write_shard(KEYS[0], tables())
        with pytest.raises(InputError, match="another process"), Store(store.path).lock_existing():
            pass
    with store.lock_existing():
        pass


def test_what_is_no_run_gets_no_lock_file(tmp_path: Path):
    with pytest.raises(InputError, match=r"no manifest\.json"), Store(tmp_path / "run").lock_existing():
        pass
    assert list(tmp_path.iterdir()) == []


def test_only_what_the_dead_left_is_swept(store: Store):
    """Files of: this process, an earlier one with this id, a dead one, another machine, none that is told."""
    folder = Path(store.path, "scores")
    folder.mkdir(exist_ok=True)
    mine = temporary_name("part-a.parquet")
    host, pid, started, name = mine.removeprefix(".tmp-").split("~")
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    kept = [mine, f".tmp-elsewhere-7~{pid}~1~{name}"]
    swept = [f".tmp-{host}~{pid}~{int(started) + 1}~{name}", f".tmp-{host}~{gone.pid}~1~{name}", ".tmp-old"]
    abandoned = f".tmp-elsewhere-7~{pid}~2~{name}"
    for file in [*kept, *swept, abandoned]:
        (folder / file).write_bytes(b"half")
    os.utime(folder / abandoned, (1.0, 1.0))
    with store.lock():
        assert sorted(p.name for p in folder.iterdir()) == sorted(kept)


_WRITER = """
import os, signal, sys
sys.path.insert(0, {root!r})
from pipeline.run import files
from pipeline.run.store import Store
from tests.pipeline.run.test_store import KEYS, tables

store, replace = Store({path!r}), os.replace
def die(source, target):
    if {name!r} in str(target):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = die
with store.lock():
    store.write_shard(KEYS[0], tables())
    store.write_shard(KEYS[1], tables(first=2))
"""


@pytest.mark.parametrize("name", [f"scores/part-{KEYS[1]}", f"examples/part-{KEYS[1]}"])
def test_a_killed_writer_leaves_whole_shards(store: Store, name: str):
    root = str(Path(__file__).parents[3])
    code = _WRITER.format(root=root, path=store.path, name=name)
    died = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    assert any(".tmp-" in f for f in files_of(store))
    assert store.missing() == KEYS[1:]
    with store.lock():  # the dead process holds no lock, and its half-written file is swept away
        assert not any(".tmp-" in f for f in files_of(store))
        for i, key in enumerate(store.missing(), start=1):
            store.write_shard(key, tables(1 if i == 2 else 2, first=2 * i))
    ids = store.read("examples", ["example_id"]).column(0).to_pylist()
    assert ids == ["i0", "i1", "i2", "i3", "i4"]
    assert store.read("scores", ["example_id"]).column(0).to_pylist() == ids


def test_an_object_store_serves_the_same_purpose():
    store = Store("memory://bucket/run")
    store.open_or_create(parse_config({}), provenance())
    with store.lock():
        store.write_shard(KEYS[0], tables())
        store.write_shard(KEYS[2], tables(1, first=4))
    assert store.missing() == (KEYS[1],)
    assert store.read("examples", ["example_id"]).column(0).to_pylist() == ["i0", "i1", "i4"]
    assert Store("memory://bucket/run").manifest["shards"] == list(KEYS)
    with pytest.raises(InputError, match=r"audit\.seed"):
        store.open_or_create(parse_config({"audit": {"seed": 1}}), provenance())


def test_an_unknown_scheme_is_one_error():
    with pytest.raises(InputError, match="cannot be opened"):
        Store("nosuch://bucket/run")
