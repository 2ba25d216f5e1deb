"""The whole audit against the bare compiled analyzer on the same batches, preloaded: wanted <= 1.15.

    python -m benchmarks.end_to_end DATASET MODEL [--method lrp.preset_a] [--repeats 3] [--weights none]

One process, one model. "bare" explains batches that are already in memory. "audit" is the flow that
`hansaudit run` runs, into a new folder: reading, decoding, boxes, explanation, metrics, maps, thumbnails,
Parquet with fsync, a Prefect task per shard, start and end of the flow, a look at 64 images and the forecast;
"loop" is the part of it that grows with the images. What comes before the first image and after
the last (sanity of the methods, ranking, report) is listed below. The passes alternate; the best of each
counts.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from flows.options import Settings
from flows.server import start_server
from flows.settings import load_tensorflow, quiet_logs
from pipeline.config import Config
from pipeline.config_sections import SanityConfig
from pipeline.run.store import Store


def preload(config: Config) -> list[np.ndarray]:
    """The inputs of every batch of the run."""
    from pipeline.inputs.batches import iter_batches
    from pipeline.measure.benches import bench_for

    bench = bench_for(config)
    execution = config.execution
    return [
        batch.inputs
        for shard in bench.shards
        for batch in iter_batches(bench.dataset, shard, bench.model.card, execution.batch_size)
    ]


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of ``action``."""
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Print bare, audit, their ratio, and what comes before and after."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("model")
    parser.add_argument("--method", action="append")
    parser.add_argument("--weights", help="of an application's name as MODEL; none: random ones, as fast")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    settings = Settings(None)
    settings.dataset(arguments.dataset, None)
    settings.set("dataset", limit=arguments.limit)
    settings.set("model", source=arguments.model, weights=arguments.weights)
    settings.set("execution", batch_size=arguments.batch_size)
    settings.set("sanity", images=0)
    settings.set("interventions", images=0)
    settings.set("transfer", images=0)
    settings.curves(wanted=False, budget=None)
    settings.methods(arguments.method)
    compare(settings.config(), arguments.repeats)


def compare(config: Config, repeats: int) -> None:
    """Alternate bare and audit, then print the table."""
    quiet_logs()
    before = {"prefect's server": timed(start_server)[0], "tensorflow": timed(load_tensorflow)[0]}
    from pipeline.measure.benches import bench_for

    before["model and compilation"] = timed(lambda: bench_for(config))[0]
    from explainers import analyze_many
    from flows.report import rank_run, write_report_file
    from flows.run import TABLES, run_audit
    from pipeline.measure.sanity import check_run

    bench, batches = bench_for(config), preload(config)
    methods = list(bench.methods.values())
    images = bench.dataset.info.n_examples
    bare, audit, loop = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(repeats):
            out = os.path.join(folder, str(i))
            bare.append(timed(lambda: [analyze_many(methods, x) for x in batches]))
            audit.append(timed(lambda out=out: run_audit(config, out, TABLES, None)))
            loop.append(Store(out).manifest["sessions"][0]["seconds"])
            print(f"pass {i + 1}: bare {bare[-1][0]:.2f} s, audit {audit[-1][0]:.2f} s", flush=True)
        checked = replace(bench, config=config.model_copy(update={"sanity": SanityConfig()}))
        after = {"sanity": timed(lambda: check_run(Store(out), checked))[0]}
        after["ranking"] = timed(lambda: rank_run(out, config.ranking))[0]
        ranking = rank_run(out, config.ranking)
        after["report"] = timed(lambda: write_report_file(out, ranking))[0]
    print(
        f"{images} images, {', '.join(bench.methods)}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    for name, rows in (("bare", bare), ("audit", audit)):
        wall, cpu = min(w for w, _ in rows), min(c for _, c in rows)
        rate = f"{images / wall:6.1f} images/s  {1e3 * cpu / images:6.1f} ms CPU per image"
        print(f"{name:6} {wall:7.2f} s  {rate}")
    for i, what in enumerate(("wall", "CPU")):
        print(f"audit / bare, {what}: {min(r[i] for r in audit) / min(r[i] for r in bare):.3f}")
    print(f"loop / bare, wall: {min(loop) / min(wall for wall, _ in bare):.3f}")
    for title, parts in (("before the first image", before), ("after the last", after)):
        print(f"{title}: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in parts.items()))


if __name__ == "__main__":
    main()
