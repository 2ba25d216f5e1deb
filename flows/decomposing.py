"""One method on a network taken apart in several ways, as gallery and table: what ``decompositions`` does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from flows import settings, terminal
from flows.galleries import Look, facts, glance, load
from pipeline.config_sections import DatasetConfig, ModelConfig
from pipeline.csv_text import csv_line
from pipeline.errors import InputError
from pipeline.run.files import open_files
from pipeline.trust import Trust
from reports.gallery.model import Gallery, Line
from reports.gallery.views import all_views

if TYPE_CHECKING:
    from pipeline.inputs.batches import Batch
    from pipeline.inputs.models import LoadedModel
    from pipeline.measure.decompositions import Compared

TABLE, PER_IMAGE = "decompositions.csv", "decompositions-images.csv"
HEADS = {
    "rank_correlation": "corr.",
    "relative_l2": "rel. L2",
    "gap": "gap",
    "lift": "lift",
    "conservation_error": "missing",
}


@dataclass(frozen=True)
class Asked:
    """On which images: files, or ``count`` of a dataset, which may have boxes; whether curves are drawn.

    Raises :class:`InputError` where neither is given, or both.
    """

    images: tuple[str, ...]
    dataset: str
    count: int
    with_curves: bool

    def __post_init__(self) -> None:
        if bool(self.images) == bool(self.dataset):
            received = (
                "both image files and --dataset" if self.images else "neither image files nor --dataset"
            )
            raise InputError(f"received {received}; valid: one of them")


def decompositions(config: ModelConfig, asked: Asked, look: Look, trust: Trust, out: str) -> Gallery:
    """The gallery of the look's one method, a row per image, a column per way; writes the tables into
    ``out`` and prints one.
    """
    if look.view == "all":
        raise InputError(f"--view all: the columns are decompositions; valid: {', '.join(all_views())}")
    glance(asked.images, [config], replace(look, references=asked.dataset), trust)
    settings.load_tensorflow()
    from pipeline.measure.decompositions import compare
    from pipeline.measure.explain import check_size
    from pipeline.measure.fitting import check

    check(look.methods[0])
    check_size(len(asked.images) or asked.count, 1)
    model = load(config, trust)
    images = _images(asked, model)
    targets = _targets(images, model, look.targets)
    with terminal.console.status("explaining the network taken apart in several ways"):
        compared = compare(model, look.methods[0], images, targets, asked.with_curves)
    _write(compared, out)
    _show(compared)
    return _gallery(compared, images, model, look)


def _images(asked: Asked, model: LoadedModel) -> Batch:
    """What is explained: every file, or the first images of a dataset in a seeded order of turns."""
    from pipeline.inputs.datasets import open_dataset, section_of
    from pipeline.measure.choice_images import draw, rows_of
    from pipeline.measure.explain import as_batch, read_photo

    if asked.images:
        return as_batch([read_photo(path, model.card) for path in asked.images])
    dataset = open_dataset(DatasetConfig.model_validate(section_of(asked.dataset)))
    drawn = draw(dataset, model.card, seed=0)
    return rows_of(drawn, range(min(asked.count, len(drawn))))


def _targets(images: Batch, model: LoadedModel, text: str) -> np.ndarray:
    """The explained output of every image. Raises InputError where that is more than one."""
    from explainers.network import network
    from pipeline.measure.explain import choose_targets

    logits = network(model.model).logits((images.inputs,))
    labels = [int(label) if label >= 0 else None for label in images.labels]
    chosen = [choose_targets(text, row, model.card, k) for row, k in zip(logits, labels, strict=True)]
    if len(chosen[0]) != 1:
        raise InputError(f"--targets {text}: received {len(chosen[0])} classes; valid here: one")
    return np.array([classes[0] for classes in chosen], np.int32)


def _gallery(compared: Compared, images: Batch, model: LoadedModel, look: Look) -> Gallery:
    from pipeline.measure.explain import class_name

    (method,), names = look.methods, list(compared.maps)
    rows = replace(look, methods=(method,) * len(names))
    lines = []
    for i, record in enumerate(images.records):
        assert record is not None
        maps = [explained.relevance[i] for explained in compared.maps.values()]
        target = class_name(model.card, int(compared.maps[names[0]].target[i]))
        notes = [_note(compared, name, record.example_id) for name in names]
        lines.append(
            Line(images.pictures[i], (record.example_id, f"target: {target}"), rows.cells(maps, notes))
        )
    about = [(row["decomposition"], _words(row)) for _, row in compared.table.iterrows()]
    title = f"{method.key} on {model.name}, taken apart in {len(names)} ways"
    return look.gallery(title, names, lines, [*about, *facts(look, [model])])


def _note(compared: Compared, name: str, example_id: str) -> str:
    """Below a map: why there is none, or how far it is from the method's own."""
    table = compared.images
    row = table[(table["decomposition"] == name) & (table["example_id"] == example_id)].iloc[0]
    if row["reason"]:
        return str(row["reason"])
    if name == next(iter(compared.maps)) or np.isnan(row["rank_correlation"]):
        return ""
    return f"corr. {row['rank_correlation']:.2f}, rel. L2 {row['relative_l2']:.3g}"


def _words(row: pd.Series) -> str:
    """The medians of a way, or why it is not among the columns."""
    if row["remark"]:
        return f"not shown: {row['remark']}"
    values = [f"{name} {_figure(row[key])}" for key, name in HEADS.items()]
    return f"medians over {row['images']} images: {', '.join(values)}"


def _figure(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.3g}"


def _show(compared: Compared) -> None:
    shown, left = [], []
    for _, row in compared.table.iterrows():
        if row["remark"]:
            left.append(f"{row['decomposition']}: not shown, {row['remark']}")
        else:
            shown.append((row["decomposition"], *(_figure(row[key]) for key in HEADS)))
    count = compared.images["example_id"].nunique()
    terminal.print_line(f"medians over {count} {'image' if count == 1 else 'images'}:")
    terminal.print_list("decomposition", shown, tuple(HEADS.values()), whole=tuple(HEADS.values()))
    for line in left:
        terminal.print_line(line)


def _write(compared: Compared, out: str) -> None:
    files = open_files(out)
    for name, table in ((TABLE, compared.table), (PER_IMAGE, compared.images)):
        rows = table.astype(object).where(table.notna(), None).itertuples(index=False)
        files.put(name, "".join([csv_line(table.columns), *map(csv_line, rows)]).encode())
        terminal.print_line(f"written: {out}/{name}")
