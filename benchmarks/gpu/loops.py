"""What surrounds the maps, on VGG16 with decoded images in memory: curves, interventions, audit loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from benchmarks.gpu.device import Device
from benchmarks.gpu.order import AUDIT_LOOP, CURVES, INTERVENTIONS, Step
from benchmarks.gpu.table import Row
from benchmarks.gpu.wanted import METHOD, NETWORK
from explainers import create_analyzer, engine

if TYPE_CHECKING:
    from pipeline.inputs.batches import Batch
    from pipeline.inputs.card import ModelCard

POINTS = 36  # variants of an image beside itself: the default curves
REGIONS = 25  # across a picture
BATCHES = 4  # of a shard in the loop of the audit
LEAST_TIMES = 6  # as long as the maps alone are repeated
NOTES = {
    CURVES: f"images whose curves are drawn: {POINTS + 1} passes each",
    INTERVENTIONS: "edited pictures, made on the CPU one after the other",
}


def measure_loop(device: Device, model: keras.Model, batch: int, step: Step) -> Row:
    """The row of one of them. Raises ImportError where a package that it needs is not there."""
    stages = {CURVES: curves, INTERVENTIONS: interventions, AUDIT_LOOP: audit_loop}
    device.forget_peak()
    with engine.precision(step.precision):
        rate = stages[step.what](model, batch, device)
    return Row(
        step.network, step.what, step.precision, batch,
        whole_rate=rate, peak=device.peak(), note=NOTES.get(step.what, ""),
    )  # fmt: skip


def rate_of(step: Callable[[], int], device: Device) -> float:
    """How many a second ``step`` makes, which returns how many it made; the first time does not count."""
    step()
    made, rounds, began = 0, 0, time.perf_counter()
    while not rounds or time.perf_counter() - began < LEAST_TIMES * device.least:
        made, rounds = made + step(), rounds + 1
    return made / (time.perf_counter() - began)


def curves(model: keras.Model, batch: int, device: Device) -> float:
    """Images a second whose curves are drawn: ``POINTS`` variants of each and itself."""
    from pipeline.measure.evaluate import Evaluator, Variants

    rng = np.random.default_rng(0)
    size = model.input_shape[1]
    images = max(2, batch // 4)
    cells = -(-size // -(-size // REGIONS))
    rows = np.array([(2 * i, 2 * i + 1, i, k) for i in range(images) for k in range(POINTS + 1)])
    variants = Variants(
        pictures=rng.normal(size=(2 * images, size, size, 3)).astype(np.float32),
        ranks=np.stack([rng.permutation(cells**2).reshape(cells, cells) for _ in range(images)]).astype(
            np.int32
        ),
        under=rows[:, 0],
        over=rows[:, 1],
        order=rows[:, 2],
        count=rows[:, 3],
        side=-(-size // REGIONS),
    )
    evaluator = Evaluator(model, batch)

    def step() -> int:
        evaluator.variants(variants)
        return images

    return rate_of(step, device)


def interventions(model: keras.Model, batch: int, device: Device) -> float:
    """Edited pictures a second: made on the CPU, one after the other, as an audit does, then classified."""
    from pipeline.measure.evaluate import Evaluator
    from pipeline.measure.interventions.kinds import Donor, Subject, all_interventions
    from pipeline.measure.interventions.pictures import Scene

    pictures, masks = drawn(model.input_shape[1], 8)
    scenes = [Scene(picture, mask) for picture, mask in zip(pictures, masks, strict=True)]
    subjects = [
        Subject(s, Donor("own", scenes[i - 1]), (Donor("a", scenes[i - 2]), Donor("b", scenes[i - 3])))
        for i, s in enumerate(scenes)
    ]
    evaluator, card = Evaluator(model, batch), card_of(model)

    def edited() -> Iterator[np.ndarray]:
        rng = np.random.default_rng(0)
        while True:
            for subject in subjects:
                for kind in all_interventions():
                    yield from (edit.picture for edit in kind.edits(subject, rng))

    edits = edited()

    def step() -> int:
        evaluator.logits(card.prepare(np.stack([next(edits) for _ in range(batch)])))
        return batch

    return rate_of(step, device)


def audit_loop(model: keras.Model, batch: int, device: Device) -> float:
    """Images a second of the loop over a shard: maps, metrics, rows, thumbnails; nothing read or written."""
    from pipeline.busy import Busy
    from pipeline.config import Config
    from pipeline.config_sections import MethodConfig
    from pipeline.inputs.datasets import DatasetInfo
    from pipeline.inputs.models import LoadedModel
    from pipeline.inputs.shards import parse_key
    from pipeline.measure.audit import audit_batches
    from pipeline.measure.bench import Bench

    class InMemory:
        """A dataset of which only the names are asked."""

        info = DatasetInfo("memory", "val", batch, ("a", "b"), ("a", "b"), "")

        def read(self, shard: Any) -> Iterator[Any]:
            return iter(())

    fitted = create_analyzer(METHOD)
    config = Config(methods=(MethodConfig(name=METHOD),))
    with engine.precision("float32"):
        bound = fitted.fit(model)
    bench = Bench(config, InMemory(), LoadedModel(model, card_of(model), "", NETWORK), {METHOD: bound})
    images, count = batch_of(model, batch), BATCHES if device.least else 1
    shard = parse_key("memory", f"val-{0:09d}-{count * batch:09d}")

    def step() -> int:
        return audit_batches([images] * count, shard, bench, None, Busy())["examples"].num_rows

    return rate_of(step, device)


def card_of(model: keras.Model) -> ModelCard:
    """Pixels from -1 to 1."""
    from pipeline.inputs.card import ModelCard

    height, width = model.input_shape[1:3]
    return ModelCard(
        height, width, shorter_side=height, mean=(127.5,) * 3, std=(127.5,) * 3, classes=model.output_shape[1]
    )


def drawn(size: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (n, h, w, 3) uint8 of coarse noise, and masks (n, h, w) of a box in each."""
    rng = np.random.default_rng(2)
    coarse = rng.integers(0, 256, (n, 8, 8, 3), np.uint8)
    pictures = coarse.repeat(-(-size // 8), axis=1).repeat(-(-size // 8), axis=2)[:, :size, :size]
    masks = np.zeros((n, size, size), bool)
    for mask, (top, left) in zip(masks, rng.integers(0, size // 2, (n, 2)), strict=True):
        mask[top : top + size // 3, left : left + size // 3] = True
    return pictures, masks


def batch_of(model: keras.Model, n: int) -> Batch:
    """Decoded images with boxes."""
    from pipeline.inputs.batches import Batch
    from pipeline.inputs.datasets import Record

    pictures, masks = drawn(model.input_shape[1], n)
    spans = [[np.flatnonzero(mask.any(axis=axis))[[0, -1]] for axis in (0, 1)] for mask in masks]
    boxes = [np.array([[x[0], y[0], x[1], y[1]]], np.float32) for x, y in spans]
    return Batch(
        records=tuple(Record(f"image-{i}", i, "", b"", 0, boxes[i]) for i in range(n)),
        pictures=pictures,
        inputs=card_of(model).prepare(pictures),
        valid=np.ones(n, bool),
        labels=np.zeros(n, np.int32),
        masks=masks,
        boxes_model=tuple(box.astype(np.int32) for box in boxes),
        sizes=np.full((n, 2), pictures.shape[1], np.int32),
        status=("ok",) * n,
        reason=(None,) * n,
    )
