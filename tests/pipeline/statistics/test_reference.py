"""A run beside a reference network's: what was planted in one alone is an outlier, what both show is none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from pipeline.config_sections import RankingConfig
from pipeline.errors import InputError
from pipeline.run.documents import RankingDocument
from pipeline.run.folder import MANIFEST, REFERENCE_TABLE
from pipeline.run.reference import drop_reference, match_classes, read_reference, write_reference
from pipeline.run.store import Store
from pipeline.statistics.ranking import Ranking, rank
from pipeline.statistics.reference import is_outlier, ordinary_spread, outliers, typical_variance
from pipeline.statistics.reference_pairs import compare_with
from pipeline.statistics.resampling import class_means
from tests.edited_runs import write_edits
from tests.pipeline.statistics.test_comparison import jitter
from tests.tables import write_run

CONFIG = RankingConfig()
BOTH, ALONE = 2, 5  # classes that lie beside their objects in both networks, and in the audited one alone


def edit_manifest(run: Path, **changes: object) -> None:
    """Replace values of a manifest; ``a__b``: value b of the object a."""
    manifest = json.loads((run / MANIFEST).read_text())
    for name, value in changes.items():
        inner = manifest
        *path, last = name.split("__")
        for level in path:
            inner = inner[level]
        inner[last] = value
    (run / MANIFEST).write_text(json.dumps(manifest))


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Ten classes of 30 images; the reference explains every label and is another network."""
    folders = tmp_path / "run", tmp_path / "reference"
    for folder, effect in zip(folders, ({BOTH: -1.5, ALONE: -1.5}, {BOTH: -1.5}), strict=True):
        write_run(folder, 10, 30, 7, effect, maps=False, thumbnails=False, failures=0.02)
    jitter(folders[0], 0.2)
    target = json.loads((folders[1] / MANIFEST).read_text())
    target["config"]["audit"]["target"] = "label"
    (folders[1] / MANIFEST).write_text(json.dumps(target))
    _settle(folders[1])
    edit_manifest(folders[1], model__sha256="1" * 64, model__name="twin")
    return folders


def _settle(run: Path) -> None:
    """Id and canonical configuration as they belong to the configuration."""
    from pipeline.config import parse_config

    manifest = json.loads((run / MANIFEST).read_text())
    config = parse_config(manifest["config"])
    edit_manifest(run, run_id=config.run_id, canonical=config.canonical_json())


def compared(runs: tuple[Path, Path]) -> Ranking:
    run = Store(runs[0])
    write_reference(run, *compare_with(run, Store(runs[1]), "twin.keras"))
    return rank(run)


def test_only_what_the_reference_does_not_show_is_an_outlier(runs):
    before = rank(Store(runs[0])).table.set_index("label")
    assert {BOTH, ALONE} == set(before.index[before["verdict"] == "suspected"])
    assert before["q_reference"].isna().all()
    ranking = compared(runs)
    table = ranking.table.set_index("label")
    beyond = is_outlier(table["q_reference"].to_numpy(), table["reference_high"].to_numpy(), 0.05)
    assert table.index[beyond].tolist() == [ALONE]
    assert table.loc[ALONE, "reference_lift"] == pytest.approx(-1.5, abs=0.2)
    assert table.loc[BOTH, "reference_lift"] == pytest.approx(0, abs=0.2)
    assert table.loc[ALONE, "n_reference"] == table.loc[ALONE, "n"]
    document, _ = read_reference(Store(runs[0])) or pytest.fail("nothing stored")
    assert (document.name, document.classes, document.n_classes) == ("twin", 10, 10)
    assert document.images == np.isfinite(lifts(runs[1])).sum()
    assert document.notes == ()


def lifts(run: Path) -> np.ndarray:
    scores = Store(run).read("scores").to_pandas()
    return scores.loc[scores["metric"] == "lift", "value"].to_numpy(float)


