"""Boxes without masks against masks; the absolute test against loops over drawn masks."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config_sections import RankingConfig
from pipeline.run.ranking_settings import ranking_method
from pipeline.run.store import Store
from pipeline.seeds import Purpose
from pipeline.statistics import absolute
from pipeline.statistics.absolute import PARTNERS, Used, absolute_test, area_strata
from pipeline.statistics.boxes import draw, inside, masks_from, tiled_sums, union
from tests.tables import CELLS, INPUT, write_run

SIDE = 12
corner = st.integers(0, SIDE - 1)
box = st.tuples(corner, corner, corner, corner).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]) + 1, max(c[1], c[3]) + 1)
)


def painted(rectangles, side=SIDE):
    mask = np.zeros((side, side))
    for left, top, right, bottom in np.asarray(rectangles, dtype=int):
        mask[top:bottom, left:right] = 1
    return mask


@given(st.lists(box, min_size=1, max_size=5))
def test_union_covers_the_same_pixels_once(boxes):
    found = union(np.array(boxes, dtype=float))
    area = (found[:, 2] - found[:, 0]) * (found[:, 3] - found[:, 1])
    np.testing.assert_array_equal(painted(found), painted(boxes))
    assert area.sum() == painted(boxes).sum()


@given(st.lists(box, min_size=1, max_size=3), st.sampled_from([1, 2, 3, 4]))
@settings(max_examples=40)
def test_masks_on_coarse_cells_are_pooled_pixel_masks(boxes, step):
    sides = ("xmin", "ymin", "xmax", "ymax")
    values = [dict(zip(sides, (a, b, c - 1, d - 1), strict=True)) for a, b, c, d in boxes]
    column = pa.array([values, [], values[:1]], pa.list_(pa.struct([(s, pa.float32()) for s in sides])))
    masks = masks_from(column, 1 / step, 1 / step)
    assert masks.start[1] == masks.start[2]  # the second image has no box
    corners, owner = masks.take(np.array([0, 2]))
    cells = SIDE // step
    found = draw(corners, owner, (2, cells, cells))
    for mask, boxes_of in zip(found, (boxes, boxes[:1]), strict=True):
        pooled = painted(boxes_of).reshape(cells, step, cells, step).mean(axis=(1, 3))
        np.testing.assert_allclose(mask, pooled, atol=1e-6)


@given(box, st.integers(0, SIDE - 1), st.integers(0, SIDE - 1), st.sampled_from([1, 2, 3]))
@settings(max_examples=40)
def test_sums_inside_shifted_boxes(rectangle, down, right, step):
    cells = SIDE // step
    maps = np.random.default_rng(0).random((2, cells, cells))
    fine = np.kron(maps[1], np.ones((step, step))) / step**2  # constant within its cells
    mask = painted([rectangle])
    shifted = np.roll(mask, (down // step * step, right // step * step), axis=(0, 1))
    move = np.array([right // step, down // step, right // step, down // step])
    found = inside(tiled_sums(maps), np.array([1]), np.array([rectangle]) / step + move)
    assert found[0] == pytest.approx((fine * shifted).sum())


def test_random_numbers_depend_on_the_image_alone():
    index = np.arange(5000)
    numbers = Purpose.SHIFTED_BOXES.numbers(1, index, 8)
    np.testing.assert_array_equal(numbers[[7, 3]], Purpose.SHIFTED_BOXES.numbers(1, np.array([7, 3]), 8))
    assert (numbers >= 0).all()
    assert len(np.unique(numbers)) == numbers.size
    assert (numbers != Purpose.SHIFTED_BOXES.numbers(2, index, 8)).all()
    counts = np.bincount((numbers % 10).ravel())
    assert abs(counts - numbers.size / 10).max() < 5 * np.sqrt(numbers.size / 10)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Class 0 looks at its mark, the others at their objects."""
    path = tmp_path_factory.mktemp("runs") / "run"
    return path, write_run(path, 6, 30, 0, {0: -2.5}, thumbnails=False, failures=0.02)


