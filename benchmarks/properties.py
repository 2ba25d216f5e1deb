"""How often the property check errs, what it finds, and what it costs.

    python -m benchmarks.properties                                # simulated tables, cost per image
    python -m benchmarks.properties --waterbirds waterbirds-subset.zip
    python -m benchmarks.properties --tiny tiny-imagenet-200-subset.zip

Simulated: properties that are skewed, tied, missing in part and dependent on one another. First none of them
says anything of the class; then one property of one class of twenty is shifted. Nothing was chosen on these
seeds. Real: files as they are (of Tiny ImageNet the validation images), no network.
"""

from __future__ import annotations

import argparse
import csv
import io
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import stats

from pipeline.config_sections import RankingConfig
from pipeline.inputs.card import ModelCard
from pipeline.measure.properties import file_properties, is_sampled, sampled_share
from pipeline.run.documents import PropertiesDocument
from pipeline.statistics.properties import check_images
from pipeline.terms import FileProperty

SETTINGS = RankingConfig()
CARD = ModelCard(height=224, width=224, resize="stretch", classes=2)
SHIFTED = FileProperty.CONTRAST
Item = tuple[int, bytes, tuple[float, float, float, float]]  # label, file, box


def exchangeable(rng: np.random.Generator, label: np.ndarray) -> pd.DataFrame:
    """Properties that say nothing of the ``label``."""
    n = len(label)
    shared = rng.normal(size=n)
    columns = {name: shared + rng.normal(size=n) for name in FileProperty}
    columns[FileProperty.BYTES_PER_PIXEL] = rng.lognormal(size=n)
    columns[FileProperty.BOXES] = rng.integers(1, 4, n).astype(float)
    columns[FileProperty.IS_JPEG] = (rng.random(n) < 0.9).astype(float)
    quality = rng.choice([75.0, 90.0, 95.0], n)
    columns[FileProperty.JPEG_QUALITY] = np.where(columns[FileProperty.IS_JPEG] > 0, quality, np.nan)
    return pd.DataFrame({"label": label} | columns)


def checked(images: pd.DataFrame) -> PropertiesDocument:
    document = check_images(images, (), SETTINGS)
    assert document is not None
    return document


def false_alarms(images: int, classes: int, seeds: int) -> tuple[float, float]:
    """Shares of seeds in which anything has p <= 0.05, and in which anything stands out."""
    called = loud = 0
    for seed in range(seeds):
        rng = np.random.default_rng([seed, images, classes])
        document = checked(exchangeable(rng, rng.integers(0, classes, images)))
        called += any(row.p <= SETTINGS.level for row in document.classes)
        loud += document.n_standing_out + sum(row.stands_out for row in document.properties) > 0
    return called / seeds, loud / seeds


def power(auc: float, per_class: int, seeds: int, classes: int = 20) -> float:
    """Share of seeds in which the shifted property of class 0 stands out."""
    hits = 0
    for seed in range(seeds):
        rng = np.random.default_rng([seed, per_class])
        images = exchangeable(rng, np.repeat(np.arange(classes), per_class))
        # both parts of a property have variance 1, so an area A is a shift of 2 quantile(A)
        images.loc[images["label"] == 0, SHIFTED] += 2 * stats.norm.ppf(auc)
        rows = checked(images).classes
        hits += any(row.stands_out and (row.label, row.name) == (0, SHIFTED) for row in rows)
    return hits / seeds


def measured(items: Iterable[Item]) -> pd.DataFrame:
    """The properties of real files, and on the last line what an image costs."""
    rows, spent = [], 0.0
    for label, data, (left, top, right, bottom) in items:
        image = Image.open(io.BytesIO(data)).convert("RGB")
        width, height = image.size
        picture = np.asarray(image.resize((CARD.width, CARD.height)))
        began = time.thread_time()
        row = file_properties(data, picture, image.size, CARD)
        spent += time.thread_time() - began
        rows.append(
            {
                "label": label,
                **row,
                FileProperty.WIDTH: width,
                FileProperty.HEIGHT: height,
                FileProperty.ASPECT: width / height,
                FileProperty.BOX_AREA: (right - left + 1) * (bottom - top + 1) / (width * height),
                FileProperty.BOXES: 1,
            }
        )
    print(f"{len(rows)} images, {1000 * spent / len(rows):.2f} ms of CPU per image")
    return pd.DataFrame(rows).astype(dict.fromkeys(FileProperty, float))


