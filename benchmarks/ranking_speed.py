"""How long a ranking takes and how much memory it needs; and the report of it.

    python -m benchmarks.ranking_speed                       # 50,000 images; then 10,000 with maps
    python -m benchmarks.ranking_speed --images 5000000      # streaming; without maps

A synthetic run (tests/tables.py) with 7 metrics is written first; each ranking is a fresh process, so that
its peak memory is its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.tables import write_run

_RANK = """
import resource, sys, time
start = time.perf_counter()
from pipeline.statistics.ranking import rank
loaded = time.perf_counter()
ranking = rank(sys.argv[1])
end = time.perf_counter()
used = resource.getrusage(resource.RUSAGE_SELF)
print(f"{loaded - start:.1f} s to import, {end - loaded:.1f} s to rank "
      f"({used.ru_utime + used.ru_stime:.1f} s of CPU), peak {used.ru_maxrss / 2**20:.2f} GiB, "
      f"TensorFlow loaded: {'tensorflow' in sys.modules}, "
      f"{ranking.summary['n_images_used']} images used, verdicts {ranking.summary['verdicts']}")
from reports.page.html import write_report
start = time.perf_counter()
page = write_report(sys.argv[1], ranking)
print(f"{time.perf_counter() - start:.1f} s to write the report of {len(ranking.table)} classes, "
      f"{page.stat().st_size / 1e6:.1f} MB")
"""


def measure(images: int, classes: int, maps: bool, shard: int, folder: Path) -> None:
    """Write a run and rank it in a process of its own."""
    run = folder / f"run-{images}-{maps}"
    start = time.perf_counter()
    write_run(
        run, classes, images // classes, 0, {3: -2.0, 5: -1.0}, maps=maps, thumbnails=False, shard_size=shard
    )
    print(
        f"{images} images, {classes} classes, maps: {maps} (written in {time.perf_counter() - start:.0f} s)"
    )
    subprocess.run([sys.executable, "-c", _RANK, str(run)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument(
        "--shard-size", type=int, default=0, help="default: 128, or 10000 from a million images on"
    )
    options = parser.parse_args()
    large = options.images >= 1_000_000
    shard = options.shard_size or (10_000 if large else 128)
    with tempfile.TemporaryDirectory() as folder:
        measure(options.images, options.classes, False, shard, Path(folder))
        if not large:
            measure(options.images // 5, options.classes // 5, True, shard, Path(folder))


if __name__ == "__main__":
    main()
