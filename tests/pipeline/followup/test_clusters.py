"""Strategies inside a class: the spectral mathematics against slow oracles, and a whole synthetic run."""

from __future__ import annotations

import io
import json
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import schema
from pipeline.errors import InputError
from pipeline.followup.clusters import (
    eigengap,
    features,
    find_strategies,
    laplacian_spectrum,
    pool,
    separability,
)
from pipeline.followup.exports.virelay import export_virelay
from pipeline.followup.strategies import cluster_run
from pipeline.inputs.card import ModelCard
from pipeline.inputs.classes import find_class
from pipeline.measure.explain import find_output
from pipeline.run.documents import ClustersDocument
from pipeline.run.folder import CLUSTERS_TABLE
from pipeline.run.store import Store
from pipeline.statistics.ranking import rank
from tests.tables import CELLS, write_run


def bump(x: float, y: float, width: float, side: int = 32) -> np.ndarray:
    grid = np.arange(side) + 0.5
    return np.outer(np.exp(-0.5 * ((grid - y) / width) ** 2), np.exp(-0.5 * ((grid - x) / width) ** 2))


def draw_maps(n: int, marked: int, seed: int) -> np.ndarray:
    """Maps of an object somewhere in the middle; the first ``marked`` also light up in the corner."""
    rng = np.random.default_rng([seed, n])
    maps = 0.05 * rng.gamma(0.7, size=(n, 32, 32))
    for i in range(n):
        for _ in range(3):
            maps[i] += bump(rng.uniform(9, 23), rng.uniform(9, 23), 3)
        if i < marked:
            maps[i] += 3 * bump(3, 3, 2)
    return maps


def test_two_strategies_are_found_and_one_is_not_split():
    two = find_strategies(draw_maps(120, 40, 0))
    assert two.k == 2
    assert (two.cluster[:40] == 1).mean() == 1.0
    assert (two.cluster[40:] == 0).mean() == 1.0
    assert two.tau > 0.9 > two.tau_null
    assert set(two.prototypes[1]) <= set(range(40))
    one = find_strategies(draw_maps(120, 0, 4))
    assert one.tau <= one.tau_null + 0.02


def test_tau_of_a_single_cloud_stays_within_its_null():
    """Simulation: one Gaussian cloud of maps, cut anyway, exceeds the 95 % null in about 5 % of draws."""
    exceeds = []
    for seed in range(20):
        found = find_strategies(np.abs(np.random.default_rng(seed).normal(5, 1, (30, 14, 14))), seed)
        exceeds.append(found.k > 1 and found.tau > found.tau_null)
    assert np.mean(exceeds) <= 0.2  # binomial(20, 0.05): more than 4 has probability 0.003


def test_separability_is_the_r_squared_of_the_membership():
    """The best linear discriminant explains as much as a regression of the 0/1 membership on the points."""
    rng = np.random.default_rng(3)
    points = rng.normal(size=(40, 4)) + np.repeat([[0], [1], [3]], [20, 12, 8], axis=0)
    cluster = np.repeat([0, 1, 2], [20, 12, 8])
    found = separability(points, cluster)
    for c in range(3):
        member = (cluster == c).astype(float)
        x = np.column_stack([np.ones(40), points])
        residual = member - x @ np.linalg.lstsq(x, member, rcond=None)[0]
        assert found[c] == pytest.approx(1 - residual.var() / member.var())
    assert separability(points, np.zeros(40, int)).tolist() == [0.0]


def test_laplacian_against_the_definition_and_its_components():
    rng = np.random.default_rng(0)
    points = np.concatenate(
        [rng.normal(0, 1, (15, 3)), rng.normal(100, 1, (17, 3)), rng.normal(-100, 1, (9, 3))]
    )
    values, vectors = laplacian_spectrum(points, 8)
    n, k = len(points), int(np.ceil(np.log2(len(points)))) + 1
    affinity = np.zeros((n, n))
    for i in range(n):
        distance = [np.linalg.norm(points[i] - points[j]) if j != i else np.inf for j in range(n)]
        for j in np.argsort(distance)[:k]:
            affinity[i, j] += 0.5
            affinity[j, i] += 0.5
    degree = affinity.sum(axis=1)
    laplacian = np.eye(n) - affinity / np.sqrt(np.outer(degree, degree))
    np.testing.assert_allclose(values, np.linalg.eigvalsh(laplacian)[:8], atol=1e-10)
    np.testing.assert_allclose(laplacian @ vectors, vectors * values, atol=1e-10)
    assert (values[:3] < 1e-10).all()  # as many zero eigenvalues as components
    assert values[3] > 0.05
    assert eigengap(values) == 3


