"""How long the commands that read finished runs take on 1,000 classes: gate, its baseline, diff, history.

    python -m benchmarks.gate_speed [--classes 1000] [--runs 6] [--times 5]

Synthetic runs (tests/tables.py) of 20 images per class are written first; what editing showed of their
classes is given. Every command is a fresh process, so imports count, and stands beside a bare
``import pandas, pyarrow``: the ratio holds on a busy machine, too. Told is the shortest of several times.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.run.folder import MANIFEST, RunFolder
from pipeline.statistics.ranking import rank
from tests.reports.gate.edited import edit_run
from tests.tables import write_run

BARE = "import pandas, pyarrow"
COMMAND = "import sys; from flows import cli; sys.exit(cli.run(sys.argv[1:]))"
POLICY = '[[check]]\nstatistic = "n_confirmed"\nmax = 0\n[[check]]\nmetric = "accuracy"\nmin = 0.3\n'


def write_runs(folder: Path, classes: int, runs: int) -> list[str]:
    """Nights of one dataset: a class that is confirmed in every other one."""
    paths = []
    for k in range(runs):
        path = folder / f"night-{k:02d}"
        write_run(path, classes, 20, 7, {3: -2.0 * (k % 2)}, False, False, shard_size=2048)
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        manifest["sessions"][0]["started"] = f"2026-03-{k + 1:02d}T02:00:00+00:00"
        (path / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        rank(path).document().write(RunFolder(path))
        edit_run(path, {3: "depends" if k % 2 else "independent", 8: "undecided"})
        paths.append(str(path))
    return paths


def measure(words: Sequence[str]) -> tuple[float, float]:
    """Seconds and CPU seconds of one process; exit codes that judge are none of its faults."""
    before, start = os.times(), time.perf_counter()
    done = subprocess.run([sys.executable, "-c", *words], capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - start, os.times()
    if done.returncode not in (0, 1, 4):
        raise SystemExit(done.stderr)
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=6)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_runs(folder, options.classes, options.runs)
        policy, changes, course = folder / "gate.toml", folder / "changes.html", folder / "history.html"
        policy.write_text(POLICY, encoding="utf-8")
        gate = ["gate", paths[1], "--policy", str(policy)]
        processes = {
            BARE: [BARE],
            "gate": [COMMAND, *gate],
            "gate with a baseline": [COMMAND, *gate, "--baseline", paths[0]],
            "diff, with page": [COMMAND, "diff", paths[0], paths[1], "--html", str(changes)],
            f"history of {len(paths)} runs, with page": [COMMAND, "history", *paths, "--html", str(course)],
        }
        # in turn, so that what else the machine does meets all of them
        taken = [{key: measure(words) for key, words in processes.items()} for _ in range(options.times)]
        best = {key: min(times[key] for times in taken) for key in processes}
        print(f"{options.classes} classes: | seconds | CPU seconds | x bare imports, CPU")
        for key, (wall, cpu) in best.items():
            print(f"{key} | {wall:.2f} | {cpu:.2f} | {cpu / best[BARE][1]:.1f}")
        for page in (changes, course):
            print(f"{page.name}: {page.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