def used_images(path, truth, keep=None):
    ok = (truth.examples["status"] == "ok").to_numpy() if keep is None else keep
    rows = truth.examples[ok].sort_values("label", kind="stable")
    area = rows["box_area"].to_numpy()
    return Used(rows.index.to_numpy(), rows["label"].to_numpy(), area, len(truth.class_names))


def stored_maps(path):
    table = pq.ParquetDataset(path / "maps").read(["example_id", "values"]).to_pandas()
    shape = (CELLS, CELLS)
    return {
        int(name.split("-")[1]): np.asarray(v, dtype=float).reshape(shape)
        for name, v in zip(table["example_id"], table["values"], strict=True)
    }


def cell_mask(row):
    mask = painted([[row.xmin, row.ymin, row.xmax + 1, row.ymax + 1]], INPUT)
    step = INPUT // CELLS
    return mask.reshape(CELLS, step, CELLS, step).mean(axis=(1, 3))


def test_a_few_maps_are_looked_at_together_and_how_many_changes_nothing(run, monkeypatch):
    path, truth = run
    used, settings = used_images(path, truth), RankingConfig(draws=100)
    method = ranking_method(Store(path).manifest)
    together, looked = absolute_test(Store(path), method, used, settings), []

    def counted(maps):
        looked.append(len(maps))
        return tiled_sums(maps)

    monkeypatch.setattr(absolute, "AT_ONCE", 7)  # of 180 maps in two parts of the table
    monkeypatch.setattr(absolute, "tiled_sums", counted)
    apart = absolute_test(Store(path), method, used, settings)
    assert max(looked) <= 7
    for name in ("p_exchange", "p_shift", "power", "n_maps"):
        np.testing.assert_allclose(getattr(apart, name), getattr(together, name), rtol=1e-12)


def test_both_nulls_equal_loops_over_drawn_masks(run):
    path, truth = run
    used = used_images(path, truth)
    found = absolute_test(Store(path), ranking_method(Store(path).manifest), used, RankingConfig(draws=4000))
    maps = stored_maps(path)
    masks = {i: cell_mask(truth.examples.loc[i]) for i in used.index}
    share = {i: maps[i] / maps[i].sum() for i in used.index}
    by_area = used.index[np.argsort(used.area, kind="stable")].tolist()
    rng = np.random.default_rng(0)

    def excess(i, mask):
        return (share[i] * mask).sum() - mask.mean()

    for c in range(6):
        own = used.index[used.group == c]
        observed = sum(excess(i, masks[i]) for i in own)
        exchanged, shifted = np.zeros(300), np.zeros(300)
        for i in own:
            low = int(np.clip(by_area.index(i) - 10, 0, len(by_area) - 21))
            near = [excess(i, masks[j]) for j in by_area[low : low + 21]]
            exchanged += rng.choice(near, 300)
            shifts = [
                excess(i, np.roll(masks[i], rng.integers(0, CELLS, 2), axis=(0, 1))) for _ in range(100)
            ]
            shifted += rng.choice(shifts, 300)
        for p, null in ((found.p_exchange[c], exchanged), (found.p_shift[c], shifted)):
            assert p == pytest.approx((np.sum(null >= observed) + 1) / 301, abs=0.12)
            if observed > null.max():
                assert p < 0.02


def test_focused_classes_are_found_and_the_one_that_looks_elsewhere_is_not(run):
    path, truth = run
    used = used_images(path, truth)
    found = absolute_test(Store(path), ranking_method(Store(path).manifest), used, RankingConfig(draws=500))
    assert found.p[0] > 0.5
    assert (found.p[1:] < 0.01).sum() >= 4
    assert found.n_maps.tolist() == np.bincount(used.group).tolist()
    assert ((found.power >= 0) & (found.power <= 1)).all()


