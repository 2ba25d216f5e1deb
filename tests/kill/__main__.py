"""``python -m tests.kill --n 50 --seed 0 [--target NAME] [--seconds S]``

Kills commands, their workers among them, at seeded random moments, starts them again, and compares what they
leave with what an undisturbed command leaves. Prints a table; all columns of faults must be zero, else the
exit code is 1. ``--seconds``: begin no case after that time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.kill.cases import FAULTS, play
from tests.kill.world import World


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", action="append", help="only these commands")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kill-") as name:
        world = World(Path(name))
        world.build()
        targets = [t for t in world.targets() if not arguments.target or t.name in arguments.target]
        counts: dict[str, Counter[str]] = {target.name: Counter() for target in targets}
        started = time.monotonic()
        for number in range(arguments.n):
            if time.monotonic() - started > arguments.seconds:
                break
            target = targets[number % len(targets)]
            outcome = play(world, target, arguments.seed, number)
            counts[target.name].update(["cases", *(["killed"] if outcome.hit else []), *outcome.faults])
            for fault, detail in outcome.faults.items():
                print(f"case {number}, {target.name}: {fault}: {detail}", file=sys.stderr, flush=True)
    return table(counts)


def table(counts: dict[str, Counter[str]]) -> int:
    """Print the counts; 1 if there is a fault."""
    heads = ("cases", "killed", *FAULTS)
    print(f"{'command':16}" + "".join(f"{head:>11}" for head in heads))
    for name, counted in counts.items():
        print(f"{name:16}" + "".join(f"{counted[head]:11}" for head in heads))
    return int(any(counted[fault] for counted in counts.values() for fault in FAULTS))


if __name__ == "__main__":
    sys.exit(main())
