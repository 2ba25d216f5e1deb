"""The groups of a run against figures that are written out, exact tests, and a planted worst group."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

from pipeline.config_sections import RankingConfig
from pipeline.run.block_parts import block_key
from pipeline.run.documents import GroupRow, GroupsDocument
from pipeline.run.edited_parts import EditedParts
from pipeline.run.store import Store
from pipeline.schema import INTERVENTIONS
from pipeline.statistics.groups import (
    class_rows,
    equal_shares_p,
    group_statistics,
    image_effects,
    looks_like_id,
)
from pipeline.statistics.ranking import rank
from tests.tables import draw_examples, write_run

QUICK = RankingConfig(draws=400)


def images(cells: dict[tuple[int, str | None], tuple[int, int]]) -> pd.DataFrame:
    """(label, group) -> (images, right ones), with a lift that is 0 on the right ones."""
    rows = [
        {"label": label, "group": group, "correct": float(i < right), "lift": 0.0 if i < right else np.nan}
        for (label, group), (n, right) in cells.items()
        for i in range(n)
    ]
    return pd.DataFrame(rows)


def named(rows: tuple[GroupRow, ...]) -> list[tuple[str | None, str | None]]:
    return [(row.class_name, row.group) for row in rows]


def test_worst_first_then_the_few_then_the_unknown() -> None:
    rows = class_rows(
        images(
            {
                (0, "land"): (50, 40),
                (0, "water"): (20, 10),
                (1, "land"): (250, 68),
                (1, "water"): (300, 290),
                (1, "air"): (2, 0),
                (0, None): (40, 0),
            }
        ),
        QUICK,
        ["landbird", "waterbird"],
    )
    assert named(rows) == [
        ("waterbird", "land"),
        ("landbird", "water"),
        ("landbird", "land"),
        ("waterbird", "water"),
        ("waterbird", "air"),
        ("landbird", None),
    ]
    worst, few = rows[0], rows[4]
    expected = stats.binomtest(68, 250).proportion_ci(method="wilson")
    assert worst.accuracy.mean == 68 / 250
    assert (worst.accuracy.low, worst.accuracy.high) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert (few.accuracy.n, few.accuracy.mean, few.accuracy.low, few.accuracy.high) == (2, 0.0, None, None)


def test_the_interval_of_the_lift_is_of_the_images_that_have_one() -> None:
    rng = np.random.default_rng(4)
    table = images({(0, "a"): (60, 60), (0, "b"): (60, 60)})
    lift = rng.normal(0, 1, 120) + np.repeat([-2.0, 0.5], 60)
    lift[:20] = np.nan  # wrongly classified, say
    rows = {row.group: row for row in class_rows(table.assign(lift=lift), QUICK, ["only"])}
    for group, of_group in (("a", lift[20:60]), ("b", lift[60:])):
        estimate = rows[group].lift
        assert estimate.n == len(of_group)
        assert estimate.mean == pytest.approx(of_group.mean())
        half = stats.t.ppf(0.975, len(of_group) - 1) * stats.sem(of_group)
        assert (estimate.low, estimate.high) == pytest.approx(
            (of_group.mean() - half, of_group.mean() + half), abs=0.08
        )


def test_the_test_of_two_groups_is_the_exact_one() -> None:
    """With two groups chi-square orders the tables as Fisher's test of equal margins does."""
    right, n = np.array([12, 18]), np.array([20, 20])
    p = equal_shares_p(right, n, 20_000, np.random.default_rng(0))
    exact = stats.fisher_exact([[12, 8], [18, 2]]).pvalue
    assert p == pytest.approx(exact, abs=0.006)
    assert np.isnan(equal_shares_p(right[:1], n[:1], 100, np.random.default_rng(0)))
    assert equal_shares_p(n, n, 100, np.random.default_rng(0)) == 1.0


def test_groups_that_do_not_differ_are_not_found_to_differ() -> None:
    """By the construction of the test p is no smaller than uniform: at most 5 % + 3 standard errors."""
    rng, below = np.random.default_rng(1), 0
    for _ in range(400):
        n = rng.integers(2, 40, 4)
        below += equal_shares_p(rng.binomial(n, 0.7), n, 200, rng) <= 0.05
    assert below <= 400 * 0.05 + 3 * np.sqrt(400 * 0.05 * 0.95)


def planted(path: Path, groups: int = 2) -> Store:
    """Class 1 is wrong on most of its images of group g0; some images have no group."""
    frame = draw_examples(4, 120, 3)
    rng = np.random.default_rng(5)
    frame["group"] = pd.Series([f"g{k}" for k in rng.integers(0, groups, len(frame))], dtype=object)
    bad = (frame["label"] == 1) & (frame["group"] == "g0")
    frame.loc[bad, "correct"] = rng.random(bad.sum()) < 0.2
    frame.loc[~bad, "correct"] = rng.random((~bad).sum()) < 0.9
    frame["group"] = frame["group"].where(frame.index >= 30, None)
    frame["prediction"] = np.where(frame["correct"], frame["label"], (frame["label"] + 1) % 4).astype(
        np.int32
    )
    write_run(path, 4, 120, 3, maps=False, thumbnails=False, ranking=QUICK.model_dump(), examples=frame)
    return Store(path)


