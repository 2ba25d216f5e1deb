"""Images per second from the TFRecords of ImageNet JPEGs to the network's input, alone.

    HANSAUDIT_ILSVRC=<folder> python -m benchmarks.reading [--repeats 3]

Reads, decodes, resizes (antialiased), crops, normalises, maps the boxes: all of `iter_batches`. Nothing is
explained. The first pass warms the file cache and is not counted. At the end: how long it takes to abandon a
pass after its first batch, whose threads must stop.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from pipeline.config_sections import DatasetConfig
from pipeline.inputs.batches import iter_batches
from pipeline.inputs.card import ModelCard
from pipeline.inputs.datasets import open_dataset
from pipeline.inputs.datasets.ilsvrc2012 import prepare_ilsvrc2012
from pipeline.inputs.shards import plan_shards

CARD = ModelCard(height=224, width=224, shorter_side=256, mean=(127.5,) * 3, std=(127.5,) * 3)


def measure(
    folder: Path, repeats: int, batch_size: int = 16, shard_size: int = 128
) -> list[tuple[float, float]]:
    """(images per second, CPU milliseconds per image) of each pass over the dataset."""
    dataset = open_dataset(DatasetConfig(source="tfds", path=str(folder)))
    info = dataset.info
    shards = plan_shards(info.name, info.split, info.n_examples, shard_size)
    passes = []
    for _ in range(repeats + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        images = sum(int(b.valid.sum()) for s in shards for b in iter_batches(dataset, s, CARD, batch_size))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        passes.append((images / wall, 1e3 * cpu / images))
    return passes[1:]


def abandon(folder: Path, batch_size: int = 16) -> float:
    """Seconds from a pass's first batch to the end of its threads."""
    dataset = open_dataset(DatasetConfig(source="tfds", path=str(folder)))
    info = dataset.info
    (shard,) = plan_shards(info.name, info.split, info.n_examples, info.n_examples)
    stream = iter_batches(dataset, shard, CARD, batch_size)
    next(stream)
    start = time.perf_counter()
    stream.close()
    return time.perf_counter() - start


def main() -> None:
    """Print one line per pass."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    source = Path(os.environ.get("HANSAUDIT_ILSVRC", ""))
    if not (source / "ILSVRC2012_img_val.tar").is_file():
        parser.error("HANSAUDIT_ILSVRC names no folder with the real ILSVRC files")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "ilsvrc"
        prepare_ilsvrc2012(source / "ILSVRC2012_img_val.tar", source / "ILSVRC2012_bbox_val_v3.tgz", out)
        print(
            f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; goal: >= 300 images/s on 2 quiet cores"
        )
        for rate, cpu in measure(out, arguments.repeats):
            print(f"{rate:6.0f} images/s   {cpu:5.2f} ms of CPU per image")
        print(f"{abandon(out):.2f} s to abandon a pass")


if __name__ == "__main__":
    main()
