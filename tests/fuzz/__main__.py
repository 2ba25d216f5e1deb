"""``python -m tests.fuzz --n 100000 --seed 0 [--reader NAME] [--keep FOLDER]``

Every reader gets its share of ``n`` spoilt files, in a process of its own, so that a crash costs one case.
Prints a table; all columns of faults must be zero, else the exit code is 1. ``--keep`` stores the files at
fault.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests.fuzz.cases import ACCEPTED, FAULTS, REFUSED, Outcome, guard, judge, spoilt
from tests.fuzz.readers import READERS, Reader


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", action="append", choices=[reader.name for reader in READERS])
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--worker", nargs=2, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    readers = [r for r in READERS if not arguments.reader or r.name in arguments.reader]
    if arguments.worker:
        work(readers[0], arguments.seed, *arguments.worker)
        return 0
    return table(readers, arguments.n, arguments.seed, arguments.keep)


def table(readers: list[Reader], n: int, seed: int, keep: Path | None) -> int:
    """Fuzz all readers and print what happened."""
    whole = sum(reader.share for reader in readers)
    heads = ("cases", ACCEPTED, REFUSED, *FAULTS, "seconds")
    print(f"{'reader':18}" + "".join(f"{name:>14}" for name in heads))
    failed = False
    for reader in readers:
        started, cases = time.monotonic(), max(1, round(n * reader.share / whole))
        counts, faults = fuzz(reader, cases, seed)
        numbers = [cases, *(counts[name] for name in (ACCEPTED, REFUSED, *FAULTS))]
        took = f"{time.monotonic() - started:.0f}"
        print(f"{reader.name:18}" + "".join(f"{value:14}" for value in numbers) + f"{took:>14}", flush=True)
        for number, outcome in faults:
            failed = True
            print(f"  case {number}: {outcome.kind}: {outcome.detail}", file=sys.stderr)
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                name = f"{reader.name.replace(' ', '-')}-{seed}-{number}{reader.suffix}"
                (keep / name).write_bytes(spoilt(reader, seed, number))
    return int(failed)


def fuzz(reader: Reader, cases: int, seed: int) -> tuple[Counter[str], list[tuple[int, Outcome]]]:
    """Counts by kind, and the first faults of every kind."""
    counts: Counter[str] = Counter()
    faults: list[tuple[int, Outcome]] = []
    start = 0
    while start < cases:
        outcomes = run_worker(reader, seed, start, cases)
        for number, outcome in enumerate(outcomes, start):
            counts[outcome.kind] += 1
            if outcome.kind in FAULTS and counts[outcome.kind] <= 3:
                faults.append((number, outcome))
        start += len(outcomes)
    return counts, faults


def run_worker(reader: Reader, seed: int, start: int, stop: int) -> list[Outcome]:
    """The outcomes of a worker until it is done or dies; its death is the outcome of the case it died of."""
    command = [sys.executable, "-m", "tests.fuzz", "--reader", reader.name, "--seed", str(seed)]
    command += ["--worker", str(start), str(stop)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        assert process.stdout is not None
        outcomes = [Outcome(*json.loads(line)) for line in process.stdout]
        process.wait()
        if start + len(outcomes) < stop:
            errors.seek(0)
            tail = errors.read().decode("utf-8", "replace")[-500:]
            outcomes.append(Outcome("crashed", f"exit code {process.returncode}: {tail}"))
    return outcomes


def work(reader: Reader, seed: int, start: int, stop: int) -> None:
    """Judge cases ``start`` to ``stop``, a line of JSON each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TMPDIR"] = tempfile.tempdir = name
        good = folder / f"first{reader.suffix}"
        for sample in reader.samples():
            good.write_bytes(sample)
            with suppress(ValueError):
                reader.read(good)  # imports what it needs, before memory is counted
        guard()
        for number in range(start, stop):
            outcome = judge(reader, spoilt(reader, seed, number), folder)
            print(json.dumps([outcome.kind, outcome.detail]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
