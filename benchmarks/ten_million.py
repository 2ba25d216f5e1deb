"""A run of ten million images and fifty million scores: what every reader of a run folder takes of it.

    python -m benchmarks.ten_million                        # some 2 GB in the temporary folder
    python -m benchmarks.ten_million --images 1000000

No image is explained: examples and scores are drawn, in shards of 10,000 images, 1,000 classes, five metrics.
``compact`` first, then each reader in a process of its own: wall seconds, seconds of CPU, peak memory.
``--keep FOLDER`` leaves the run there. Exit code 1 where the readers together take more than 10 minutes of
wall time, or one of them more than 8 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline import schema
from pipeline.config import parse_config
from pipeline.run.folder import MANIFEST
from pipeline.run.hashes import HASH, INVENTORY, hashed
from pipeline.run.store import Store
from tests import tables

CLASSES, SHARD = 1000, 10_000
METRICS = ("relevance_in", "relevance_out", "ratio", "mass", "lift")
MOST_SECONDS, MOST_GB = 600.0, 8.0
POLICY = '[[check]]\nstatistic = "n_suspicious"\nmax = 1000\n'

_TIMED = """
import json, os, resource, sys, time
began = time.perf_counter()
{code}
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({{"wall": time.perf_counter() - began, "cpu": used.ru_utime + used.ru_stime,
                  "gb": used.ru_maxrss * 1024 / 1e9}}))
"""
READERS = {
    "missing": "from pipeline.run.store import Store; assert not Store(sys.argv[1]).missing()",
    "scan": (
        "from pipeline.run.store import Store; "
        "print(sum(b.num_rows for b in Store(sys.argv[1]).scan('scores', ['value'])), 'scores')"
    ),
    "rank": "from flows.report import rank_run; rank_run(sys.argv[1])",
    "gate": (
        "from reports.gate.evaluate import evaluate; print(evaluate(sys.argv[1], sys.argv[2]).counts_as)"
    ),
    "report": "from flows import cli; assert cli.run(['report', sys.argv[1]]) == 0",
    "diff": "from flows import cli; assert cli.run(['diff', sys.argv[1], sys.argv[1]]) in (0, 1)",
}


def write(path: Path, images: int) -> None:
    """The run, shard by shard: memory does not grow with it."""
    classes = min(CLASSES, max(10, images // 1000))
    path.mkdir(parents=True)
    names = tuple(f"class {k:04d}" for k in range(classes))
    keys = [f"validation-{s:09d}-{min(s + SHARD, images):09d}" for s in range(0, images, SHARD)]
    config = parse_config(
        {"audit": {"maps": 0, "thumbnails": False}, "perturbation": False, "methods": ["lrp.preset_a"]}
    )
    manifest = tables._manifest(config, names, {}, keys, images) | {INVENTORY: HASH}
    (path / MANIFEST).write_text(json.dumps(hashed(manifest)), encoding="utf-8")
    store = Store(path)
    for number, key in enumerate(keys):
        rows = min(SHARD, images - number * SHARD)
        frame = tables.draw_examples(classes, -(-rows // classes), number, {3: -2.0, 5: -1.0}, 0.002)[:rows]
        frame.index = pd.RangeIndex(number * SHARD, number * SHARD + rows)
        frame["example_id"] = [f"image-{i:09d}" for i in frame.index]
        store.write_shard(
            key,
            {
                "examples": tables._examples(frame, names, key),
                "scores": _scores(frame, config.methods[0].key),
            },
        )


def _scores(frame: pd.DataFrame, method: str) -> pa.Table:
    """Five scores of every image; null where its status is not ok."""
    mass, k = frame["mass"].to_numpy(), len(METRICS)
    columns = [10 * mass, 10 * (1 - mass), mass / (1 - mass), mass, frame["lift"].to_numpy()]
    bad = (frame["status"] != schema.STATUS_OK).to_numpy()
    return pa.Table.from_arrays(
        [
            pa.array(np.repeat(frame["example_id"].to_numpy(dtype=object), k), pa.string()),
            pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(frame) * k, np.int32)), pa.array([method])),
            pa.DictionaryArray.from_arrays(
                pa.array(np.tile(np.arange(k, dtype=np.int32), len(frame))), pa.array(METRICS)
            ),
            pa.array(np.stack(columns, axis=1).ravel(), pa.float64(), mask=np.repeat(bad, k)),
            pa.array(np.where(np.repeat(bad, k), "synthetic", None), pa.string()),
        ],
        schema=schema.SCORES,
    )


def timed(code: str, *arguments: str) -> dict[str, float]:
    """Wall and CPU seconds and peak GB of ``code`` in a process of its own; says what it says."""
    done = subprocess.run(
        [sys.executable, "-c", _TIMED.format(code=code), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    *said, last = done.stdout.splitlines()
    print("\n".join(f"    {line}" for line in said[-2:]))
    measured: dict[str, float] = json.loads(last)
    return measured


def measure(path: Path, images: int) -> int:
    """Write, compact, read; print a line each."""
    began = time.perf_counter()
    write(path, images)
    print(
        f"{images:,} images, {len(METRICS) * images:,} scores: written in {time.perf_counter() - began:.0f} s"
    )
    policy = path.parent / "gate.toml"
    policy.write_text(POLICY, encoding="utf-8")
    figures = {
        "compact": timed("from flows import cli; assert cli.run(['compact', sys.argv[1]]) == 0", str(path))
    }
    for name, code in READERS.items():
        figures[name] = timed(code, str(path), str(policy))
    for name, f in figures.items():
        print(f"{name:8} {f['wall']:7.1f} s  {f['cpu']:7.1f} s of CPU  {f['gb']:5.2f} GB", flush=True)
    wall = sum(f["wall"] for name, f in figures.items() if name != "compact")
    most = max(f["gb"] for f in figures.values())
    print(
        f"readers {wall:.0f} s, at most {most:.2f} GB; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    return int(wall > MOST_SECONDS or most > MOST_GB)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=10_000_000)
    parser.add_argument("--keep", type=Path, help="leave the run in this new folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return measure(options.keep or Path(folder, "run"), options.images)


if __name__ == "__main__":
    sys.exit(main())
