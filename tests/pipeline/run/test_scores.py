"""Scores with a row per image again: against pandas' pivot of the long table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import schema
from pipeline.run.folder import part_name
from pipeline.run.scores import read_scores, shard_scores
from pipeline.run.store import Store
from tests.tables import write_run

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
