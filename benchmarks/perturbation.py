"""Cost of perturbation curves against the same number of plain batched forward passes.

    python -m benchmarks.perturbation --model squeezenet_v1.1.keras --short    # the curves that a run draws
    python -m benchmarks.perturbation --model squeezenet_v1.1.keras [--quantus]

Interleaved, in one process, the same compiled forward pass on both sides; wall and processor time (the
latter hardly depends on what else the machine does), minimum and median over the rounds. What is timed
for the curves is everything that the audit adds: fills, orders, variants, passes, rows of the tables.
``--quantus`` adds Quantus' RegionPerturbation where it is installed (it is no dependency).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

MUST_REACH = 1.05


def make_batch(card: Any, images: int) -> Any:
    """Random pictures as a batch of the pipeline."""
    from pipeline.inputs.batches import Batch
    from pipeline.inputs.datasets import NO_BOXES, Record

    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (images, card.height, card.width, 3), np.uint8)
    return Batch(
        records=tuple(Record(f"image-{i}", i, "", b"", 0, NO_BOXES) for i in range(images)),
        pictures=pictures,
        inputs=card.prepare(pictures),
        valid=np.ones(images, bool),
        labels=np.zeros(images, np.int32),
        masks=np.zeros(pictures.shape[:3], bool),
        boxes_model=(NO_BOXES,) * images,
        sizes=np.zeros((images, 2), np.int32),
        status=("ok",) * images,
        reason=(None,) * images,
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds per round of both sides, interleaved."""
    from explainers import Explanation
    from pipeline.config_sections import ModelConfig, PerturbationConfig
    from pipeline.inputs.models import load_model
    from pipeline.measure.curves import Perturber
    from pipeline.measure.evaluate import Evaluator

    loaded = load_model(ModelConfig(source=options.model))
    batch = make_batch(loaded.card, options.images)
    rng = np.random.default_rng(1)
    shape = batch.inputs.shape
    map_ = Explanation(
        rng.normal(size=shape).astype(np.float32),
        np.zeros((options.images, loaded.card.classes), np.float32),
        np.zeros(options.images, np.int32),
        (None,) * options.images,
    )
    given = {} if options.short else {"steps": options.steps, "points": 0, "repeats": options.repeats}
    config = PerturbationConfig(**given)
    evaluator = Evaluator(loaded.model, options.batch)
    perturber = Perturber(evaluator, loaded.card, config, 0)
    perturber.tables(batch, [map_], ["map"])
    passes = evaluator.passes  # all that the network was asked for, whole batches
    whole = np.resize(batch.inputs, (options.batch, *shape[1:]))

    def plain() -> None:
        for _ in range(-(-passes // options.batch)):
            evaluator.network.logits((whole,))

    sides: dict[str, Callable[[], Any]] = {
        "plain": plain,
        "curves": lambda: perturber.tables(batch, [map_], ["map"]),
    }
    if options.quantus:
        sides["quantus"] = quantus_side(loaded.model, batch, map_, options)
    for run in sides.values():
        run()
    wall: dict[str, list[float]] = {name: [] for name in sides}
    processor: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, run in sides.items():
            start, used = time.perf_counter(), time.process_time()
            run()
            wall[name].append(time.perf_counter() - start)
            processor[name].append(time.process_time() - used)
    return {"passes": passes, "wall": wall, "processor": processor, "options": vars(options)}


def quantus_side(model: Any, batch: Any, map_: Any, options: argparse.Namespace) -> Callable[[], Any]:
    """Quantus' RegionPerturbation with the same regions and steps: as many orders and repeats one by one."""
    import quantus

    labels = np.zeros(options.images, int)
    metrics = [
        quantus.RegionPerturbation(
            patch_size=9,
            order=order,
            regions_evaluation=options.steps,
            perturb_baseline="uniform",
            disable_warnings=True,
            display_progressbar=False,
        )
        for order in ("morf", "lerf", "random")
    ]

    def run() -> None:
        for _ in range(options.repeats):
            for metric in metrics:
                metric(
                    model=model,
                    x_batch=batch.inputs,
                    y_batch=labels,
                    a_batch=map_.relevance.sum(axis=-1)[:, None],  # it wants channels first
                    channel_first=False,
                    batch_size=options.batch,
                )

    return run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help=".keras file with its card, or a known one")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="the protocol of a run, not --steps --repeats")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quantus", action="store_true")
    parser.add_argument("--out", default="")
    options = parser.parse_args()
    measured = measure(options)
    print(f"{measured['passes']} passes per round, batch {options.batch}, {options.rounds} rounds")
    for clock in ("wall", "processor"):
        plain = measured[clock]["plain"]
        for name, seconds in measured[clock].items():
            ratio = statistics.median(s / p for s, p in zip(seconds, plain, strict=True))
            line = (
                f"{clock:9s} {name:7s} min {min(seconds):7.3f} s, median {statistics.median(seconds):7.3f} s"
            )
            print(f"{line}; ratio of minima {min(seconds) / min(plain):.3f}, median ratio {ratio:.3f}")
    if options.out:
        Path(options.out).write_text(json.dumps(measured, indent=1))


if __name__ == "__main__":
    main()