def test_maps_that_know_only_the_usual_place_are_not_focused(tmp_path):
    truth = write_run(tmp_path, 8, 40, 1, thumbnails=False, failures=0.0)
    grid = np.arange(CELLS) - (CELLS - 1) / 2
    centred = np.exp(-(grid[:, None] ** 2 + grid**2) / 60).astype(np.float16).ravel()
    for part in sorted((tmp_path / "maps").iterdir()):
        table = pq.read_table(part)
        values = pa.array([centred] * len(table), table.schema.field("values").type)
        position = table.schema.get_field_index("values")
        pq.write_table(table.set_column(position, table.schema.field("values"), values), part)
    used = used_images(tmp_path, truth)
    found = absolute_test(
        Store(tmp_path), ranking_method(Store(tmp_path).manifest), used, RankingConfig(draws=500)
    )
    assert np.median(found.p_exchange) > 0.2  # its own boxes are no better than those of other images
    assert (found.p_shift < 0.01).mean() >= 0.5  # though far better than boxes anywhere
    assert (found.p > 0.05).mean() >= 0.75


def test_power_is_the_chance_to_see_a_relevant_lift(tmp_path):
    """Maps of noise in which the odds of the object's cells are raised by the relevant effect, 0.5."""
    n_classes, rng = 120, np.random.default_rng(3)
    truth = write_run(tmp_path, n_classes, 4, 1, thumbnails=False, failures=0.0)
    for part in sorted((tmp_path / "maps").iterdir()):
        table = pq.read_table(part)
        rows = [int(name.split("-")[1]) for name in table["example_id"].to_pylist()]
        masks = np.stack([cell_mask(truth.examples.loc[i]) for i in rows])
        heat = rng.gamma(0.02, size=masks.shape) * (1 + (np.exp(0.5) - 1) * masks)
        heat = (heat / heat.max(axis=(1, 2), keepdims=True)).astype(np.float16).reshape(len(rows), -1)
        position, field = table.schema.get_field_index("values"), table.schema.field("values")
        pq.write_table(table.set_column(position, field, pa.array(list(heat), field.type)), part)
    used = used_images(tmp_path, truth)
    store = Store(tmp_path)
    found = absolute_test(store, ranking_method(store.manifest), used, RankingConfig(draws=500))
    rejected = float((found.p <= 0.05).mean())
    assert 0.25 < rejected < 0.75  # neither end would say anything
    assert found.power.mean() == pytest.approx(rejected, abs=0.1)


def test_neither_the_size_nor_the_number_of_shards_matters(tmp_path, run):
    path, truth = run
    write_run(tmp_path, 6, 30, 0, {0: -2.5}, thumbnails=False, failures=0.02, shard_size=37)
    used, config = used_images(path, truth), RankingConfig(draws=300)
    first, second = (
        absolute_test(Store(p), ranking_method(Store(p).manifest), used, config) for p in (path, tmp_path)
    )
    np.testing.assert_allclose(first.p, second.p, rtol=1e-9)
    np.testing.assert_allclose(first.power, second.power, rtol=1e-9)


def test_without_maps_there_is_no_answer(tmp_path):
    truth = write_run(tmp_path, 3, 10, 0, maps=False, thumbnails=False)
    store = Store(tmp_path)
    used = used_images(tmp_path, truth)
    assert absolute_test(store, ranking_method(store.manifest), used, RankingConfig()) is None
    assert PARTNERS >= 32


def test_strata_are_balanced_ordered_and_keep_ties_together():
    rng = np.random.default_rng(0)
    area = rng.random(2000)
    strata = area_strata(area)
    assert np.bincount(strata).tolist() == [100] * 20
    assert (np.diff(strata[np.argsort(area)]) >= 0).all()
    assert area_strata(np.full(500, 0.25)).max() == 0
    tied = np.repeat([0.1, 0.2, 0.3], 100)
    assert all(len(set(area_strata(tied)[tied == a])) == 1 for a in (0.1, 0.2, 0.3))