@pytest.mark.parametrize(
    ("values", "k"), [([0, 0.5, 0.6, 0.7], 1), ([0, 0, 0.4, 0.5], 2), ([0, 0.1, 0.2, 0.9], 3)]
)
def test_eigengap_by_hand(values, k):
    assert eigengap(np.array(values)) == k


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20))
def test_pooling_keeps_the_total(height, width, side):
    maps = np.random.default_rng(height * 41 + width).random((2, height, width))
    pooled = pool(maps, side)
    assert pooled.shape == (2, min(height, side), min(width, side))
    np.testing.assert_allclose(pooled.sum(axis=(1, 2)), maps.sum(axis=(1, 2)))


def test_features_ignore_the_scale_of_a_map():
    maps = draw_maps(20, 5, 2)
    scaled = maps * np.linspace(0.1, 9, 20)[:, None, None]
    np.testing.assert_allclose(np.abs(features(scaled)), np.abs(features(maps)), atol=1e-9)


# -- a run


def plant_strategy(root: Path, label: int, share: float) -> None:
    """Give some images of a class a second strategy: relevance in the corner, lift lowered by 4."""
    for part in sorted((root / "examples").iterdir()):
        ids = [
            row["example_id"]
            for row in pq.read_table(part).to_pylist()
            if row["label"] == label and hash_share(row["example_id"]) < share
        ]
        maps, scores = root / "maps" / part.name, root / "scores" / part.name
        rows = pq.read_table(maps).to_pylist()
        for row in rows:
            if row["example_id"] in ids:
                row["values"] = (0.02 + bump(3, 3, 2, CELLS)).astype(np.float16).ravel()
        pq.write_table(pa.Table.from_pylist(rows, schema=schema.MAPS), maps)
        rows = pq.read_table(scores).to_pylist()
        for row in rows:
            if row["example_id"] in ids and row["metric"] == "lift" and row["value"] is not None:
                row["value"] -= 4
        pq.write_table(pa.Table.from_pylist(rows, schema=schema.SCORES), scores)


def hash_share(example_id: str) -> float:
    return int(example_id[-3:]) % 10 / 10


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Store:
    root = tmp_path_factory.mktemp("run")
    write_run(root, n_classes=5, per_class=[60, 60, 60, 8, 60], seed=1, failures=0.02)
    plant_strategy(root, 2, 0.4)
    return Store(root)


def test_clusters_of_a_run(run):
    found = {c.label: c for c in cluster_run(run, [2, 3], rank(run))}
    (candidate,) = found[2].candidates
    assert candidate.adjusted_lift < -2
    assert candidate.high < 0
    table = pq.read_table(io.BytesIO(run.files.get(CLUSTERS_TABLE)))
    assert table.schema.equals(schema.CLUSTERS)
    rows = table.to_pandas()
    mine = rows[rows["cluster"] == candidate.cluster]
    assert all(hash_share(i) < 0.4 for i in mine["example_id"])
    assert set(candidate.prototypes) == set(mine.loc[mine["prototype"].notna(), "example_id"])
    assert "clusters need at least 10" in found[3].reason
    assert found[3].tau is None


def test_a_second_call_keeps_the_other_classes_and_replaces_its_own(run):
    cluster_run(run, [2], rank(run))
    before = {c.label: c for c in ClustersDocument.read(run).classes}
    cluster_run(run, [0, 2], rank(run))
    after = {c.label: c for c in ClustersDocument.read(run).classes}
    assert after.keys() == before.keys() | {0}
    assert after[2] == before[2]  # the same seed, the same answer
    rows = pq.read_table(io.BytesIO(run.files.get(CLUSTERS_TABLE))).to_pandas()
    assert not rows.duplicated("example_id").any()


def test_virelay_layout(run, tmp_path):
    cluster_run(run, [0, 2], rank(run))
    project = json.loads(export_virelay(run, tmp_path).read_text())["project"]
    with h5py.File(tmp_path / project["dataset"]["path"]) as file:
        assert file["data"].shape[1:] == (64, 64, 3)
        n = len(file["data"])
        labels = file["label"][()]
    with h5py.File(tmp_path / project["attributions"]["sources"][0]) as file:
        assert file["attribution"].shape == (n, 64, 64, 1)
        assert file["prediction"].shape == (n, 5)
        assert file["index"][()].tolist() == list(range(n))
    label_map = json.loads((tmp_path / project["label_map"]).read_text())
    with h5py.File(tmp_path / project["analyses"][0]["sources"][0]) as file:
        assert set(file) == {label_map[k]["word_net_id"] for k in (0, 2)}
        group = file[label_map[2]["word_net_id"]]
        index = group["index"][()]
        assert (labels[index] == 2).all()
        clustering = group["cluster/spectral"]
        assert len(group["embedding"][clustering.attrs["embedding"]]) == len(clustering) == len(index)
        rows = pq.read_table(io.BytesIO(run.files.get(CLUSTERS_TABLE))).to_pandas()
        assert clustering[()].tolist() == rows["cluster"].iloc[index].tolist()
        assert clustering.attrs["k"] == clustering[()].max() + 1


