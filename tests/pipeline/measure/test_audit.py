"""The audit of a shard: rows that do not depend on shards or batches, nulls with reasons, nothing dropped."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipeline import schema
from pipeline.config import Config, ConfigError, parse_config
from pipeline.errors import InputError
from pipeline.inputs.datasets import NO_BOXES, Record
from pipeline.inputs.shards import Shard, plan_shards
from pipeline.measure.audit import audit_part, audit_run, audit_shard
from pipeline.measure.batching import warm_up
from pipeline.measure.bench import Bench, open_bench
from pipeline.measure.rows import box_geometry, cell_sums, probabilities
from pipeline.run.hashes import hashed
from pipeline.run.preflight import KEY, read_preflight
from pipeline.run.store import Store

METHODS = [{"name": "gradient"}, {"name": "lrp.preset_a"}]


def config_for(planted, network, **sections) -> Config:
    return parse_config(
        {
            "dataset": {"source": "planted", "path": planted.config.path},
            "model": {"source": str(network)},
            "methods": METHODS,
            "audit": {"maps": 8},
            "perturbation": False,
            "execution": {"batch_size": 8},
        }
        | sections
    )


@pytest.fixture(scope="module")
def bench(tiny_planted, tiny_cnn_file) -> Bench:
    made = open_bench(config_for(tiny_planted, tiny_cnn_file))
    warm_up(made)
    return made


def audit(bench: Bench, size: int) -> dict[str, pa.Table]:
    """The whole split in shards of ``size``."""
    info = bench.dataset.info
    shards = plan_shards(info.name, info.split, info.n_examples, size)
    parts = [audit_shard(shard, bench) for shard in shards]
    return {name: pa.concat_tables([p[name] for p in parts]) for name in parts[0]}


@pytest.fixture(scope="module")
def whole(bench: Bench) -> dict[str, pa.Table]:
    return audit(bench, 24)


def test_one_row_per_image_and_one_score_per_image_method_and_metric(bench, whole):
    assert set(whole) == {"examples", "scores", "properties", "maps", "thumbnails"}
    assert whole["properties"].num_rows == 24
    assert whole["examples"].num_rows == 24
    assert whole["examples"]["index"].to_pylist() == list(range(24))
    assert len(set(whole["examples"]["example_id"].to_pylist())) == 24
    metrics = bench.config.audit.metrics
    scores = whole["scores"].to_pandas()
    assert len(scores) == 24 * 2 * len(metrics)
    assert not scores.duplicated(["example_id", "method", "metric"]).any()
    assert set(scores["method"]) == {"gradient", "lrp.preset_a"}
    assert whole["maps"].num_rows == 48
    assert whole["thumbnails"].num_rows == 24


def test_tables_have_their_schemas(whole):
    for name, table in whole.items():
        assert table.schema.equals(schema.TABLES[name]), name


def test_neither_shard_nor_batch_size_changes_a_row(bench, whole):
    # 7 and 5 divide nothing: shards end inside batches, and the last batch is padded
    smaller = replace(bench, config=config_for(bench.dataset, "x", execution={"batch_size": 5}))
    other = audit(smaller, 7)
    for name in ("examples", "scores"):
        # batches put the methods of their images one below the other
        keys = ["method", "example_id", "metric"] if name == "scores" else ["index"]
        tables = (t[name].to_pandas() for t in (whole, other))
        a, b = (t.sort_values(keys).reset_index(drop=True) for t in tables)
        skipped = ("shard", "boxes", "boxes_model")
        exact = [c for c in a.columns if c not in skipped and a[c].dtype.kind != "f"]
        assert a[exact].astype(str).equals(b[exact].astype(str))
        for column in (c for c in a.columns if a[c].dtype.kind == "f"):
            np.testing.assert_allclose(a[column], b[column], rtol=2e-4, atol=1e-6, err_msg=column)


def test_products_have_the_precision_that_was_chosen_and_only_then(bench, whole):
    def logits(name: str) -> np.ndarray:
        precise = replace(bench, config=config_for(bench.dataset, "x", audit={"maps": 0, "precision": name}))
        return audit(precise, 24)["examples"]["target_logit"].to_numpy()

    usual = whole["examples"]["target_logit"].to_numpy()
    np.testing.assert_array_equal(logits("float32"), usual)  # what a CPU does unasked
    apart = np.abs(logits("bfloat16") - usual) / np.abs(usual).max()
    assert 2**-12 < apart.max() < 2**-4  # 8 bits of each operand, over a few layers
    np.testing.assert_array_equal(logits("float32"), usual)


def test_predictions_are_the_networks(bench, whole):
    images = [Image.open(BytesIO(r.image)) for r in bench.dataset.read(shard_of(bench, 24))]
    pictures = np.stack([np.asarray(i.convert("RGB")) for i in images])
    if pictures.shape[1:3] != (bench.model.card.height, bench.model.card.width):
        pytest.skip("the tiny network resizes its input")
    p = np.asarray(bench.model.model(bench.model.card.prepare(pictures)))
    rows = whole["examples"].to_pandas()
    assert rows["prediction"].tolist() == p.argmax(1).tolist()
    np.testing.assert_allclose(rows["confidence"], p.max(1), rtol=1e-4)
    np.testing.assert_allclose(rows["label_probability"], p[np.arange(24), rows["label"]], rtol=1e-3)
    assert rows["correct"].tolist() == (p.argmax(1) == rows["label"]).tolist()


def test_maps_hold_the_scores_mass(whole):
    """Relevance inside plus outside is what the stored cells add up to."""
    scores = whole["scores"].to_pandas()
    total = (
        scores[scores["metric"].isin(["relevance_in", "relevance_out"])]
        .groupby(["example_id", "method"], observed=True)["value"]
        .sum(min_count=2)
    )
    for row in whole["maps"].to_pylist():
        cells = np.array(row["values"], np.float64)
        assert cells.max() == 1
        assert (row["height"], row["width"]) == (8, 8)
        expected = total[row["example_id"], row["method"]]
        if np.isfinite(expected):
            assert cells.sum() * row["scale"] == pytest.approx(expected, rel=2e-3)
        assert np.abs(row["signed"]).max() == 1
        assert row["signed_scale"] <= row["scale"] * (1 + 1e-6)


def test_thumbnails_are_the_models_view(bench, whole):
    card = bench.model.card
    for jpeg in whole["thumbnails"]["jpeg"].to_pylist()[:3]:
        assert Image.open(BytesIO(jpeg)).size == (card.width, card.height)


def test_maps_and_thumbnails_are_optional(bench):
    plain = replace(
        bench,
        config=config_for(bench.dataset, "x", audit={"maps": 0, "thumbnails": False, "metrics": ["mass"]}),
    )
    tables = audit_shard(shard_of(bench, 8), plain)
    assert set(tables) == {"examples", "scores", "properties"}
    assert tables["scores"].num_rows == 16


def test_an_unknown_metric_is_refused_before_anything_is_loaded(tiny_planted, tiny_cnn_file):
    with pytest.raises(ConfigError, match="metric 'iou' is unknown"):
        open_bench(config_for(tiny_planted, tiny_cnn_file, audit={"metrics": ["iou"]}))


def shard_of(bench: Bench, n: int) -> Shard:
    info = bench.dataset.info
    return plan_shards(info.name, info.split, info.n_examples, n)[0]


@dataclass
class Spoilt:
    """A dataset with some records replaced."""

    dataset: object
    changes: dict

    @property
    def info(self):
        return self.dataset.info

    def read(self, shard):
        for record in self.dataset.read(shard):
            yield self.changes.get(record.index, lambda r: r)(record)


def damaged(record: Record) -> Record:
    return replace(record, image=record.image[: len(record.image) // 3])


SPOILT = {
    1: damaged,
    2: lambda r: replace(r, boxes=NO_BOXES),
    3: lambda r: replace(r, boxes=np.array([[0, 0, 10**4, 10**4]], np.float32)),
    4: lambda r: replace(r, label=99),
    5: lambda r: replace(r, image=None, error="record 5 is torn"),
}


def test_bad_images_become_rows_with_reasons_and_the_others_stay_as_they_are(bench, whole):
    tables = audit_shard(shard_of(bench, 24), replace(bench, dataset=Spoilt(bench.dataset, SPOILT)))
    rows = tables["examples"].to_pylist()
    assert [r["status"] for r in rows[:6]] == [
        rows[0]["status"],
        schema.STATUS_FAILED,
        schema.STATUS_NO_BOX,
        schema.STATUS_BOX_COVERS_IMAGE,
        schema.STATUS_FAILED,
        schema.STATUS_FAILED,
    ]
    assert all(rows[i]["reason"] for i in range(1, 6))
    assert "torn" in rows[5]["reason"]
    for i in (1, 4, 5):
        assert [rows[i][c] for c in ("prediction", "confidence", "correct", "target")] == [None] * 4
    assert rows[4]["label"] == -1
    assert rows[2]["box_area"] is None
    assert rows[3]["box_area"] == 1
    scores = tables["scores"].to_pylist()
    for i in range(1, 6):
        mine = [s for s in scores if s["example_id"] == rows[i]["example_id"]]
        assert len(mine) == 14
        assert all(s["value"] is None and s["reason"] for s in mine)
    assert len(tables["maps"]) == 2 * (24 - 3)
    untouched = [r["example_id"] for i, r in enumerate(rows) if i not in SPOILT]
    before = {(s["example_id"], s["method"], s["metric"]): s["value"] for s in whole["scores"].to_pylist()}
    for s in scores:
        if s["example_id"] in untouched:
            expected = before[s["example_id"], s["method"], s["metric"]]
            assert s["value"] == pytest.approx(expected, rel=1e-4, abs=1e-7, nan_ok=True)


def test_the_true_class_can_be_explained(bench):
    by_label = replace(
        bench,
        config=config_for(bench.dataset, "x", audit={"target": "label", "maps": 0}),
        dataset=Spoilt(bench.dataset, {2: lambda r: replace(r, label=99)}),
    )
    tables = audit_shard(shard_of(bench, 8), by_label)
    rows = tables["examples"].to_pylist()
    assert all(r["target"] == r["label"] for i, r in enumerate(rows) if i != 2)
    reasons = {s["reason"] for s in tables["scores"].to_pylist() if s["example_id"] == rows[2]["example_id"]}
    assert len(reasons) == 1
    assert reasons != {None}


def test_progress_counts_every_image_once(bench):
    seen: list[int] = []
    audit_shard(shard_of(bench, 24), bench, seen.append)
    assert sum(seen) == 24


# -- the small functions, against slow versions


def test_box_geometry_of_one_box():
    mask = np.zeros((2, 10, 20), bool)
    mask[0, 2:6, 10:20] = True  # centroid (15, 4), centre (10, 5)
    area, distance = box_geometry(mask)
    assert area.tolist() == [0.2, 0]
    assert distance[0] == pytest.approx(np.hypot(5, 1) / np.hypot(10, 5))
    assert np.isnan(distance[1])


@pytest.mark.parametrize(
    ("height", "width", "side"), [(8, 8, 4), (10, 7, 3), (5, 9, 9), (3, 3, 56), (224, 224, 56)]
)
def test_cells_are_sums_of_their_pixels(height, width, side):
    maps = np.random.default_rng(0).integers(0, 9, (2, height, width)).astype(np.float32)
    cells = cell_sums(maps, side)
    rows, columns = min(side, height), min(side, width)
    slow = np.zeros((2, rows, columns))
    for i in range(height):
        for j in range(width):
            # the last cell that begins at or before the pixel
            r = max(k for k in range(rows) if k * height // rows <= i)
            c = max(k for k in range(columns) if k * width // columns <= j)
            slow[:, r, c] += maps[:, i, j]
    np.testing.assert_array_equal(cells, slow)


def test_probabilities():
    z = np.array([[0.0, np.log(3.0)], [1000.0, 0.0]], np.float32)
    np.testing.assert_allclose(probabilities(z, "softmax"), [[0.25, 0.75], [1, 0]], rtol=1e-6)
    np.testing.assert_allclose(probabilities(z, "logits"), probabilities(z, "softmax"))
    np.testing.assert_allclose(probabilities(z, "sigmoid"), [[0.5, 0.75], [1, 0.5]], rtol=1e-6)


# -- a whole run


@pytest.fixture
def quick(bench) -> Bench:
    """One method, three shards of 8, no sanity check."""
    execution = {"batch_size": 8, "shard_size": 8}
    config = config_for(
        bench.dataset, "x", methods=METHODS[:1], execution=execution, sanity={"images": 0}, audit={"maps": 0}
    )
    return replace(bench, config=config, methods={"gradient": bench.methods["gradient"]})


def test_a_run_goes_on_where_it_stopped_with_the_shards_of_the_first_time(quick, tmp_path):
    run = Store(tmp_path / "run")

    def first_shard_then_stop(keys):
        audit_part(run, quick, keys[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audit_run(run, quick, first_shard_then_stop)
    assert len(run.done) == 1
    others = config_for(quick.dataset, "x", execution={"batch_size": 4, "shard_size": 5})
    others = others.model_copy(update={"methods": quick.config.methods, "audit": quick.config.audit})
    session = audit_run(run, replace(quick, config=others))
    assert session.images == 16
    assert run.missing() == ()
    index = sorted(run.read("examples", ["index"])["index"].to_pylist())
    assert index == list(range(24))
    assert [(s["images"], s["ended"] is not None) for s in run.manifest["sessions"]] == [
        (0, True),
        (16, True),
    ]


def test_nobody_else_writes_a_run_meanwhile(quick, tmp_path):
    run = Store(tmp_path / "run")

    def another(keys):
        with pytest.raises(InputError, match="another process"):
            audit_run(Store(run.path), quick)
        return 0

    audit_run(run, quick, another)


# -- the look before the first image


def test_a_run_looks_once_and_keeps_what_it_saw(bench, tmp_path, monkeypatch):
    run, told = Store(tmp_path / "run"), []
    audit_run(run, bench, told=told.append)
    (seen,) = told
    assert read_preflight(run.manifest, "run") == seen
    assert (seen.sample.images, seen.sample.of) == (24, 24)
    assert "explained is the predicted class (the default)" in seen.decisions
    assert not any(said.startswith("method:") for said in seen.decisions), "methods were named"

    # the accuracy is that of the rows that the audit then writes
    examples = run.read("examples").to_pandas()
    assert seen.accuracy is not None
    assert (seen.accuracy.n, seen.accuracy.right) == (24, int(examples["correct"].sum()))

    def refuse(*_, **__):
        raise AssertionError("looked again")

    monkeypatch.setattr("pipeline.measure.audit.look", refuse)
    before = run.manifest
    audit_run(run, bench, told=told.append)
    (tmp_path / "run" / "examples" / f"part-{run.manifest['shards'][0]}.parquet").unlink()
    audit_run(run, bench, told=told.append)
    assert len(told) == 1
    assert run.manifest[KEY] == before[KEY]


def test_a_run_of_before_there_was_a_look_goes_on(bench, tmp_path):
    run, told = Store(tmp_path / "run"), []
    audit_run(run, bench)
    path = tmp_path / "run" / "manifest.json"

    def forget() -> None:
        path.write_text(json.dumps(hashed({k: v for k, v in run.manifest.items() if k != KEY})))

    forget()
    audit_run(run, bench, told=told.append)
    assert told == []
    assert KEY not in run.manifest, "nothing is missing: nothing is looked at"
    forget()
    (tmp_path / "run" / "examples" / f"part-{run.manifest['shards'][0]}.parquet").unlink()
    audit_run(run, bench, told=told.append)
    assert len(told) == 1
    assert KEY in run.manifest


def test_data_of_which_nothing_can_be_used_leave_no_run(bench, tmp_path, monkeypatch):
    def torn(self, shard):
        for record in type(bench.dataset).__mro__[1].read(self, shard):
            yield replace(record, image=None, error="torn")

    monkeypatch.setattr(type(bench.dataset), "read", torn, raising=False)
    run = Store(tmp_path / "run")
    with pytest.raises(
        InputError, match=r"none of the 24 images that were looked at can be used, e\.g\.: torn"
    ):
        audit_run(run, bench)
    assert not run.exists
