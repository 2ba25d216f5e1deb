"""Does the relative test accuse only classes that are lower by more than matters, and which does it find?

    python -m benchmarks.calibration            # the tables and the picture of docs/statistics.md
    python -m benchmarks.calibration --runs 0.1 # a tenth of the runs: a look
    python -m benchmarks.calibration --runs 5   # five times as many

Every run is a simulated table (tests/tables.py): classes differ in the size of their boxes, lift depends on
size and place of the box, noise is heavy-tailed or skewed either way, its width depends on that size. And
classes truly differ: their effects are Student's t with 3 to 6 degrees of freedom (the seed says which) and
standard deviation ``between``. A false alarm is a suspicious class whose true effect is not below the limit.

Seeds are 20,000 and more. What there was to choose (both sides or the upper one for the spread between
classes; fixed or estimated prior freedom) was chosen on other tables, with seeds below 2,000.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config_sections import RankingConfig
from pipeline.statistics.relative import compare
from pipeline.statistics.resampling import discovery_rates
from tests.tables import draw_examples, expected_lift

FIRST_SEED = 20_000
CLASSES = (12, 50, 200, 1000)
RUNS = {12: 120, 50: 60, 200: 20, 1000: 4}
BETWEEN = (0.0, 0.15, 0.3)
PER_CLASS: tuple[int | str, ...] = (5, 10, 20, 50, "5-50")
NOISE = ("t", "left", "right")
PLANTED = {12: 3, 50: 5, 200: 10}
EFFECTS = (-0.5, -1.0, -1.5, -2.0, -3.0)
POWER_PER_CLASS = (5, 10, 20, 40)
MORE_IMAGES = (10, 50, 500)
CONFIG = RankingConfig()


@dataclass(frozen=True)
class Case:
    """A kind of table: ``planted`` classes have the ``effect`` instead of their own."""

    classes: int
    per_class: int | str
    between: float = 0.0
    noise: str = "t"
    planted: int = 0
    effect: float = 0.0
    freedom: int = 0  # of the classes' effects; 0: 3 to 6, by the seed; -1: normal


@dataclass(frozen=True)
class Outcome:
    """One simulated run, arrays (C,): true effects, which are planted, what the test says, the interval.

    lower: what its first question alone would say.
    """

    truth: np.ndarray
    planted: np.ndarray
    suspicious: np.ndarray
    lower: np.ndarray
    low: np.ndarray
    high: np.ndarray


def class_effects(case: Case, rng: np.random.Generator, seed: int) -> np.ndarray:
    """True effects (C,) of standard deviation ``between``, the first of them planted."""
    if case.freedom < 0:
        truth = case.between * rng.standard_normal(case.classes)
    else:
        freedom = case.freedom or 3 + seed % 4
        truth = case.between * rng.standard_t(freedom, case.classes) / np.sqrt(freedom / (freedom - 2))
    truth[: case.planted] = case.effect
    return truth


def simulate(case: Case, seed: int) -> Outcome:
    """Draw a table and test its classes."""
    rng = np.random.default_rng([seed, 99])
    n = case.classes
    counts = rng.integers(5, 51, n) if isinstance(case.per_class, str) else case.per_class
    truth = class_effects(case, rng, seed)
    frame = draw_examples(n, counts, seed, dict(enumerate(truth))).sort_values("label", kind="stable")
    label, area, distance, lift = (frame[c].to_numpy() for c in ("label", "box_area", "box_distance", "lift"))
    if case.noise != "t":
        width = 0.6 + 0.12 * np.abs(np.log(area / (1 - area)))
        tail = rng.gamma(1, size=len(label)) - 1
        sign = 1 if case.noise == "right" else -1
        lift = expected_lift(area, distance) + truth[label] + sign * width * tail
    bounds = np.concatenate([[0], np.cumsum(np.bincount(label, minlength=n))])
    _, found = compare(lift, area, distance, bounds, CONFIG)
    tested = np.diff(bounds) >= CONFIG.n_min
    said, lower = (discovery_rates(p, tested, CONFIG.fdr) <= CONFIG.level for p in (found.p, found.p_lower))
    return Outcome(truth, np.arange(n) < case.planted, said, lower, found.low, found.high)


def figures(case: Case, runs: int) -> dict[str, Any]:
    """What ``runs`` tables of a kind give, on average."""
    outcomes = [simulate(case, FIRST_SEED + k) for k in range(runs)]
    false = [f.suspicious & ~(f.truth < CONFIG.relevant_effect) for f in outcomes]
    shares = [x.sum() / max(f.suspicious.sum(), 1) for x, f in zip(false, outcomes, strict=True)]
    ordinary = np.concatenate([~f.planted for f in outcomes])
    inside = np.concatenate([(f.low <= f.truth) & (f.truth <= f.high) for f in outcomes])
    excluded = np.concatenate([f.low > CONFIG.relevant_effect for f in outcomes])
    return {
        "runs": runs,
        "runs with a false alarm": np.mean([x.any() for x in false]),
        "false among the suspicious": np.mean(shares),
        "accused, not planted": np.mean([(f.suspicious & ~f.planted).sum() for f in outcomes]),
        "by the first question alone": np.mean([(f.lower & ~f.planted).sum() for f in outcomes]),
        "planted found": np.mean(
            [f.suspicious[f.planted].mean() if case.planted else np.nan for f in outcomes]
        ),
        "coverage": inside[ordinary].mean(),
        "effect excluded": excluded[ordinary].mean(),
    }


def calibration_cases() -> list[Case]:
    """Nothing planted: false alarms and coverage. With an effect of exactly the limit: the worst case."""
    free = [Case(c, n, b, noise) for c in CLASSES for b in BETWEEN for noise in NOISE for n in PER_CLASS]
    worst = [Case(c, n, b, "t", c // 10, -0.5) for c in CLASSES for b in (0.0, 0.15) for n in (10, 50)]
    return free + worst


def power_cases() -> list[Case]:
    """Planted classes among ordinary ones that do and do not differ."""
    return [
        Case(c, n, b, "t", planted, effect)
        for c, planted in PLANTED.items()
        for b in (0.0, 0.25)
        for n in POWER_PER_CLASS
        for effect in EFFECTS
    ]


def growing_cases() -> list[Case]:
    """200 classes that differ as photographs' do, one at -1.5: more images, more accusations?"""
    return [Case(200, n, 0.25, "t", 1, -1.5, freedom) for freedom in (-1, 6, 3) for n in MORE_IMAGES]


