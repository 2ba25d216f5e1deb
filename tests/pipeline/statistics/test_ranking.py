"""From a run folder to a ranking: planted effects, verdicts, baselines, bad input, shards."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.columns import RANKING
from pipeline.config_sections import RankingConfig
from pipeline.errors import InputError
from pipeline.schema import SCORES
from pipeline.statistics.decision import map_verdicts
from pipeline.statistics.ranking import rank
from pipeline.verdicts import MapVerdict
from tests.tables import write_run

EFFECT = {2: -2.0, 5: -1.5}
SUSPICIOUS, UNFOCUSED, UNDECIDED, UNREMARKABLE = MapVerdict
QUICK = RankingConfig(draws=300)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    return path, write_run(path, 10, 40, 7, EFFECT, thumbnails=False, failures=0.02)


@pytest.fixture(scope="module")
def ranking(run):
    return rank(run[0], QUICK)


def test_planted_classes_come_first(ranking):
    assert ranking.table["label"].head(2).tolist() == [2, 5]
    assert ranking.table["map_verdict"].head(2).tolist() == [SUSPICIOUS, SUSPICIOUS]
    assert ranking.table["planted"].tolist() == [True, True] + [False] * 8
    assert ranking.table["verdict"].head(2).tolist() == ["suspected"] * 2
    assert ranking.summary["map_verdicts"][SUSPICIOUS] == ranking.summary["verdicts"]["suspected"] == 2
    assert ranking.table["rank"].tolist() == list(range(1, 11))


def test_columns_and_means_follow_the_truth(run, ranking):
    truth = run[1].examples
    assert tuple(ranking.table.columns) == tuple(RANKING)
    row = ranking.table.set_index("label").loc[4]
    own = truth[truth["label"] == 4]
    seen = own[own["status"] != "failed"]
    used = own[(own["status"] == "ok") & own["correct"]]
    assert (row["n"], row["n_images"]) == (len(used), 40)
    assert row["n_undefined"] == (own["status"] != "ok").sum()
    assert row["n_boxed"] == (own["status"] == "ok").sum()
    assert row["n_correct"] == seen["correct"].sum()
    odds = used["mass"] / (1 - used["mass"])
    expected = {
        "accuracy": seen["correct"].mean(),
        "confidence": seen["confidence"].mean(),
        "box_area": used["box_area"].mean(),
        "mass": used["mass"].mean(),
        "lift": used["lift"].mean(),
        "ratio": odds.mean(),
        "ratio_pooled": used["mass"].sum() / (1 - used["mass"]).sum(),
    }
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-5), name


STORED = """rank label class_id class_name n n_images n_correct accuracy confidence
    box_area n_boxed n_undefined
    ratio ratio_pooled ratio_rank mass lift adjusted_lift adjusted_lift_raw
    adjusted_lift_lower low high p_relative q_relative
    p_absolute p_exchange p_shift q_absolute power_absolute verdict map_verdict tested n_edited
    effect effect_shrunk effect_low effect_high q_effect sufficiency necessity background_gap n_reference
    reference_lift reference_low reference_high reference_lift_lower q_reference
    reference_effect reference_effect_low reference_effect_high
    reference_transfer reference_transfer_low reference_transfer_high reference_transfer_added
    transferred n_windows transfer transfer_low transfer_high transfer_upper
    transfer_share transfer_added transfer_control transfer_elsewhere q_transfer group_share
    group_share_low group_share_high group_transfer moved_transfer holds evidence
    n_needed small_box_rank low_accuracy_rank constant_map_rank finding planted"""


def test_columns_have_the_type_and_range_that_they_declare(ranking):
    assert list(RANKING) == STORED.split()  # ranking.csv, which others read
    types = {
        "integer": pd.api.types.is_integer_dtype,
        "number": pd.api.types.is_float_dtype,
        "text": lambda dtype: pd.api.types.is_string_dtype(dtype) or dtype in (object,),
        "flag": lambda dtype: dtype in (bool, object),  # null where the dataset says nothing
    }
    for name, column in RANKING.items():
        values = ranking.table[name]
        assert types[column.kind](values.dtype), name
        if column.unit in ("fraction", "probability"):
            assert values.dropna().between(0, 1).all(), name


def test_adjusted_lifts_are_found_by_the_place_in_the_split(ranking):
    lifts = dict(zip(ranking.images["index"], ranking.images["adjusted_lift"], strict=True))
    index = np.array([399, *list(lifts)[:3], -1, 4_000, 0])
    expected = [lifts.get(i, np.nan) for i in index.tolist()]
    np.testing.assert_array_equal(ranking.adjusted_lift(index), expected)
    assert (ranking.places(index) >= 0).tolist() == [i in lifts for i in index.tolist()]
    nothing = replace(ranking, images=ranking.images[:0])
    assert nothing.places(index).tolist() == [-1] * 7


def test_baselines_are_ranks_of_their_columns(ranking):
    table = ranking.table
    for name, column in (
        ("ratio_rank", "ratio"),
        ("small_box_rank", "box_area"),
        ("low_accuracy_rank", "accuracy"),
    ):
        order = table.sort_values(column)["label"].tolist()
        assert table.sort_values(name)["label"].tolist() == order
    assert set(ranking.summary["correlations"]) == {"ratio", "small_box", "low_accuracy", "constant_map"}


def test_summary_counts_every_image(run, ranking):
    counts = run[1].examples["status"].value_counts().to_dict()
    assert {k: v for k, v in ranking.summary["statuses"].items() if v} == counts
    assert ranking.summary["n_images"] == 400
    assert ranking.summary["n_images_used"] == ranking.table["n"].sum() == len(ranking.images)
    assert sum(ranking.summary["verdicts"].values()) == ranking.summary["n_classes"] == 10


def test_per_image_frame_agrees_with_the_table(ranking):
    frame = ranking.images
    np.testing.assert_allclose(frame["lift"] - frame["expected"], frame["adjusted_lift"])
    means = frame.groupby("label")["adjusted_lift"].mean()
    raw = ranking.table.set_index("label")["adjusted_lift_raw"].sort_index()
    np.testing.assert_allclose(means, raw)
    lowest = frame.groupby("label")["adjusted_lift"].apply(lambda v: v.nsmallest(round(len(v) / 4)).mean())
    lower = ranking.table.set_index("label")["adjusted_lift_lower"].sort_index()
    np.testing.assert_allclose(lowest, lower)


def test_shrunken_means_stay_inside_their_intervals(ranking):
    table = ranking.table
    assert ((table["low"] <= table["adjusted_lift"]) & (table["adjusted_lift"] <= table["high"])).all()
    assert (table["adjusted_lift"].abs() <= table["adjusted_lift_raw"].abs() + 1e-12).all()


def test_what_is_stored_holds_the_table(ranking):
    content = json.loads(ranking.document().text(), parse_constant=pytest.fail)
    assert [c["label"] for c in content["classes"]] == ranking.table["label"].tolist()
    assert tuple(content["classes"][0]) == tuple(RANKING)
    assert content["method"] == ranking.method
    assert content["classes"][0]["n_needed"] is None
    csv = pd.read_csv(io.StringIO(ranking.csv()))
    np.testing.assert_allclose(csv["adjusted_lift"], ranking.table["adjusted_lift"], rtol=1e-7)


def test_neither_size_nor_order_of_the_shards_matters(tmp_path, run, ranking):
    write_run(tmp_path, 10, 40, 7, EFFECT, thumbnails=False, failures=0.02, shard_size=33)
    again = rank(tmp_path, QUICK)
    pd.testing.assert_frame_equal(ranking.table, again.table, rtol=1e-9)
    pd.testing.assert_frame_equal(ranking.table, rank(run[0], QUICK).table, rtol=0)


def test_all_images_may_be_ranked(run, ranking):
    every = rank(run[0], QUICK.model_copy(update={"images": "all"}))
    assert every.table["n"].sum() == (run[1].examples["status"] == "ok").sum() > ranking.table["n"].sum()


def test_adjustment_removes_the_size_of_the_box(tmp_path):
    write_run(tmp_path, 40, 25, 3, maps=False, thumbnails=False)
    summary = rank(tmp_path, QUICK).summary
    assert summary["ratio_correlations"]["small_box"] > 0.4  # the chapter's ratio follows the boxes
    assert abs(summary["correlations"]["small_box"]) < 0.35
    assert not summary["absolute_test"]


def test_expected_curve_is_the_one_that_was_drawn(tmp_path):
    truth = write_run(tmp_path, 20, 60, 3, maps=False, thumbnails=False)
    curve = rank(tmp_path, QUICK).summary["expected"]
    area = np.array(curve["box_area"])
    z = np.log(area / (1 - area))
    distance = truth.examples["box_distance"].median()
    middle = np.abs(z) < 2
    expected = 0.9 - 0.45 * z - 0.04 * z**2 - 0.8 * distance
    np.testing.assert_allclose(np.array(curve["lift"])[middle], expected[middle], atol=0.15)


# -- verdicts


def row(**changes):
    base = {
        "n": 20,
        "low": -0.3,
        "high": 0.3,
        "q_relative": 0.8,
        "q_absolute": 0.001,
        "power_absolute": 1.0,
    }
    return base | changes


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, UNREMARKABLE),
        ({"q_relative": 0.05, "low": -1.0, "high": -0.1}, SUSPICIOUS),
        ({"q_relative": 0.051, "low": -1.0, "high": -0.1}, UNDECIDED),
        ({"q_relative": 0.2, "low": -0.4, "high": -0.1}, UNREMARKABLE),
        ({"low": -0.5, "high": 0.2}, UNDECIDED),
        ({"q_absolute": 0.3}, UNFOCUSED),
        ({"q_absolute": 0.3, "power_absolute": 0.94}, UNREMARKABLE),
        ({"q_absolute": math.nan, "power_absolute": math.nan}, UNREMARKABLE),
        ({"q_absolute": 0.3, "q_relative": 0.01, "low": -1.0, "high": -0.1}, SUSPICIOUS),
        ({"n": 4, "q_relative": math.nan, "q_absolute": math.nan, "high": -0.1}, UNDECIDED),
        ({"low": math.nan, "high": math.nan}, UNDECIDED),
    ],
)
def test_verdict(changes, expected):
    assert map_verdicts(pd.DataFrame([row(**changes)]), RankingConfig()).tolist() == [expected]


# -- little or bad input


def test_classes_with_few_images_are_undecided_and_say_how_many_they_need(tmp_path):
    counts = [1, 2, 4, 40, 40, 40]
    write_run(tmp_path, 6, counts, 0, {0: -4.0}, thumbnails=False, failures=0.0)
    table = rank(tmp_path, QUICK.model_copy(update={"images": "all"})).table.set_index("label")
    assert table.loc[[0, 1, 2], "verdict"].tolist() == [UNDECIDED] * 3
    assert (table.loc[[0, 1, 2], "n_needed"] >= 5).all()
    assert table.loc[[0, 1, 2], "q_relative"].isna().all()
    assert np.isfinite(table["adjusted_lift"]).all()
    decided = table[table["map_verdict"] != UNDECIDED]
    assert decided["n_needed"].isna().all()


def rewrite(folder, change):
    for part in sorted(folder.iterdir()):
        pq.write_table(change(pq.read_table(part)), part)


def test_classes_without_correct_images_or_boxes(tmp_path):
    write_run(tmp_path, 4, 30, 0, thumbnails=False, failures=0.0)

    def change(table):
        label = table["label"].to_numpy()
        columns = {
            "correct": pa.array(table["correct"].to_numpy() & (label != 1)),
            "box_area": pa.array(
                np.where(label == 2, np.nan, table["box_area"].to_numpy()), pa.float32(), from_pandas=True
            ),
            "status": pa.array(np.where(label == 2, "no_box", "ok"))
            .dictionary_encode()
            .cast(table.schema.field("status").type),
        }
        for name, values in columns.items():
            table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)
        return table

    rewrite(tmp_path / "examples", change)
    table = rank(tmp_path, QUICK).table.set_index("label")
    assert table.loc[[1, 2], "n"].tolist() == [0, 0]
    assert table.loc[[1, 2], "verdict"].tolist() == [UNDECIDED, UNDECIDED]
    assert table.loc[[1, 2], ["ratio", "lift", "adjusted_lift", "low"]].isna().all(axis=None)
    assert (table.loc[[1, 2], "n_needed"] > 0).all()
    assert table.loc[1, "accuracy"] == 0.0
    assert table.loc[2, "n_undefined"] == 30


def test_a_single_class_and_a_single_image(tmp_path):
    write_run(tmp_path / "one", 1, 20, 0, thumbnails=False)
    only = rank(tmp_path / "one", QUICK).table
    assert only["map_verdict"].tolist() == [UNDECIDED]
    assert only["adjusted_lift"].isna().all()
    write_run(tmp_path / "pair", 2, 1, 0, thumbnails=False, failures=0.0)
    pair = rank(tmp_path / "pair", QUICK.model_copy(update={"images": "all"}))
    assert pair.table["map_verdict"].tolist() == [UNDECIDED] * 2
    assert json.loads(pair.document().text(), parse_constant=pytest.fail)["classes"][0]["n_images"] == 1


def test_metrics_missing_for_some_shards(tmp_path):
    write_run(tmp_path, 5, 60, 0, maps=False, thumbnails=False, failures=0.0)
    whole = rank(tmp_path, QUICK).summary["n_images_used"]
    first = sorted((tmp_path / "scores").iterdir())[0]
    pq.write_table(SCORES.empty_table(), first)
    found = rank(tmp_path, QUICK)
    assert 0 < found.summary["n_images_used"] < whole
    assert found.table["n_undefined"].sum() == 128
    assert found.table["n_images"].sum() == 300


def test_metrics_that_were_not_stored(tmp_path):
    write_run(tmp_path, 5, 20, 0, maps=False, thumbnails=False)

    def without(*names):
        return lambda t: t.filter(pc.invert(pc.is_in(t["metric"].cast(pa.string()), pa.array(names))))

    rewrite(tmp_path / "scores", without("ratio", "relevance_in"))
    table = rank(tmp_path, QUICK).table
    assert table[["ratio", "ratio_pooled", "ratio_rank"]].isna().all(axis=None)
    assert table["adjusted_lift"].notna().all()
    rewrite(tmp_path / "scores", without("lift"))
    with pytest.raises(InputError, match=r'no \'lift\'.*add "lift"'):
        rank(tmp_path, QUICK)


def test_labels_outside_the_classes_are_counted_not_ranked(tmp_path):
    write_run(tmp_path, 3, 20, 0, maps=False, thumbnails=False)

    def change(table):
        label = table["label"].to_numpy()
        values = pa.array(np.where(label == 2, -1, label), pa.int32())
        return table.set_column(table.schema.get_field_index("label"), table.schema.field("label"), values)

    rewrite(tmp_path / "examples", change)
    found = rank(tmp_path, QUICK)
    assert found.summary["n_outside"] == 20
    assert sorted(found.table["label"]) == [0, 1]


def test_errors_name_what_is_valid(tmp_path, run):
    with pytest.raises(InputError, match=r"no manifest\.json"):
        rank(tmp_path)
    with pytest.raises(InputError, match=r"'lrp\.preset_b'; did you mean 'lrp\.preset_a'"):
        rank(run[0], QUICK.model_copy(update={"method": "lrp.preset_b"}))


def test_shards_that_disagree_are_refused(tmp_path):
    write_run(tmp_path, 3, 60, 0, maps=False, thumbnails=False)
    part = sorted((tmp_path / "scores").iterdir())[0]
    table = pq.read_table(part)
    pq.write_table(table.drop_columns(["value"]), part)
    with pytest.raises(InputError, match=r"column 'value' is missing"):
        rank(tmp_path)
    wrong = table.set_column(SCORES.get_field_index("value"), "value", table["value"].cast(pa.float32()))
    pq.write_table(wrong, part)
    with pytest.raises(InputError, match=r"'value' is of type float; expected double"):
        rank(tmp_path)
    part.write_bytes(b"PAR1")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        rank(tmp_path)


def test_an_image_in_two_shards_is_refused(tmp_path):
    write_run(tmp_path, 3, 60, 0, maps=False, thumbnails=False, shard_size=60)
    first, second, _ = sorted((tmp_path / "examples").iterdir())
    second.write_bytes(first.read_bytes())
    with pytest.raises(InputError, match=r"image 0 is in two shards \(60 such images\)"):
        rank(tmp_path)


def test_a_shard_that_is_not_planned_is_refused(tmp_path):
    write_run(tmp_path, 3, 60, 0, maps=False, thumbnails=False)
    part = sorted((tmp_path / "examples").iterdir())[0]
    part.with_name("part-validation-000000000-000000999.parquet").write_bytes(part.read_bytes())
    with pytest.raises(InputError, match=r"000000999\.parquet: a shard that is not planned; .* --repair"):
        rank(tmp_path)


def test_an_unfinished_run_without_any_shard(tmp_path):
    write_run(tmp_path, 2, 5, 0, maps=False, thumbnails=False)
    for part in (tmp_path / "examples").iterdir():
        part.unlink()
    with pytest.raises(InputError, match="no shard is finished"):
        rank(tmp_path)


def test_ranking_never_loads_tensorflow(run):
    code = (
        "import sys; from pipeline.statistics.ranking import rank; rank(sys.argv[1]);"
        "sys.exit(bool({'tensorflow', 'keras', 'explainers', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(run[0])], check=False).returncode == 0