def test_an_outlier_that_its_maps_do_not_show_is_suspected_and_never_confirmed(runs):
    """Every class lies beside its objects, so maps alone accuse none; one lies there more than it used to."""
    write_run(runs[0], 10, 30, 7, {ALONE: -0.7}, maps=False, thumbnails=False, failures=0.02)
    jitter(runs[0], 0.2)
    alone = rank(Store(runs[0])).table.set_index("label")
    assert alone.loc[ALONE, "verdict"] in ("undecided", "unremarkable")
    table = compared(runs).table.set_index("label")
    assert table.loc[ALONE, "map_verdict"] == alone.loc[ALONE, "map_verdict"]
    assert table.loc[ALONE, "verdict"] == "suspected"
    write_edits(runs[0], {ALONE: "independent"})
    assert rank(Store(runs[0])).table.set_index("label").loc[ALONE, "verdict"] == "cleared"


def test_classes_in_another_order_are_matched_by_id_and_by_name(runs):
    names = [f"class {k:03d}" for k in range(10)]
    own = {"class_ids": [f"s{k}" for k in range(10)], "class_names": names}
    turned = {"class_ids": own["class_ids"][::-1], "class_names": names}
    assert match_classes(own, turned, range(10)) == {k: 9 - k for k in range(10)}
    by_name = {"class_ids": ["x", "y"], "class_names": ["Class 003, third", "CLASS 001"]}
    assert match_classes(own, by_name, range(10)) == {1: 1}
    listed = {"class_ids": [], "class_names": ["class 003, third", "other"]}
    assert match_classes(own, listed, range(10)) == {3: 0}
    assert match_classes(own, {"class_ids": ["x"], "class_names": ["y"]}, range(10)) == {}


def test_a_run_of_its_own_answers_is_compared_where_it_is_right_and_says_so(runs):
    edit_manifest(runs[1], config__audit__target="predicted")
    _settle(runs[1])
    document, table = compare_with(Store(runs[0]), Store(runs[1]), "last")
    right = Store(runs[1]).read("examples", ["correct", "label"]).to_pandas()
    assert len(table) == int((right["correct"].eq(True) & (right["label"] >= 0)).sum()) < document.n_images
    assert any("--target label" in note for note in document.notes)


def test_what_differs_between_the_runs_is_said(runs):
    edit_manifest(runs[1], model__card__height=224, model__card__width=224)
    document, _ = compare_with(Store(runs[0]), Store(runs[1]), "last")
    (note,) = document.notes
    assert "224 x 224" in note
    assert "64 x 64" in note


def test_what_cannot_be_compared_is_one_clear_line(runs, tmp_path):
    run, reference = Store(runs[0]), Store(runs[1])
    edit_manifest(runs[1], model__sha256="0" * 64)
    with pytest.raises(InputError, match="the same network as the audited one \\(sha256 000000000000\\)"):
        compare_with(run, reference, "last")
    edit_manifest(runs[1], model__sha256="1" * 64, dataset__class_ids=list("abcdefghij"))
    edit_manifest(runs[1], dataset__class_names=[f"animal {k}" for k in range(10)])
    with pytest.raises(InputError, match="knows 0 of the 10 classes of this run, by id or by name"):
        compare_with(run, reference, "last")
    write_run(tmp_path / "copy", 10, 30, 7, {}, maps=False, thumbnails=False, failures=0.02)
    write_run(tmp_path / "same", 10, 30, 7, {}, maps=False, thumbnails=False, failures=0.02)
    edit_manifest(tmp_path / "same", model__sha256="2" * 64)
    with pytest.raises(InputError, match="maps lie on their objects alike to the last digit"):
        compare_with(Store(tmp_path / "copy"), Store(tmp_path / "same"), "last")


def test_a_run_on_other_images_is_refused(runs, monkeypatch):
    from pipeline.statistics import reference_pairs

    plain = reference_pairs._images

    def renamed(run: Store, method: str):
        frame = plain(run, method)
        return frame.assign(example_id="other " + frame["example_id"]) if "reference" in run.path else frame

    monkeypatch.setattr(reference_pairs, "_images", renamed)
    with pytest.raises(InputError, match=r"shares none of the \d+ images"):
        compare_with(Store(runs[0]), Store(runs[1]), "last")