def _row(job: tuple[Case, int]) -> dict[str, Any]:
    case, runs = job
    row = {name: getattr(case, name) for name in case.__dataclass_fields__} | figures(case, runs)
    print(*row.values(), file=sys.stderr, flush=True)
    return row


def measure(cases: Iterable[Case], runs: Callable[[Case], int]) -> pd.DataFrame:
    """A row per case; the order of the cases, whatever the number of processes."""
    jobs = [(case, max(1, runs(case))) for case in cases]
    with ProcessPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        return pd.DataFrame(list(pool.map(_row, jobs)))


def pooled(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Averages over everything but ``by``; each row weighs as many runs as it has."""
    rows = []
    for key, part in table.groupby(by, sort=False, dropna=False):
        means = {c: np.average(part[c], weights=part["runs"]) for c in list(part)[8:]}
        means = {c: v for c, v in means.items() if np.isfinite(v)}
        worst = {"lowest coverage": part["coverage"].min()}
        rows.append(dict(zip(by, key, strict=True)) | {"runs": int(part["runs"].sum())} | means | worst)
    return pd.DataFrame(rows)


def plot(null: pd.DataFrame, power: pd.DataFrame, growing: pd.DataFrame, path: Path) -> None:
    """Left: coverage. Middle: accusations as images grow. Right: power over the effect."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(14, 5.2), constrained_layout=True)
    _plot_coverage(axes[0], null)
    _plot_growing(axes[1], growing)
    _plot_power(axes[2], power)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
    figure.savefig(path, dpi=120)


COLOURS: Mapping[Any, str] = {5: "#8c6bb1", 10: "#1b6ca8", 20: "#d1662b", 40: "#2f8f5b"}


def _plot_coverage(axis: Any, null: pd.DataFrame) -> None:
    noises = {"t": ("o", "heavy tails"), "left": ("<", "long lower tail"), "right": (">", "long upper tail")}
    places, colours = range(len(PER_CLASS)), ("#1b6ca8", "#d1662b", "#2f8f5b")
    for noise, (marker, said) in noises.items():
        part = null[(null["noise"] == noise) & (null["planted"] == 0)]
        mean = part.groupby(["between", "per_class"], sort=False)["coverage"].mean()
        axis.plot([], [], marker, color="0.4", label=f"images: {said}")
        for between, colour in zip(BETWEEN, colours, strict=True):
            axis.plot(places, 100 * mean[between].to_numpy(), marker, color=colour, ms=5)
    for between, colour in zip(BETWEEN, colours, strict=True):
        axis.plot([], [], "s", color=colour, label=f"classes differ by {between:g}")
    axis.axhline(95, color="0.3", linewidth=1, linestyle="--")
    axis.set_xticks(places, [str(n) for n in PER_CLASS])
    axis.set(ylim=(90, 100), xlabel="images per class", ylabel="intervals that hold the truth, %")
    axis.set_title("Coverage, mean over 12 to 1000 classes", fontsize=10)


def _plot_growing(axis: Any, growing: pd.DataFrame) -> None:
    effects = {-1: ("#1b6ca8", "normal"), 6: ("#d1662b", "t, 6 degrees"), 3: ("#2f8f5b", "t, 3 degrees")}
    for freedom, (colour, said) in effects.items():
        part = growing[growing["freedom"] == freedom]
        accused = part["accused, not planted"]
        axis.plot(part["per_class"], accused, "-o", ms=4, color=colour, label=f"effects of classes: {said}")
    axis.set_xscale("log")
    axis.set_xticks(MORE_IMAGES, [str(n) for n in MORE_IMAGES])
    axis.minorticks_off()
    axis.set(ylim=(0, 10), xlabel="images per class", ylabel="suspicious of 199 that nobody planted")
    axis.set_title("200 classes that differ by 0.25: more images", fontsize=10)


def _plot_power(axis: Any, power: pd.DataFrame) -> None:
    for n, colour in COLOURS.items():
        for classes, between, style in ((50, 0.25, "-"), (12, 0.0, "--")):
            chosen = (power["classes"] == classes) & (power["between"] == between) & (power["per_class"] == n)
            rows, label = power[chosen], f"{PLANTED[classes]} of {classes}, {n} images"
            found = 100 * rows["planted found"]
            axis.plot(-rows["effect"], found, style, marker="o", ms=4, color=colour, label=label)
    axis.set(xlabel="planted drop of the lift, log odds", ylabel="planted classes found, %", ylim=(-2, 102))
    axis.set_title("Power (full: classes differ by 0.25, dashed: not at all)", fontsize=10)


def markdown(table: pd.DataFrame) -> str:
    """A Markdown table with three decimals."""
    head = "| " + " | ".join(table.columns) + " |\n|" + " --- |" * len(table.columns) + "\n"
    lines = (
        " | ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values())
        for row in table.to_dict("records")
    )
    return head + "".join(f"| {line} |\n" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=float, default=1.0, help="factor on the number of simulated runs")
    parser.add_argument("--out", type=Path, default=Path("docs/images/calibration.png"))
    options = parser.parse_args()
    start = time.perf_counter()
    null = measure(calibration_cases(), lambda case: int(RUNS[case.classes] * options.runs))
    power = measure(power_cases(), lambda case: int(RUNS[case.classes] * options.runs / 2))
    growing = measure(growing_cases(), lambda case: int((6 if case.per_class == 500 else 20) * options.runs))
    free, worst = null[null["planted"] == 0], null[null["planted"] > 0]
    print("Nothing planted:", markdown(pooled(free, ["classes", "between"])), sep="\n\n")
    print(markdown(pooled(free, ["noise", "per_class"])))
    print("A tenth exactly at the limit:", markdown(worst), sep="\n\n")
    print("Power:", markdown(power.drop(columns=["noise", "freedom"])), sep="\n\n")
    print("More images:", markdown(growing), sep="\n\n")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    plot(null, power, growing, options.out)
    print(f"{options.out}: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
