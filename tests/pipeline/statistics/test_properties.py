"""The property check: areas against other programs, planted shortcuts found, silence where nothing is."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageFilter
from scipy import stats
from sklearn.metrics import mutual_info_score, roc_auc_score

from pipeline.config_sections import RankingConfig
from pipeline.inputs.card import ModelCard
from pipeline.measure.properties import file_properties, properties_table
from pipeline.run.documents import PropertiesDocument
from pipeline.run.folder import part_name
from pipeline.run.store import Store
from pipeline.statistics.properties import (
    Table,
    areas,
    auc_interval,
    bits,
    check_properties,
    read_properties,
    shuffled,
)
from pipeline.terms import FileProperty
from tests.tables import draw_examples, write_run

SETTINGS = RankingConfig()


def exchangeable(rng: np.random.Generator, n: int, classes: int) -> pd.DataFrame:
    """Properties that say nothing of the class: skewed, tied, partly missing and dependent on one another."""
    shared = rng.normal(size=n)
    columns = {name: shared + rng.normal(size=n) for name in FileProperty}
    columns[FileProperty.BYTES_PER_PIXEL] = rng.lognormal(size=n)
    columns[FileProperty.BOXES] = rng.integers(1, 4, n).astype(float)
    columns[FileProperty.IS_JPEG] = (rng.random(n) < 0.9).astype(float)
    quality = rng.choice([75.0, 90.0, 95.0], n)
    columns[FileProperty.JPEG_QUALITY] = np.where(columns[FileProperty.IS_JPEG] > 0, quality, np.nan)
    return pd.DataFrame({"label": rng.integers(0, classes, n)} | columns)


def test_the_area_is_the_one_of_every_other_program() -> None:
    images = exchangeable(np.random.default_rng(0), 300, 4)
    images.loc[images["label"] == 2, FileProperty.BOXES] += 1
    table = Table.of(images)
    for name in (FileProperty.BOXES, FileProperty.JPEG_QUALITY, FileProperty.BRIGHTNESS):
        k = table.names.index(name)
        area, z, n = areas(table, k, table.label, np.arange(4), 5)
        has = images[name].notna()
        for label in range(4):
            own = images["label"][has] == label
            values = images[name][has]
            assert area[label] == pytest.approx(roc_auc_score(own, values))
            assert n[label] == own.sum()
            test = stats.mannwhitneyu(values[own], values[~own], use_continuity=False, method="asymptotic")
            assert 2 * stats.norm.sf(abs(z[label])) == pytest.approx(test.pvalue, rel=1e-6)


def test_the_information_is_the_one_of_every_other_program() -> None:
    rng = np.random.default_rng(1)
    label, bins = rng.integers(0, 5, 400), rng.integers(0, 7, 400)
    assert bits(bins, label) == pytest.approx(mutual_info_score(label, bins) / np.log(2))


def test_the_interval_covers() -> None:
    """Normal values whose true area is Phi(d / sqrt 2); coverage within 3 standard errors of 95 %."""
    rng, d, covered = np.random.default_rng(2), 1.5, 0
    truth = stats.norm.cdf(d / np.sqrt(2))
    for _ in range(400):
        own, rest = rng.normal(d, 1, 15), rng.normal(0, 1, 60)
        area = (own[:, None] > rest).mean()
        low, high = auc_interval(float(area), 15, 60)
        covered += low <= truth <= high
    assert covered / 400 >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 400)
    low, high = auc_interval(1.0, 10, 100)
    assert 0.7 < low < 1
    assert high == 1


@pytest.mark.parametrize(("n", "classes"), [(160, 2), (300, 12)])
def test_nothing_is_found_where_nothing_is(n: int, classes: int) -> None:
    """Labels that say nothing exceed the limit in 5 % of draws, over all classes and properties together."""
    false, draws = 0, 150
    rng = np.random.default_rng(n)
    for seed in range(2):
        images = exchangeable(np.random.default_rng(seed), n, classes)
        table, tested = Table.of(images), np.arange(classes)
        limit = np.quantile(shuffled(table, tested, SETTINGS).largest, 0.95)
        once = tested[1:] if classes == 2 else tested
        for _ in range(draws):
            label = rng.permutation(table.label)
            z = [areas(table, k, label, once, 5)[1] for k in range(len(table.names))]
            false += np.nanmax(np.abs(z)) > limit
    # the limit itself comes from 400 draws
    error = np.sqrt(0.05 * 0.95 * (1 / (2 * draws) + 1 / (2 * 400)))
    assert abs(false / (2 * draws) - 0.05) <= 3 * error


# -- whole runs, with files that are drawn


def drawn(rng: np.random.Generator, shortcut: str, marked: bool) -> tuple[bytes, np.ndarray, tuple[int, int]]:
    """A file, what the network sees of it, and its size. ``shortcut`` says what marked classes differ in."""
    width, height = rng.integers(60, 90, 2)
    if shortcut == "width" and marked:
        width = 110
    grid = rng.integers(0, 200, (6, 6, 3), dtype=np.uint8)
    image = Image.fromarray(grid).resize((int(width), int(height)), Image.Resampling.BICUBIC)
    pixels = np.asarray(image).astype(float) + rng.normal(0, 6, (int(height), int(width), 3))
    if marked:
        pixels += {"brightness": 50.0, "blue_cast": np.array([0.0, 0.0, 40.0])}.get(shortcut, 0.0)
        if shortcut == "contrast":
            pixels = 100 + 0.4 * (pixels - 100)
        if shortcut == "saturation":
            pixels = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    if shortcut == "sharpness" and marked:
        image = image.filter(ImageFilter.GaussianBlur(1.5))
    quality = 92 if shortcut == "jpeg_quality" and marked else int(rng.integers(70, 90))
    buffer = io.BytesIO()
    if shortcut == "is_jpeg" and marked:
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue(), np.asarray(image.resize((64, 64))), image.size


CARD = ModelCard(height=64, width=64, resize="stretch", classes=3)


def run_with(path: Path, shortcut: str, classes: int = 3, per_class: int = 25, seed: int = 0) -> Store:
    """A run of drawn files; class 1 carries the shortcut."""
    rng = np.random.default_rng(seed)
    frame = draw_examples(classes, per_class, seed)
    frame["label"] = rng.permutation(frame["label"])  # drawn boxes are of other sizes in other classes
    write_run(path, classes, per_class, seed, maps=False, thumbnails=False, examples=frame)
    store = Store(path)
    shards = store.read("examples", ["example_id", "shard", "label"]).to_pandas()
    rows = [file_properties(*drawn(rng, shortcut, label == 1), CARD) for label in frame["label"]]
    for key in store.done:
        at = np.flatnonzero((shards["shard"] == key).to_numpy())
        ids = [str(shards["example_id"][i]) for i in at]
        write_part(path, key, ids, [rows[i] for i in at])
    return Store(path)


def write_part(path: Path, key: str, ids: list[str], rows: list[dict]) -> None:
    (path / "properties").mkdir(exist_ok=True)
    pq.write_table(properties_table(ids, rows), path / part_name("properties", key))


def found(store: Store) -> PropertiesDocument:
    document = check_properties(store, SETTINGS)
    assert document is not None
    return document


@pytest.mark.parametrize(
    "shortcut",
    ["jpeg_quality", "is_jpeg", "brightness", "contrast", "saturation", "blue_cast", "sharpness"],
)
def test_a_planted_shortcut_is_the_strongest(tmp_path: Path, shortcut: str) -> None:
    document = found(run_with(tmp_path, shortcut))
    loud = [row for row in document.classes if row.stands_out]
    assert (loud[0].label, loud[0].class_name) == (1, "class 001")
    # what a file's bytes and edges follow from (noise, blur, format) may tell the class just as well
    names = [row.name.value for row in loud if row.strength >= loud[0].strength - 0.02]
    assert shortcut in names
    assert loud[0].p <= 0.05
    assert document.n_standing_out == len(loud)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_files_that_are_alike_are_silent(tmp_path: Path, seed: int) -> None:
    assert found(run_with(tmp_path, "none", seed=seed)).n_standing_out == 0


def test_sizes_and_boxes_come_from_the_examples(tmp_path: Path) -> None:
    store = run_with(tmp_path, "none")
    table = read_properties(store).sort_index()
    examples = store.read("examples").to_pandas().set_index("example_id").sort_index()
    np.testing.assert_array_equal(table["width"], examples["width"])
    np.testing.assert_array_equal(table["boxes"], examples["boxes"].map(len))
    np.testing.assert_allclose(table["aspect"], examples["width"] / examples["height"])
    np.testing.assert_allclose(table["box_area"], examples["box_area"])


def test_a_trifle_that_is_no_chance_does_not_stand_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    images = exchangeable(rng, 4000, 2)
    images.loc[images["label"] == 1, FileProperty.CONTRAST] += 0.5
    table = Table.of(images)
    k = table.names.index(FileProperty.CONTRAST)
    area, z, _ = areas(table, k, table.label, np.array([1]), 5)
    assert abs(z[0]) > np.quantile(shuffled(table, np.arange(2), SETTINGS).largest, 0.95)
    assert area[0] < 0.7  # no chance, and below the limit of 0.75


def test_a_document_reads_back_and_old_runs_have_none(tmp_path: Path) -> None:
    store = run_with(tmp_path / "a", "brightness")
    document = found(store)
    document.write(store)
    assert PropertiesDocument.current(store) == document
    write_run(tmp_path / "b", 2, 10, 0, maps=False, thumbnails=False)
    assert check_properties(Store(tmp_path / "b"), SETTINGS) is None
