"""How often edited images accuse or clear a class wrongly: simulated effects whose truth is known.

    python -m benchmarks.effects [--runs 100]

Effects are drawn in [-1, 1] with a given mean, in shapes that are hard for a test of a mean. *Accused*: 12
classes whose two deciding contrasts are exactly at the limit (0.1); share of runs in which any of them is
`depends`. *Cleared*: a class of a given mean among 19 ordinary ones (mean 0), looked at with 10, 20 and 30
images and no longer once it is `independent`, as the stage does it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from benchmarks.real_runs import markdown
from pipeline.config import RankingConfig
from pipeline.statistics.answers import Answers
from pipeline.statistics.effects import RELEVANT, judge
from pipeline.verdicts import Tested

Shape = Callable[[np.random.Generator, int, float], np.ndarray]


def _rarely_large(rng: np.random.Generator, n: int, mean: float) -> np.ndarray:
    return np.where(rng.random(n) < 0.12, min(mean / 0.12, 1.0), 0.0)


def _rarely_low(rng: np.random.Generator, n: int, mean: float) -> np.ndarray:
    return np.where(rng.random(n) < 0.08, -0.6, (mean + 0.08 * 0.6) / 0.92)


def _either_extreme(rng: np.random.Generator, n: int, mean: float) -> np.ndarray:
    return np.where(rng.random(n) < (mean + 0.6) / 1.2, 0.6, -0.6)


def _normal(rng: np.random.Generator, n: int, mean: float) -> np.ndarray:
    return np.clip(mean + 0.2 * rng.standard_normal(n), -1, 1)


def _skewed(rng: np.random.Generator, n: int, mean: float) -> np.ndarray:
    return mean + rng.beta(0.3, 1.5, n) - 0.3 / 1.8


def _skewed_down(rng: np.random.Generator, n: int, mean: float) -> np.ndarray:
    return mean - rng.beta(0.3, 1.5, n) + 0.3 / 1.8


def _ordinary(rng: np.random.Generator, n: int, mean: float) -> np.ndarray:
    return np.clip(mean + 0.12 * rng.standard_t(3, n), -1, 1)


SHAPES: dict[str, Shape] = {
    "normal, sd 0.2": _normal,
    "skewed": _skewed,
    "skewed downwards": _skewed_down,
    "0.6 or -0.6": _either_extreme,
    "12 % of images carry all": _rarely_large,
    "8 % of images at -0.6": _rarely_low,
}


def answers(sufficiency: np.ndarray, necessity: np.ndarray) -> Answers:
    """A class whose images have these effects."""
    edits = {"full": np.ones(len(sufficiency))}
    for name, values in (("", sufficiency), ("_object", necessity)):
        edits |= {f"same{name}:0": np.maximum(values, 0), f"other{name}:0": np.maximum(-values, 0)}
    ids = tuple(f"{i:04}" for i in range(len(sufficiency)))
    return Answers(ids, edits, {k: np.zeros(len(ids)) for k in edits}, {})


def accused(shape: Shape, n: int, runs: int) -> float:
    """Share of runs with any of 12 classes at the limit called dependent, %."""
    wrong = 0
    for run in range(runs):
        rng = np.random.default_rng([run, n])
        classes = {k: answers(shape(rng, n, RELEVANT), shape(rng, n, RELEVANT)) for k in range(12)}
        judged = judge(classes, RankingConfig()).judgements.values()
        wrong += any(j.tested == Tested.DEPENDS for j in judged)
    return 100 * wrong / runs


def cleared(shape: Shape, mean: float, runs: int) -> float:
    """Share of runs in which a class of this mean is called independent at one of three looks, %."""
    told = 0
    for run in range(runs):
        rng = np.random.default_rng([run, round(1000 * mean)])
        effects = [[_ordinary(rng, 30, 0.0) for _ in range(2)] for _ in range(20)]
        effects[0][0] = shape(rng, 30, mean)
        for n in (10, 20, 30):
            classes = {k: answers(s[:n], m[:n]) for k, (s, m) in enumerate(effects)}
            if judge(classes, RankingConfig()).judgements[0].tested == Tested.INDEPENDENT:
                told += 1
                break
    return 100 * told / runs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100)
    runs = parser.parse_args().runs
    heads = ["shape", "accused: 10", "20", "30 images", "cleared: mean 0", "0.1", "0.2"]
    rows = []
    for name, shape in SHAPES.items():
        shares = [accused(shape, n, runs) for n in (10, 20, 30)]
        shares += [cleared(shape, mean, runs) for mean in (0.0, RELEVANT, 2 * RELEVANT)]
        rows.append([name, *(f"{share:.0f} %" for share in shares)])
        print(markdown(heads, rows[-1:]).splitlines()[-1], flush=True)
    print(markdown(heads, rows))


if __name__ == "__main__":
    main()