def test_without_maps_the_error_says_what_to_do(tmp_path):
    write_run(tmp_path, n_classes=2, per_class=4, seed=0, maps=False)
    with pytest.raises(InputError, match="stores no maps; run the audit with `maps = 56`"):
        cluster_run(Store(tmp_path), [0], rank(tmp_path))
    with pytest.raises(InputError, match="run `hansaudit clusters`"):
        export_virelay(Store(tmp_path), tmp_path / "out")


def test_a_class_without_an_image_has_no_clusters_and_spoils_nobody_elses(tmp_path):
    write_run(tmp_path, n_classes=3, per_class=[30, 0, 30], seed=0)
    store = Store(tmp_path)
    found = {c.label: c for c in cluster_run(store, [1, 0], rank(store))}
    assert (found[1].n, found[1].reason) == (0, "0 maps; clusters need at least 10")
    assert found[0].n >= 20
    assert cluster_run(store, [1], rank(store)) == [found[1]]


# -- which class


def test_a_run_of_one_class_has_clusters_but_nothing_to_compare_them_with(tmp_path):
    write_run(tmp_path, 1, 30, 0, thumbnails=False)
    store = Store(tmp_path)
    (found,) = cluster_run(store, [0], rank(store))
    assert found.n >= 20
    assert {(c.adjusted_lift, c.low, c.high, c.candidate) for c in found.clusters} == {
        (None, None, None, False)
    }
    assert json.loads(store.files.get("clusters.json"))["classes"][0]["clusters"][0]["adjusted_lift"] is None
    assert pq.read_table(tmp_path / CLUSTERS_TABLE)["adjusted_lift"].null_count == found.n


def test_find_class():
    names, ids = ("tench, Tinca tinca", "great white shark", "tiger shark", "tench"), ("n1", "n2", "n3", "n4")
    assert find_class("2", names, ids) == 2
    assert find_class("n2", names, ids) == 1
    assert find_class("Tiger Shark", names, ids) == 2
    assert find_class("tinca tinca", names, ids) == 0
    assert find_class("tench", names, ids) == 3  # the whole name wins over a synonym
    with pytest.raises(InputError, match="no such class; nearest: great white shark"):
        find_class("grate white shrak", names, ids)
    with pytest.raises(InputError, match="fits 2 classes"):
        find_class("crane", ("crane, bird", "crane, machine"))


def test_find_output():
    named = ModelCard(
        8, 8, shorter_side=8, class_names=("tench, Tinca tinca", "shark"), class_ids=("n1", "n2")
    )
    assert [find_output(named, text, 2) for text in ("1", "n1", " Tinca tinca", "SHARK")] == [1, 0, 0, 1]
    with pytest.raises(InputError, match="no such class; nearest: shark"):
        find_output(named, "sharks", 2)
    with pytest.raises(InputError, match=r"'2': there is no such class; .* give an index 0\.\.1"):
        find_output(named, "2", 2)
    with pytest.raises(InputError, match="2 outputs; valid: 0 to 1"):
        find_output(ModelCard(8, 8, shorter_side=8), "2", 2)
    with pytest.raises(InputError, match="names no classes; valid: topN or an output's number, 0 to 3"):
        find_output(ModelCard(8, 8, shorter_side=8), "shark", 4)


def test_a_run_looks_into_the_classes_that_it_accuses_by_itself(tmp_path):
    from flows.followups import cluster_accused
    from pipeline.config import Config, parse_config
    from pipeline.config_sections import RankingConfig, StrategiesConfig

    write_run(
        tmp_path, n_classes=12, per_class=30, seed=5, effect={0: -2.5, 1: -2.2, 7: -2.0}, thumbnails=False
    )
    store = Store(tmp_path)
    ranking = rank(store, RankingConfig(draws=200))
    accused = ranking.table.loc[ranking.table["verdict"] == "suspected", "label"].tolist()
    assert len(accused) >= 2
    cluster_accused(store, ranking, StrategiesConfig(classes=0))
    assert ClustersDocument.read(store) is None
    cluster_accused(store, ranking, StrategiesConfig(classes=2))
    assert {c.label for c in ClustersDocument.read(store).classes} == set(accused[:2])
    # neither section is part of a run's identity
    changed = parse_config({"strategies": {"classes": 2}, "interventions": {"images": 3}})
    assert changed.run_id == Config().run_id