def test_one_class_has_a_difference_and_no_test(tmp_path):
    for name, effect in (("run", {0: -1.0}), ("reference", {})):
        write_run(tmp_path / name, 1, 30, 7, effect, maps=False, thumbnails=False, failures=0)
    edit_manifest(tmp_path / "reference", model__sha256="1" * 64)
    jitter(tmp_path / "run", 0.1)
    (row,) = compared((tmp_path / "run", tmp_path / "reference")).table.to_dict("records")
    assert row["reference_lift"] == pytest.approx(-1.0, abs=0.1)
    assert row["reference_low"] < row["reference_lift"] < row["reference_high"]
    assert np.isnan(row["q_reference"])


def test_edited_images_are_compared_image_by_image(runs):
    """Both need the background of class 0, the audited network alone that of class 1."""
    write_edits(runs[0], {0: "depends", 1: "depends", 2: "independent"})
    write_edits(runs[1], {0: "depends", 1: "independent", 2: "independent"})
    run = Store(runs[0])
    pairs, table = compare_with(run, Store(runs[1]), "twin")
    # the drawn pictures of tests.edited_runs have ids of their own, which no audited image has
    assert pairs.edited == 0
    ids = Store(runs[0]).read("examples", ["example_id", "label"]).to_pandas()
    for folder in runs:
        rename_edited(folder, ids)
    table = compared(runs).table.set_index("label")
    assert table.loc[0, "reference_effect"] == pytest.approx(0, abs=0.03)
    assert table.loc[1, "reference_effect"] == pytest.approx(0.7, abs=0.03)  # 0.8 - 0.1, less 0.1 - 0.1
    assert table.loc[1, "reference_effect_low"] > 0.6
    assert table["reference_effect"].notna().sum() == 3


def rename_edited(folder: Path, ids) -> None:
    """Give the edited pictures the ids of audited images of their class."""
    import pyarrow as pa

    from pipeline.run.edited_parts import EditedParts
    from pipeline.schema import INTERVENTIONS

    parts = EditedParts(Store(folder))
    frame = parts.read().to_pandas()
    of_class = {label: rows["example_id"].tolist() for label, rows in ids.groupby("label")}
    named = [of_class[int(k.split("-")[0])][int(k.split("-")[1])] for k in frame["example_id"]]
    rows = pa.Table.from_pandas(frame.assign(example_id=named), INTERVENTIONS, preserve_index=False)
    parts.drop_others((), "")
    EditedParts(Store(folder)).write("all", rows, {"passes": "1"})


def test_a_ranking_knows_which_comparison_it_rests_on(runs):
    run = Store(runs[0])
    rank(run).document().write(run)
    assert RankingDocument.current(run) is not None
    compared(runs)
    assert "another comparison with a reference" in (RankingDocument.read(run).misfit(run) or "")
    rank(run).document().write(run)
    assert RankingDocument.current(run) is not None
    drop_reference(run)
    assert RankingDocument.current(run) is None
    assert rank(run).table["reference_lift"].isna().all()


def test_a_table_that_is_not_what_was_written_is_refused(runs):
    compared(runs)
    raw = (runs[0] / REFERENCE_TABLE).read_bytes()
    (runs[0] / REFERENCE_TABLE).write_bytes(raw[:-100])
    with pytest.raises(InputError, match="cannot be read"):
        rank(Store(runs[0]))
    write_reference(Store(runs[0]), *compare_with(Store(runs[0]), Store(runs[1]), "another"))
    other = compare_with(Store(runs[0]), Store(runs[1]), "another")[1].slice(1)
    import pyarrow.parquet as pq

    pq.write_table(other, runs[0] / REFERENCE_TABLE)
    with pytest.raises(InputError, match="not what was written"):
        rank(Store(runs[0]))


# -- the test itself


