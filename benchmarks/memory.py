"""Memory does not grow with the number of shards: peak RSS at N images and at 10 N, wanted < 10 % apart.

    python -m benchmarks.memory DATASET MODEL [--times 10] [--limit N]

Each size is audited in a process of its own, by the same code that a shard's task runs, and read back by the
ranking's scan. The larger one reads the same records ten times over, under other names.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from flows.options import Settings
from flows.settings import load_tensorflow


@dataclass(frozen=True)
class Repeated:
    """A dataset, ``times`` times over."""

    dataset: Any
    times: int

    @property
    def info(self) -> Any:
        info = self.dataset.info
        return replace(info, n_examples=info.n_examples * self.times)

    def read(self, shard: Any) -> Iterator[Any]:
        n = self.dataset.info.n_examples
        for index in range(shard.start, shard.stop):
            if index == shard.start or index % n == 0:
                stop = min(n, index % n + shard.stop - index)
                records = self.dataset.read(replace(shard, start=index % n, stop=stop))
            yield replace(next(records), index=index, example_id=f"{index}")


def peak(arguments: argparse.Namespace, times: int) -> float:
    """Peak resident memory in MB of a process that audits the data ``times`` times over."""
    command = [sys.executable, "-m", "benchmarks.memory", arguments.dataset, arguments.model]
    command += ["--method", arguments.method, "--limit", str(arguments.limit), "--child", str(times)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.splitlines()[-1])


def child(arguments: argparse.Namespace) -> None:
    """Audit, scan, print the peak."""
    load_tensorflow()
    from pipeline.measure.audit import audit_run
    from pipeline.measure.benches import bench_for
    from pipeline.run.store import Store

    settings = Settings(None)
    settings.dataset(arguments.dataset, None)
    settings.set("dataset", limit=arguments.limit)
    settings.set("model", source=arguments.model)
    settings.methods([arguments.method])
    settings.set("sanity", images=0)
    settings.curves(wanted=False, budget=None)
    bench = bench_for(settings.config())
    bench = replace(bench, dataset=Repeated(bench.dataset, arguments.child))
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        audit_run(store, bench)
        rows = sum(batch.num_rows for table in store.tables for batch in store.scan(table))
    print(f"{bench.dataset.info.n_examples} images, {rows} rows", file=sys.stderr)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Print both peaks and how far they are apart."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("model")
    parser.add_argument("--method", default="lrp.preset_a")
    parser.add_argument("--limit", type=int, default=0, help="N, where it is not the whole dataset")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--child", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        child(arguments)
        return
    small, large = peak(arguments, 1), peak(arguments, arguments.times)
    growth = f"{large / small - 1:+.1%}"
    print(f"peak RSS: {small:.0f} MB, {arguments.times} times the data {large:.0f} MB: {growth}")


if __name__ == "__main__":
    main()
