"""Many small runs in one process, one after the other: memory, handles, threads, temporary files stay flat.

    python -m benchmarks.soak [--runs 200] [--images 24]

The flow that `hansaudit serve` runs every night, with ranking and report, on drawn data; what the first runs
leave behind (compiled programs, caches) is not counted. Exit code 1 where something grows.
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from flows.server import start_server
from flows.settings import load_tensorflow, quiet_logs

WARM = 0.2  # share of the runs after which the process has what it keeps
MOST_MEMORY = 0.2  # MiB per run: 200 nights may cost 40 MiB


@dataclass(frozen=True)
class Use:
    """What the process holds: resident memory in MiB, open files, threads, files in its temporary folder."""

    memory: float
    files: int
    threads: int
    temporary: int


def measure(temporary: Path) -> Use:
    """Now, after a collection of garbage."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    memory = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    files = len(os.listdir("/proc/self/fd"))
    return Use(memory, files, threading.active_count(), sum(1 for _ in temporary.rglob("*")))


def soak(runs: int, images: int, folder: Path, temporary: Path) -> list[Use]:
    """The use after every run."""
    from flows.run import REPORT, run_audit
    from pipeline.config import parse_config

    config = parse_config(
        {
            "dataset": {"source": "planted", "path": str(folder / "data"), "limit": images},
            "model": {"source": "planted"},
            "methods": [{"name": "lrp.preset_a"}],
        }
    )
    uses = []
    for number in range(runs):
        out = folder / f"run-{number}"
        run_audit(config, str(out), REPORT, None)
        shutil.rmtree(out)
        uses.append(measure(temporary))
        if number % 10 == 0 or number == runs - 1:
            shown = "  ".join(f"{value:8.0f}" for value in astuple(uses[-1]))
            print(f"run {number + 1:4}  {shown}", flush=True)
    return uses


def growth(uses: Sequence[Use]) -> dict[str, float]:
    """Slope per run of each figure over the runs that count (least squares)."""
    counted = uses[int(len(uses) * WARM) :]
    x = np.arange(len(counted))
    return {
        f.name: float(np.polyfit(x, [getattr(use, f.name) for use in counted], 1)[0]) for f in fields(Use)
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--images", type=int, default=24)
    arguments = parser.parse_args()
    quiet_logs()
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name, "tmp")
        temporary.mkdir()
        tempfile.tempdir = str(temporary)
        start_server()
        load_tensorflow()
        print("            MiB     files   threads   temporary")
        slopes = growth(soak(arguments.runs, arguments.images, Path(name), temporary))
    limits = {"memory": MOST_MEMORY, "files": 0.02, "threads": 0.02, "temporary": 0.02}
    for figure, slope in slopes.items():
        verdict = "flat" if slope <= limits[figure] else "GROWS"
        print(f"{figure:10} {slope:+8.3f} per run  {verdict}")
    return int(any(slope > limits[figure] for figure, slope in slopes.items()))


if __name__ == "__main__":
    sys.exit(main())