def test_a_run_with_a_planted_worst_group(tmp_path: Path) -> None:
    store = planted(tmp_path)
    groups = group_statistics(store, rank(store))
    assert groups is not None
    assert groups.worst is not None
    assert (groups.worst.label, groups.worst.group) == (1, "g0")
    q = {row.label: row.q for row in groups.rows}
    assert q[1] is not None
    assert q[1] < 0.02
    assert all(value is not None and value > 0.05 for label, value in q.items() if label != 1)
    assert groups.n_groups == 2
    assert groups.n_unknown == 30
    table = store.read("examples", ["label", "group", "correct"]).to_pandas()
    shares = table.groupby(["label", "group"], observed=True)["correct"].apply(
        lambda c: c.astype(float).mean()
    )
    assert groups.mean_accuracy == pytest.approx(shares.mean())
    assert groups.worst.accuracy.mean == pytest.approx(shares.min())
    ranked = rank(store).images.merge(store.read("examples", ["index", "group"]).to_pandas(), on="index")
    lifts = ranked.groupby(["label", "group"], observed=True)["adjusted_lift"].mean()
    assert groups.worst.lift.mean == pytest.approx(lifts[1, "g0"])
    whole = {row.group: row.accuracy.n for row in groups.overall}
    assert whole["g0"] == ((table["group"] == "g0") & table["correct"].notna()).sum()


def test_effects_are_joined_by_image_and_left_out_where_there_are_none(tmp_path: Path) -> None:
    store = planted(tmp_path)
    table = store.read("examples", ["example_id", "label", "group"]).to_pandas()
    own = table[(table["label"] == 1) & (table["group"] == "g0")]["example_id"][:8]
    effects = pd.DataFrame({"sufficiency": np.linspace(0, 0.7, 8)}, index=list(own))
    groups = group_statistics(store, rank(store), effects)
    assert groups is not None
    assert groups.worst is not None
    assert groups.worst.effects["sufficiency"].n == 8
    assert groups.worst.effects["sufficiency"].mean == pytest.approx(0.35)
    assert groups.rows[-1].effects["sufficiency"].mean is None
    head, *lines = csv.reader(io.StringIO(groups.csv()))
    assert head[head.index("sufficiency") :][:4] == [f"sufficiency{e}" for e in ("", "_low", "_high", "_n")]
    assert len(lines) == len(groups.rows) + len(groups.overall)
    assert all(len(line) == len(head) for line in lines)
    without = group_statistics(store, rank(store))
    assert without is not None
    assert "sufficiency" not in without.csv()


def test_effects_come_from_the_edited_images(tmp_path: Path) -> None:
    store = planted(tmp_path)
    assert image_effects(store) is None
    table = store.read("examples", ["example_id", "label"]).to_pandas().iloc[:6]
    told = {"same:0": 0.75, "same:1": 0.25, "other:0": 0.125, "same_object:0": 1.0, "other_object:0": 0.5}
    rows = [
        {"example_id": r.example_id, "label": r.label, "edit": edit, "probability": p, "predicted": 0}
        for r in table.itertuples()
        for edit, p in told.items()
        if not (edit == "other:0" and r.Index == 0)  # one could not be edited so
    ]
    EditedParts(store).write(block_key("all", {}), pa.Table.from_pylist(rows, schema=INTERVENTIONS), {})
    effects = image_effects(store)
    assert effects is not None
    assert sorted(effects.index) == sorted(table["example_id"])
    first, other = effects.loc[table["example_id"].iloc[0]], effects.loc[table["example_id"].iloc[1]]
    assert np.isnan(first["sufficiency"])
    assert other["sufficiency"] == pytest.approx(0.375)
    assert first["necessity"] == other["necessity"] == 0.5
    groups = group_statistics(store, rank(store), effects)
    assert groups is not None
    assert sum(row.effects["necessity"].n for row in groups.rows) == 6
    assert sum(row.effects["sufficiency"].n for row in groups.rows) == 5


@pytest.mark.parametrize(
    ("groups", "images", "is_id"),
    [
        (2, 4, False),
        (20, 20, False),
        (21, 62, True),
        (21, 63, False),
        (1000, 90_000, False),
        (1001, 90_000, True),
    ],
)
def test_what_looks_like_an_id(groups: int, images: int, is_id: bool) -> None:
    assert looks_like_id(groups, images) == is_id


def test_thousands_of_groups_are_one_line(tmp_path: Path) -> None:
    store = planted(tmp_path, groups=100_000)
    groups = group_statistics(store, rank(store))
    assert groups is not None
    assert (groups.rows, groups.overall, groups.worst) == ((), (), None)
    assert "different groups over 450 images: that looks like an id" in (groups.note or "")


def test_one_group_is_nothing_to_compare(tmp_path: Path) -> None:
    store = planted(tmp_path, groups=1)
    groups = group_statistics(store, rank(store))
    assert groups is not None
    assert groups.worst is None
    assert groups.note == "all images are of one group: there is nothing to compare"


def test_without_groups_there_is_no_document(tmp_path: Path) -> None:
    write_run(tmp_path, 3, 20, 3, maps=False, thumbnails=False, ranking=QUICK.model_dump())
    assert group_statistics(Store(tmp_path), rank(tmp_path)) is None


def test_the_document_reads_back_as_it_was_written(tmp_path: Path) -> None:
    store = planted(tmp_path)
    groups = group_statistics(store, rank(store))
    assert groups is not None
    store.files.put(groups.TABLE, groups.csv().encode())
    groups.write(store)
    assert GroupsDocument.current(store) == groups
