"""How often the test of pasted windows errs, on drawn tables: `python -m benchmarks.transfer --simulate`.

Gains of windows as the test of `pipeline.statistics.transfer` takes them. Nothing is gained on average;
values are normal, heavy-tailed (t with 3 degrees), skewed either way (exponential), or 0 but for a tenth of
the windows; classes differ in their spread (log-normal around 0.4, as on photographs); and, where recipients
are shared, half of the variance is that of a recipient whom four windows of a class have in common. Then with
classes whose windows gain 2, 3 or 4 log odds, on all, a half or a quarter of the images.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.real_runs import markdown

SHAPES = ("normal", "t", "right", "left", "rare")
FIRST_SEED = 60_000
SPREAD, UNEVEN = 0.4, 0.8  # of a class's windows, log odds: median, and standard deviation of its logarithm
RUNS = {20: 200, 60: 100, 200: 40}


@dataclass(frozen=True)
class Case:
    """A kind of simulated table: ``planted`` classes gain ``gain`` on a ``share`` of their windows.

    ``spread``: median over the classes, log odds; ``shared``: half of the variance is the recipients'.
    """

    classes: int
    windows: int
    shape: str = "right"
    shared: bool = True
    planted: int = 0
    gain: float = 0.0
    share: float = 1.0
    spread: float = SPREAD


@dataclass(frozen=True)
class Outcome:
    """What is said of a table.

    ``accused``: classes said to transfer that gain nothing on average; ``wrongly``: of them, those of which
    not even a twentieth of all windows gains more than what counts as strong; ``power``: share of the planted
    ones found.
    """

    accused: int
    wrongly: int
    power: float


def simulate(case: Case, seed: int) -> Outcome:
    """A table and what the test says of it."""
    from pipeline.config_sections import RankingConfig
    from pipeline.statistics.transfer import STRONG, judge_windows
    from pipeline.verdicts import Transferred

    rng = np.random.default_rng([seed, 11])
    size = (case.classes, case.windows)
    spread = case.spread * np.exp(UNEVEN * rng.standard_normal((case.classes, 1)))
    values = spread * _noise(case, size, rng)
    carries = (np.arange(case.classes) < case.planted)[:, None] & (rng.random(size) < case.share)
    values += np.where(carries, case.gain, 0.0)
    said = judge_windows({k: _windows(row) for k, row in enumerate(values)}, {}, RankingConfig())
    transfers = np.array([said[k].transferred == Transferred.TRANSFERS for k in range(case.classes)])
    power = float(transfers[: case.planted].mean()) if case.planted else float("nan")
    transfers[: case.planted] = False
    few = (spread * upper_twentieth(case.shape, case.shared) <= STRONG)[:, 0]
    return Outcome(int(transfers.sum()), int((transfers & few).sum()), power)


@functools.cache
def upper_twentieth(shape: str, shared: bool) -> float:
    """What a twentieth of the noise exceeds, by 200,000 draws."""
    draws = _noise(Case(1, 0, shape, shared), (50_000, 4), np.random.default_rng(FIRST_SEED))
    return float(np.quantile(draws, 0.95))


def _noise(case: Case, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Noise of mean 0 and variance 1, a class per row."""
    values = _independent(case.shape, size, rng)
    if not case.shared:
        return values
    recipients = _independent(case.shape, (size[0], -(-size[1] // 4)), rng)
    return (values + np.repeat(recipients, 4, axis=1)[:, : size[1]]) / np.sqrt(2)


def _independent(shape: str, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    if shape == "normal":
        return rng.standard_normal(size)
    if shape == "t":
        return rng.standard_t(3, size) / np.sqrt(3)
    if shape == "rare":  # a tenth at 3 times, the others at -1/3 times the spread
        return np.where(rng.random(size) < 0.1, 3.0, -1 / 3)
    return (1 if shape == "right" else -1) * (rng.exponential(size=size) - 1)


def _windows(gain: np.ndarray) -> Any:
    """Windows of one class with these gains; what else is told of them decides nothing."""
    from pipeline.statistics.pasted import Pasted

    n, nothing, where = len(gain), np.zeros(len(gain)), np.zeros(len(gain), np.int64)
    ids = tuple(f"{i:03d}" for i in range(n))
    return Pasted(
        ids,
        gain,
        nothing,
        nothing,
        gain,
        nothing,
        np.full(n, 2),
        np.full(n, True),
        where,
        where,
        where,
        where,
    )


def simulated(factor: float) -> str:
    """Both tables."""
    null = [
        [shape, "yes" if shared else "no", *(_errors(shape, shared, classes, factor) for classes in RUNS)]
        for shape in SHAPES
        for shared in (False, True)
    ]
    power = [
        [classes, gain, f"{share:g}", *(_power(classes, n, gain, share, factor) for n in (10, 15, 25))]
        for classes in (20, 200)
        for gain in (2.0, 3.0, 4.0)
        for share in (1.0, 0.5, 0.25)
    ]  # fmt: skip
    return (
        markdown(["gains", "recipients shared", *(f"{n} classes, % of runs" for n in RUNS)], null)
        + "\n\nPlanted classes found (a tenth of the classes, skewed, shared), with so many windows:\n\n"
        + markdown(["classes", "gain", "on a share of", "10", "15", "25"], power)
        + "\n"
    )


def _errors(shape: str, shared: bool, classes: int, factor: float) -> str:
    """Runs that accuse a class wrongly, and any that gains nothing on average; 10, 15 and 25 windows."""
    runs = max(1, int(factor * RUNS[classes] / 3))
    cases = [Case(classes, windows, shape, shared) for windows in (10, 15, 25)]
    made = [simulate(case, FIRST_SEED + k) for case in cases for k in range(runs)]
    wrongly, accused = np.mean([(m.wrongly > 0, m.accused > 0) for m in made], axis=0)
    return f"{100 * wrongly:.1f}, {100 * accused:.1f} of {len(made)}"


def _power(classes: int, windows: int, gain: float, share: float, factor: float) -> str:
    case = Case(classes, windows, planted=classes // 10, gain=gain, share=share)
    runs = max(2, int(factor * RUNS[classes] / 4))
    return f"{np.mean([simulate(case, FIRST_SEED + 5000 + k).power for k in range(runs)]):.0%}"
