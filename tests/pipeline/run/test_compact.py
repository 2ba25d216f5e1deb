"""Merged shards hold the same rows; whatever kills the merging, readers see each row once, and it goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flows import cli
from flows.report import rank_run
from pipeline.errors import InputError
from pipeline.run.compact import check_size, compact
from pipeline.run.documents import RankingDocument
from pipeline.run.files import LocalFiles
from pipeline.run.inventory import ShardsSeen
from pipeline.run.parts import Parts
from pipeline.run.store import Store
from pipeline.run.verify import verify
from pipeline.schema import TABLES
from tests.tables import with_inventories, write_run

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ranked run of 60 images in eight shards, the last one shorter."""
    path = tmp_path_factory.mktemp("compact") / "run"
    write_run(path, 3, 20, 0, maps=False, shard_size=8, ranking={"draws": 100, "n_min": 2})
    with_inventories(path)
    rank_run(str(path))
    return path


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Store:
    shutil.copytree(whole, tmp_path / "run")
    return Store(tmp_path / "run")


def rows(run: Store, table: str) -> list[dict]:
    """What a reader sees, without the name of the shard."""
    read = run.read(table)
    return read.drop_columns([c for c in ("shard",) if c in read.column_names]).to_pylist()


def two_in_one(run: Store) -> int:
    """A size into which any two shards fit, and no three."""
    contents = Parts(run).contents
    sizes = [max(contents.size(t, k) or 0 for t in run.tables) for k in contents.done]
    return 2 * max(sizes)


def test_rows_stay_in_their_order_and_what_was_computed_still_fits(run: Store):
    before = {table: rows(run, table) for table in ("examples", "scores", "thumbnails")}
    seen = ShardsSeen.of(run)
    done = compact(run)
    assert (done.before, done.after) == (8, 1)
    assert run.manifest["shards"] == ["validation-000000000-000000060"]
    assert {table: rows(run, table) for table in before} == before
    assert set(run.read("examples")["shard"].to_pylist()) == {"validation-000000000-000000060"}
    assert ShardsSeen.of(run) == seen  # of a merged run that was merged again, too
    assert verify(run).faults == ()
    assert RankingDocument.current(run) is not None
    assert run.missing() == ()


def test_only_neighbours_that_are_finished_are_merged(run: Store):
    planned = run.manifest["shards"]
    for key in (planned[2], planned[5]):
        run.files.remove(f"examples/part-{key}.parquet")
    compact(run)
    assert [key for key in run.manifest["shards"] if key in run.done] == [
        "validation-000000000-000000016",
        "validation-000000024-000000040",
        "validation-000000048-000000060",
    ]
    assert run.missing() == (planned[2], planned[5])


def test_no_part_gets_larger_than_asked_for(run: Store):
    most = two_in_one(run)
    done = compact(run, most)
    assert 4 <= done.after < 8
    assert done.largest <= most
    again = compact(run, most)
    assert (again.before, again.after) == (done.after, done.after)


class Killed(BaseException):
    """In place of a signal."""


def dies_at(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends before its ``count``-th change of a file."""
    left = [count]

    def counted(change: Callable[..., None]) -> Callable[..., None]:
        def run(*arguments: object) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            change(*arguments)

        return run

    monkeypatch.setattr(LocalFiles, "put", counted(LocalFiles.put))
    monkeypatch.setattr(LocalFiles, "remove", counted(LocalFiles.remove))


def test_killed_before_any_change_nothing_is_lost_or_doubled_and_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    whole = tmp_path / "whole"
    write_run(whole, 2, 6, 0, maps=False, thumbnails=False, shard_size=4)  # two are merged, one stays
    expected = {table: rows(with_inventories(whole), table) for table in ("examples", "scores")}
    seen, died = ShardsSeen.of(Store(whole)), 0
    most = two_in_one(Store(whole))
    while True:
        path = tmp_path / str(died)
        shutil.copytree(whole, path)
        with pytest.MonkeyPatch.context() as patch:
            dies_at(died, patch)
            try:
                compact(Store(path), most)
            except Killed:
                pass
            else:
                break
        run = Store(path)
        assert {table: rows(run, table) for table in expected} == expected, died
        assert ShardsSeen.of(run) == seen, died
        assert run.missing() == (), died
        compact(run, most)
        assert {table: rows(run, table) for table in expected} == expected, died
        assert verify(run).faults == (), died
        files = [p for p in path.rglob("*") if p.is_file() and p.parent != path]
        assert len(files) == 3 * len(run.done), died  # examples, scores and inventory, nothing else
        shutil.rmtree(path)
        died += 1
    assert died == 20


_SLOW = """
import os, signal, sys
from pipeline.run.compact import compact
from pipeline.run.files import LocalFiles
from pipeline.run.store import Store
put, puts = LocalFiles.put, 0
def counted(self, name, data):
    global puts
    puts += 1
    if puts == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    put(self, name, data)
LocalFiles.put = counted
compact(Store(sys.argv[1]))
"""


def test_killed_for_real_the_command_goes_on(run: Store, capsys: pytest.CaptureFixture[str]):
    expected = rows(run, "scores")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    killed = subprocess.run([sys.executable, "-c", _SLOW, run.path], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert run.manifest["superseded"] == ["validation-000000000-000000060"]
    assert rows(run, "scores") == expected
    assert cli.run(["compact", run.path]) == cli.DONE
    assert "8 shards are 1 now" in capsys.readouterr().out
    assert "superseded" not in run.manifest
    assert rows(run, "scores") == expected


def test_bad_input(run: Store, tmp_path: Path):
    for size in (31, 257):
        with pytest.raises(InputError, match=f"size {size} MB: valid are 32 to 256 MB"):
            check_size(size)
    with pytest.raises(InputError, match="no run folder"):
        compact(Store(tmp_path / "nothing"))
    key = run.manifest["shards"][1]
    part = Path(run.path, f"scores/part-{key}.parquet")
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(InputError, match="--repair"):
        compact(run)
    with run.lock(), pytest.raises(InputError, match="is writing this run"):
        compact(Store(run.path))


def test_a_table_that_only_some_shards_have_divides_them(run: Store):
    """Parts from before a table came: merged, it would lack rows and not say so."""
    for key in run.manifest["shards"][:3]:
        parts = Parts(run)
        tables = {t: parts.table(t, key, TABLES[t].names) for t in ("examples", "scores")}
        run.write_shard(key, {t: table for t, table in tables.items() if table is not None})
        run.files.remove(f"thumbnails/part-{key}.parquet")
    assert compact(run).after == 2
    assert len(run.read("thumbnails")) == len(run.read("examples")) - 24 - _failed(run, 24)
    assert verify(run).shards_to_drop == ()


def _failed(run: Store, start: int) -> int:
    """Images without a picture."""
    read = run.read("examples", ["index", "status"]).to_pylist()
    return sum(row["status"] == "failed" for row in read if row["index"] >= start)
