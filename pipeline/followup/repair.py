"""A network repaired: trained again on pictures whose backgrounds were exchanged.

The last layer alone (Kirichenko et al. 2023): half of the run's images, a seeded choice, are the lessons: as
they are, and with their object on the background of another class, so that a background says nothing of the
class any more. The other half says what became of the accuracy. What the layers before it do not tell apart,
no last layer can.

All layers: the lessons are the images of another split (:mod:`.lessons`), and all images of the run judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from keras import ops

from explainers import engine
from explainers.model.decomposition import APART
from explainers.model.linear import Dense
from explainers.network import network
from pipeline.errors import InputError
from pipeline.followup.all_layers import Course, train_all_layers
from pipeline.followup.last_layer import LastLayer, Lessons, retrain
from pipeline.followup.lessons import Teachers
from pipeline.measure.bench import Bench
from pipeline.measure.interventions.kinds.exchange import cut_backgrounds
from pipeline.measure.interventions.pictures import FILLS, RIM, Scene, replace
from pipeline.measure.transfer.stage import read_pictures
from pipeline.run.store import Store
from pipeline.schema import STATUS_NO_BOX, STATUS_OK
from pipeline.seeds import ImageChoice, Purpose
from pipeline.statistics.ranking import Ranking

EDITS = 2  # backgrounds that every object is put onto


@dataclass(frozen=True)
class Repaired:
    """What became of the network.

    Attributes:
        held: example ids of the run's images that say what became of the accuracy; None: all of them.
        pictures, edits: how many it was trained on, edited ones altogether.
        how: what else ``repair.json`` says of the training.
    """

    held: frozenset[str] | None
    pictures: int
    edits: int
    how: Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """The classes before and after: rows with class, verdicts, accuracies on ``images`` that taught nothing,
    and the same accuracies per group where the dataset has groups."""

    images: int
    classes: list[dict[str, Any]]
    groups: list[dict[str, Any]]


def repair(run: Store, bench: Bench, accused: Sequence[int], images: int = 200, seed: int = 0) -> Repaired:
    """Train the last layer of ``bench.model`` again, in place. ``accused``: classes whose backgrounds every
    other class's objects are put onto; ``images``: of each class and half, at most.

    Raises:
        InputError: the last layer is no plain dense layer, or there are no images with boxes to exchange.
    """
    layer, old = last_layer(bench.model.model)
    rows = _usable(run, images, seed)
    lessons = _lessons(bench, rows[rows["teaches"]], accused, seed)
    new, strength = retrain(old, lessons, Purpose.REPAIR.rng(seed))
    layer.kernel.assign(new.kernel)
    if layer.bias is not None:
        layer.bias.assign(new.bias)
    pictures = len(np.unique(lessons.sources))
    held = frozenset(rows.loc[~rows["teaches"], "example_id"])
    return Repaired(held, pictures, len(lessons.labels) - pictures, {"strength": strength})


def repair_all(bench: Bench, teachers: Teachers, course: Course, on_epoch: Callable[[int], None]) -> Repaired:
    """Train all layers of ``bench.model`` further, in place; see :func:`train_all_layers`."""
    trained = train_all_layers(bench.model, teachers, course, on_epoch)
    how = {"epochs": course.epochs, "rate": course.rate, "losses": trained.losses}
    return Repaired(None, len(teachers.labels), trained.edits, how)


def judged_images(run: Store, again: Store, held: frozenset[str] | None) -> pd.DataFrame:
    """A row per image of ``held`` that both runs saw: label, group, and whether it is classified correctly
    ``before`` and ``after``."""
    then = _seen(run, ["example_id", "label", "group", "correct"]).rename(columns={"correct": "before"})
    now = _seen(again, ["example_id", "correct"]).rename(columns={"correct": "after"})
    both = then.astype({"group": object}).merge(now, on="example_id")
    return both if held is None else both[both["example_id"].isin(held)]


def _seen(run: Store, columns: list[str]) -> pd.DataFrame:
    """The images that the network could be asked about, and of which the class is one of its own."""
    status = pc.field("status").cast(pa.string())
    usable = status.isin([STATUS_OK, STATUS_NO_BOX]) & (pc.field("label") >= 0)
    return run.read("examples", columns, usable).to_pandas()


def compare(before: Ranking, after: Ranking, images: pd.DataFrame) -> Comparison:
    """Verdicts and accuracies on :func:`judged_images`, those classes first that the run accused."""
    accuracy = images.groupby("label")[["before", "after"]].mean()
    verdicts = dict(zip(after.table["label"], after.table["verdict"], strict=True))
    classes = [
        {
            "label": int(row["label"]),
            "class": str(row["class_name"]),
            "verdict": [str(row["verdict"]), str(verdicts.get(row["label"], ""))],
            "accuracy": [float(v) for v in accuracy.loc[row["label"]]],
        }
        for _, row in before.table.iterrows()
        if row["label"] in accuracy.index
    ]
    named = images[images["group"].notna()]
    by_group = named.groupby(["label", "group"])[["before", "after"]].agg(["mean", "size"])
    groups = [
        {"label": label, "group": group, "images": n, "accuracy": [first, then]}
        for label, group, first, n, then, _ in by_group.reset_index().to_numpy().tolist()
    ]
    return Comparison(len(images), classes, groups)


def last_layer(model: Any) -> tuple[Any, LastLayer]:
    """The Keras layer that makes the logits, and its weights.

    Raises :class:`InputError` unless it is a dense layer with an output per class.
    """
    graph = network(model, APART).graph
    node = graph[graph.output]
    plain = isinstance(node.linear, Dense) and not node.folded and len(node.shape) == 2
    if not plain or node.kernel.shape != tuple(getattr(node.layer, "kernel", np.zeros(0)).shape):
        raise InputError(
            f"the model's logits come from {node.name!r} ({node.type}); valid: a Dense layer with one output "
            "per class, whose weights can be trained again"
        )
    kernel = np.asarray(node.kernel, np.float64)
    bias = np.zeros(kernel.shape[1]) if node.bias is None else np.asarray(node.bias, np.float64)
    return node.layer, LastLayer(kernel, bias)


def _usable(run: Store, images: int, seed: int) -> pd.DataFrame:
    """Up to ``images`` of each class and half, those with a box first; which of them teach: a seeded half."""
    rows = _seen(run, ["example_id", "index", "label", "status"]).astype({"status": str})
    rows["order"] = [ImageChoice.REPAIR.rank(seed, i) for i in rows["example_id"]]
    rows["teaches"] = rows["order"] % 2 == 0
    rows["unboxed"] = rows["status"] != STATUS_OK
    rows = rows.sort_values(["unboxed", "order"], kind="stable")
    return rows.groupby(["label", "teaches"]).head(images)


def _lessons(bench: Bench, rows: pd.DataFrame, accused: Sequence[int], seed: int) -> Lessons:
    scenes = read_pictures(bench, bench.model.card, sorted(rows["index"].tolist()))
    rows = rows[rows["example_id"].isin(scenes)].reset_index(drop=True)
    boxed = rows[rows["status"] == STATUS_OK]
    if boxed["label"].nunique() < 2:
        raise InputError(
            "backgrounds are exchanged between classes, and fewer than 2 of the run's classes have images "
            "with boxes; `hansaudit boxes RUN` says where boxes help"
        )
    whole = ((i, scenes[example_id].picture) for i, example_id in enumerate(rows["example_id"]))
    edited = _exchanged(scenes, boxed, accused, Purpose.REPAIR_GROUNDS.rng(seed))
    sources, features = _features(bench, chain(whole, edited))
    return Lessons(features, rows["label"].to_numpy(np.int64)[sources], sources)


def _exchanged(
    scenes: dict[str, Scene], boxed: pd.DataFrame, accused: Sequence[int], rng: np.random.Generator
) -> Iterator[tuple[int, np.ndarray]]:
    """Number of the image, and the picture with its object on the background of another class.

    One background of any other class, and one of an accused class where there is another one.
    """
    of_class = {
        k: list(boxed.loc[boxed["label"] == k, "example_id"]) for k in boxed["label"].unique().tolist()
    }
    for i, example_id, label in zip(boxed.index, boxed["example_id"], boxed["label"], strict=True):
        others = [k for k in of_class if k != label]
        bad = [k for k in others if k in accused] or others
        for edit, among in enumerate((others, bad)[:EDITS]):
            giver = scenes[str(rng.choice(of_class[int(rng.choice(among))]))]
            scene, fill = scenes[example_id], FILLS[(i + edit) % len(FILLS)]
            cut = cut_backgrounds(scene, (giver,), fill, rng, RIM)
            if cut is not None:
                yield i, replace(cut[0], scene.mask, scene.picture)


def _features(bench: Bench, pictures: Iterable[tuple[int, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Of numbered pictures (h, w, 3) uint8 the numbers (n,), and what the last layer reads, (n, f)."""
    net = network(bench.model.model, APART)
    node = net.graph[net.graph.output].inputs[0]
    program = engine.compile(lambda weights, x: net.record(weights, x)[node], net.weights)
    size, coming = bench.config.execution.batch_size, iter(pictures)
    numbers: list[int] = []
    made: list[np.ndarray] = []
    while part := list(islice(coming, size)):
        filled = part + part[-1:] * (size - len(part))  # one program serves all batches
        inputs = bench.model.card.prepare(np.stack([picture for _, picture in filled]))
        made.append(ops.convert_to_numpy(program(net.tensors((inputs,))))[: len(part)])
        numbers += [number for number, _ in part]
    return np.array(numbers), np.concatenate(made).astype(np.float64)