def drawn(n_classes: int, per_class: int, seed: int, shift: dict[int, float] | None = None, share: float = 1):
    """Differences of images without any curve: normal, and ``shift`` on a ``share`` of a class's images."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(n_classes), per_class)
    area, distance = rng.uniform(0.1, 0.7, len(label)), rng.uniform(0, 0.5, len(label))
    difference = 0.3 * rng.standard_normal(len(label)) + 0.05 * rng.standard_normal(n_classes)[label]
    for k, value in (shift or {}).items():
        difference += np.where((label == k) & (rng.random(len(label)) < share), value, 0)
    return difference, area, distance, np.arange(n_classes + 1) * per_class


def test_typical_variance_is_that_of_most_classes():
    values = np.array([0.0, 2.0, 5.0, 5.5, 1.0, 4.0, 9.0, 100.0])
    bounds = np.array([0, 2, 4, 6, 8])
    pairs = [2.0, 0.125, 4.5, 4140.5]  # (x - y)^2 / 2
    expected = np.median(pairs) / stats.chi2.ppf(0.5, 1)
    assert typical_variance(values, bounds, np.ones(4, bool)) == pytest.approx(expected)
    among = np.array([True, True, True, False])
    assert typical_variance(values, bounds, among) == pytest.approx(2.0 / stats.chi2.ppf(0.5, 1))
    assert np.isnan(typical_variance(values[:2], np.array([0, 1, 2]), np.ones(2, bool)))


def test_what_all_classes_share_changes_nothing():
    values = drawn(12, 15, 1, {3: -0.6})
    plain, moved = outliers(*values, CONFIG), outliers(values[0] + 5.0, *values[1:], CONFIG)
    for name in ("mean", "low", "high", "p", "q"):
        np.testing.assert_allclose(getattr(moved, name), getattr(plain, name), atol=1e-6)


def test_a_mark_on_a_part_of_the_images_does_not_hide_itself_by_its_spread():
    """On a third of the images: their spread alone would leave the t test of the class nothing to say."""
    values = drawn(100, 15, 4, dict.fromkeys(range(6), -1.2), share=0.4)
    found = outliers(*values, CONFIG)
    beyond = np.flatnonzero(is_outlier(found.q, found.high, 0.05)).tolist()
    assert set(beyond) <= set(range(6))
    assert len(beyond) >= 4


def test_classes_at_which_the_reference_is_at_fault_hide_no_outlier():
    """Two classes far above the others would pass for a spread of ordinary classes."""
    values = drawn(20, 15, 5, {0: -0.8, 1: 2.5, 2: 3.0})
    found = outliers(*values, CONFIG)
    assert np.flatnonzero(is_outlier(found.q, found.high, 0.05)).tolist() == [0]
    assert found.tau < 0.2


def test_ordinary_spread_is_that_of_the_classes_above():
    mean = np.random.default_rng(0).normal(0, 0.4, 4000)
    variance = np.full(4000, 0.03)
    tau2, classes = ordinary_spread(mean, variance)
    assert tau2 == pytest.approx(0.4**2 - 0.03, rel=0.06)
    assert classes == pytest.approx(2004, abs=100)
    lower = np.where(mean < 0, 10 * mean, mean)  # faults lie below, and say nothing of it
    assert ordinary_spread(lower, variance) == (tau2, classes)


def test_nothing_but_noise_accuses_nobody():
    runs = [outliers(*drawn(30, 12, 100 + seed), CONFIG) for seed in range(40)]
    assert sum(is_outlier(r.q, r.high, 0.05).any() for r in runs) <= 4


def test_differences_that_are_all_alike_have_no_test():
    difference, area, distance, bounds = drawn(3, 5, 0)
    none = outliers(np.zeros_like(difference), area, distance, bounds, CONFIG)
    assert np.isnan(none.q).all()
    assert not is_outlier(none.q, none.high, 0.05).any()
    np.testing.assert_array_equal(class_means(np.zeros_like(difference), bounds), 0)