def show(title: str, images: pd.DataFrame) -> None:
    began = time.thread_time()
    document = checked(images)
    spent = time.thread_time() - began
    classes = len({row.label for row in document.classes if row.stands_out})
    print(f"{title}: {document.n_standing_out} stand out, of {classes} of {document.classes_tested} classes;")
    print(f"  {spent:.2f} s of CPU; strongest:")
    for row in sorted(document.classes, key=lambda row: -row.strength)[:5]:
        low, high = (row.low, row.high) if row.auc >= 0.5 else (1 - row.high, 1 - row.low)
        area = f"{row.strength:.2f} [{low:.2f}, {high:.2f}]"
        print(f"  class {row.label} {row.name.words}: {area}, p {row.p:.3f}")
    told = ", ".join(f"{row.name.words} {row.information:.2f}" for row in document.properties[:5])
    print(f"  bits: {told}")


def waterbirds(path: Path) -> None:
    archive = zipfile.ZipFile(path)
    table = list(csv.DictReader(io.StringIO(archive.read("waterbirds/metadata.csv").decode())))
    for split in ("train", "test"):
        rows = [row for row in table if row["split"] == split]
        images = measured(
            (int(r["label"] == "waterbird"), archive.read(f"waterbirds/{r['file']}"), _box(r.values()))
            for r in rows
        )
        show(f"Waterbirds, {split}, birds", images)
        show(f"Waterbirds, {split}, places", images.assign(label=[int(r["place"] == "water") for r in rows]))


def _box(cells: Iterable[str]) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(cell) for cell in list(cells)[5:9])
    return left, top, right, bottom


def tiny(path: Path) -> None:
    archive, top = zipfile.ZipFile(path), "tiny-imagenet-200"
    ids = archive.read(f"{top}/wnids.txt").decode().split()
    lines = [
        line.split("\t") for line in archive.read(f"{top}/val/val_annotations.txt").decode().splitlines()
    ]
    share = sampled_share(len(lines), len(ids))
    for title, rows in (
        ("sampled", [line for line in lines if is_sampled(line[0], 0, share)]),
        ("all", lines),
    ):
        images = measured(
            (ids.index(r[1]), archive.read(f"{top}/val/images/{r[0]}"), tuple(map(float, r[2:6])))  # type: ignore[misc]
            for r in rows
        )
        show(f"Tiny ImageNet, {title}", images)
    shuffled = np.random.default_rng(0).permutation(images["label"].to_numpy())
    show("the same with shuffled labels", images.assign(label=shuffled))


def simulated(seeds: int) -> None:
    print("| images | classes | anything with p <= 0.05 | anything stands out |\n| --- | --- | --- | --- |")
    for images, classes in ((160, 2), (2000, 2), (600, 20), (2000, 200)):
        called, loud = false_alarms(images, classes, seeds)
        print(f"| {images} | {classes} | {called:.1%} | {loud:.1%} |", flush=True)
    sizes = (10, 25, 50, 100)
    print(f"\n| true AUC | {' | '.join(f'{n} per class' for n in sizes)} |\n| --- |{' --- |' * len(sizes)}")
    for auc in (0.7, 0.8, 0.9, 0.95, 0.99):
        cells = [f"{power(auc, n, max(seeds // 4, 1)):.0%}" for n in sizes]
        print(f"| {auc} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--waterbirds", type=Path)
    parser.add_argument("--tiny", type=Path)
    args = parser.parse_args()
    if args.waterbirds:
        waterbirds(args.waterbirds)
    if args.tiny:
        tiny(args.tiny)
    if not (args.waterbirds or args.tiny):
        simulated(args.seeds)


if __name__ == "__main__":
    main()
