"""``python -m tests.runners [--runner NAME ...]``: whole audits by every runner leave the same tables.

A small audit in one process is the measure; the same with 2 and 4 workers, other sizes of shards, every
runner, and with a worker killed in the middle, must leave the same rows, values to 1e-5, edited images
included. Prints a line per case; exit code 1 where one differs. Some minutes.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from pipeline.run.edited_parts import EditedParts
from pipeline.run.store import Store

TOLERANCE = 1e-5
PACKAGES = {"dask": "distributed", "ray": "ray"}


@dataclass(frozen=True)
class Case:
    """One way to spread the audit; ``killed``: one of its workers is, in the middle."""

    runner: str
    workers: int
    shard: int
    killed: bool = False

    @property
    def words(self) -> str:
        return f"{self.runner}, {self.workers} workers, shards of {self.shard}" + (
            ", one worker killed" if self.killed else ""
        )


def cases(names: list[str]) -> Iterator[Case]:
    """Of every runner."""
    for name in names:
        yield Case(name, 2, 8)
        yield Case(name, 4, 5)
        yield Case(name, 2, 3, killed=True)


def audit(root: Path, out: Path, case: Case) -> subprocess.Popen[bytes]:
    options = ["--workers", str(case.workers), "--runner", case.runner, "--shard-size", str(case.shard)]
    line = ["run", "--config", str(root / "audit.toml"), *options, "--no-report", "--out", str(out)]
    code = "import sys; from flows import cli; sys.exit(cli.run(sys.argv[1:]))"
    return subprocess.Popen(
        [sys.executable, "-c", code, *line], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def kill_a_worker(process: subprocess.Popen[bytes], out: Path) -> None:
    """Once the first part is there, kill a process that has TensorFlow loaded and is not the run itself."""
    while process.poll() is None and not list(out.glob("examples/part-*")):
        time.sleep(0.05)
    for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else ():
        try:
            if any("tensorflow" in m.path for m in child.memory_maps()):
                os.kill(child.pid, signal.SIGKILL)
                return
        except (psutil.Error, OSError):
            continue


def tables(run: Path) -> dict[str, pd.DataFrame]:
    """Scores and edited images, in an order of their own."""
    edited = EditedParts(Store(run)).read()
    frames = {"scores": Store(run).read("scores").to_pandas(), "interventions": edited.to_pandas()}
    keys = {"scores": ["example_id", "method", "metric"], "interventions": ["example_id", "edit", "donor"]}
    return {
        name: frame.assign(**{k: frame[k].astype(str) for k in keys[name]})
        .sort_values(keys[name])
        .set_index(keys[name])
        for name, frame in frames.items()
    }


def difference(expected: dict[str, pd.DataFrame], run: Path) -> str:
    """What differs, in words; empty where nothing does."""
    for name, frame in tables(run).items():
        if not frame.index.equals(expected[name].index):
            return f"{name}: other rows"
        column = "value" if name == "scores" else "probability"
        apart = np.abs(frame[column].to_numpy() - expected[name][column].to_numpy())
        if not np.array_equal(frame[column].isna(), expected[name][column].isna()):
            return f"{name}: other values are missing"
        if np.nanmax(apart) > TOLERANCE:
            return f"{name}: {np.nanmax(apart):.2g} apart"
    return ""


def play(root: Path, case: Case, number: int, expected: dict[str, pd.DataFrame]) -> str:
    """What is wrong with a case; empty where nothing is."""
    out = root / f"run-{number}"
    process = audit(root, out, case)
    if case.killed:
        threading.Thread(target=kill_a_worker, args=(process, out), daemon=True).start()
    _, said = process.communicate()
    if process.returncode:
        return f"exit code {process.returncode}: {said.decode(errors='replace').strip()[-300:]}"
    return difference(expected, out)


def prepare(root: Path) -> None:
    """A small network on planted data, and the configuration of its audit."""
    planted = root / "data"
    (root / "audit.toml").write_text(
        f'perturbation = false\n[dataset]\nsource = "planted"\npath = "{planted}"\nlimit = 48\n'
        '[model]\nsource = "planted"\n[[methods]]\nname = "lrp.preset_a"\n[execution]\nbatch_size = 8\n'
        "[sanity]\nimages = 0\n[audit]\nmaps = 0\nthumbnails = false\n[ranking]\ndraws = 100\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runner", nargs="*", default=["processes", "dask", "ray"])
    given = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="runners-") as name:
        root = Path(name)
        prepare(root)
        alone = Case("processes", 1, 16)
        if process_failed := audit(root, root / "alone", alone).wait():
            return process_failed
        expected = tables(root / "alone")
        for number, case in enumerate(cases(given.runner)):
            package = PACKAGES.get(case.runner)
            if package and importlib.util.find_spec(package) is None:
                print(f"{case.words}: not run, {package} is not installed", flush=True)
                continue
            fault = play(root, case, number, expected)
            wrong += bool(fault)
            print(f"{case.words}: {fault or 'the same'}", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
