"""Scores with a row per image again: against pandas' pivot of the long table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import schema
from pipeline.run import scores as scores_module
from pipeline.run.compact import compact
from pipeline.run.folder import part_name
from pipeline.run.parts import Parts
from pipeline.run.scores import read_scores, shard_scores
from pipeline.run.store import Store
from tests.tables import with_inventories, write_run

EARLIER = Path(__file__).parents[2] / "fixtures" / "run-schema-1"
ASKED = [("gradient", "lift"), ("lrp.preset_a", "mass"), ("lrp.preset_a", "nothing"), ("none", "lift")]


def test_values_are_those_of_a_pivot():
    store = Store(EARLIER)
    scores = read_scores(store, ("label",), ASKED)
    long = store.read("scores").to_pandas().astype({"method": str, "metric": str})
    wide = long.pivot(index="example_id", columns=["method", "metric"], values="value")
    ids = scores.examples["example_id"].to_pylist()
    assert ids == store.read("examples", ["example_id"])["example_id"].to_pylist()
    for k, score in enumerate(ASKED[:2]):
        np.testing.assert_array_equal(scores.values[:, k], wide.loc[ids, score].to_numpy())
    assert np.isnan(scores.values[:, 2:]).all()
    assert scores.stored.all(axis=0).tolist() == [True, True, False, False]
    assert scores.names == set(map(tuple, long[["method", "metric"]].drop_duplicates().to_numpy()))
    assert scores.methods == ["gradient", "lrp.preset_a"]
    assert scores.examples.column_names == ["example_id", "label"]


def test_it_streams_a_shard_at_a_time():
    store = Store(EARLIER)
    shards = list(shard_scores(store, (), ASKED))
    assert len(shards) == len(store.done) == 2
    whole = read_scores(store, (), ASKED)
    np.testing.assert_array_equal(np.concatenate([s.values for s in shards]), whole.values)


def test_undefined_missing_and_strange_scores(tmp_path: Path):
    write_run(tmp_path, 2, 4, 0, maps=False, thumbnails=False, shard_size=4)
    store = Store(tmp_path)
    first, second = sorted(store.done)
    ids = store.read("examples", ["example_id"])["example_id"].to_pylist()
    rows = [
        {"example_id": ids[1], "method": "m", "metric": "lift", "value": 2.5, "reason": None},
        {"example_id": ids[2], "method": "m", "metric": "lift", "value": None, "reason": "zero_map"},
        {"example_id": ids[0], "method": "m", "metric": "mass", "value": 1.0, "reason": None},
        {"example_id": "of another shard", "method": "m", "metric": "lift", "value": 9.0, "reason": None},
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema.SCORES), tmp_path / part_name("scores", first))
    pq.write_table(schema.SCORES.empty_table(), tmp_path / part_name("scores", second))
    scores = read_scores(store, (), [("m", "lift")])
    assert scores.values[:, 0].tolist() == pytest.approx([np.nan, 2.5] + [np.nan] * 6, nan_ok=True)
    assert scores.stored[:, 0].tolist() == [False, True, True] + [False] * 5
    assert scores.names == {("m", "lift"), ("m", "mass")}


def test_a_run_without_a_finished_shard_has_no_rows(tmp_path: Path):
    write_run(tmp_path, 2, 4, 0, maps=False, thumbnails=False)
    for part in (tmp_path / "examples").iterdir():
        part.unlink()
    scores = read_scores(Store(tmp_path), ("label",), ASKED)
    assert (scores.values.shape, scores.examples.num_rows, scores.names) == ((0, 4), 0, frozenset())


def merged(path: Path) -> Store:
    """A run of 120 images whose three shards are one now."""
    write_run(path, 4, 30, 3, maps=False, thumbnails=False, shard_size=40, failures=0.05)
    store = with_inventories(path)
    assert compact(store).after == 1
    return store


def test_a_merged_part_is_decoded_a_piece_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store, decoded, whole = merged(tmp_path), [], []
    pieces, table = Parts.pieces, Parts.table

    def counted(*args: Any) -> Iterator[pa.RecordBatch]:
        for piece in pieces(*args):
            decoded.append(piece.num_rows)
            yield piece

    monkeypatch.setattr(Parts, "pieces", counted)
    monkeypatch.setattr(Parts, "table", lambda *args: whole.append(args[1]) or table(*args))
    monkeypatch.setattr(scores_module, "PIECE", 50)
    read = read_scores(store, (), [("lrp.preset_a", "lift")])
    assert (max(decoded), sum(decoded)) == (50, store.read("scores", ["value"]).num_rows)
    assert set(whole) == {"examples"}
    assert read.stored.sum() == 120 - (
        store.read("examples", ["status"])["status"].to_pylist().count("failed")
    )


@pytest.mark.parametrize("order", ["as the audit writes", "any"])
def test_pieces_give_the_values_of_a_pivot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str):
    store = merged(tmp_path)
    long = store.read("scores")
    if order == "any":
        (key,) = store.done
        shuffled = long.take(pa.array(np.random.default_rng(0).permutation(len(long))))
        tables = {"examples": store.read("examples"), "scores": shuffled.combine_chunks()}
        store.write_shard(key, {name: t.cast(schema.TABLES[name]) for name, t in tables.items()})
    monkeypatch.setattr(scores_module, "PIECE", 13)
    monkeypatch.setattr(scores_module, "_NEAR", 2)  # what lies further away is looked for among all
    asked = [("lrp.preset_a", "mass"), ("lrp.preset_a", "lift")]
    read = read_scores(store, (), asked)
    wide = long.to_pandas().pivot(index="example_id", columns="metric", values="value")
    expected = wide.reindex(read.examples["example_id"].to_pylist())[["mass", "lift"]].to_numpy()
    np.testing.assert_array_equal(read.values, expected)
    assert {metric for _, metric in read.names} == set(long["metric"].to_pylist())
