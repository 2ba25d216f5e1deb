"""Is the relative test calibrated, does the interval cover, and what effect does it find?

    python -m benchmarks.calibration            # the tables and the picture of docs/statistics.md
    python -m benchmarks.calibration --runs 0.1 # a tenth of the runs: a look
    python -m benchmarks.calibration --runs 5   # five times as many: half an hour
    python -m benchmarks.calibration --classes 1000 --runs 4 --first-seed 5000  # other runs, null only

Every run is a simulated table (tests/tables.py): classes differ in the size of their boxes, lift depends on
size and place of the box, noise is heavy-tailed or skewed, and its width depends on that size. Without an
effect, any class with q <= 0.05 is a false alarm.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.config import RankingConfig
from pipeline.statistics.adjust import adjust
from pipeline.statistics.class_evidence import estimate, relative
from pipeline.statistics.resampling import discovery_rates
from tests.tables import draw_examples, expected_lift

CLASSES = (10, 50, 1000)
PER_CLASS: tuple[int | str, ...] = (5, 10, 20, 50, "5-50")
RUNS = {10: 400, 50: 200, 1000: 30}
# Only q <= 0.05 matters here, and with 1000 classes that is always the computed tail: few draws suffice.
DRAWS = {10: 2000, 50: 2000, 1000: 300}
EFFECTS = (-0.25, -0.5, -1.0, -1.5, -2.0)


@dataclass(frozen=True)
class Outcome:
    """One simulated run: per class, p, q, whether suspicious, interval and the true shift."""

    p: np.ndarray
    q: np.ndarray
    suspicious: np.ndarray
    low: np.ndarray
    high: np.ndarray
    shift: np.ndarray


def simulate(
    n_classes: int, per_class: int | str, seed: int, effect: float = 0.0, noise: str = "t"
) -> Outcome:
    """Draw a table, with ``effect`` on a tenth of the classes (at least one), and test its classes."""
    rng = np.random.default_rng([seed, 99])
    counts = rng.integers(5, 51, n_classes) if isinstance(per_class, str) else per_class
    shift = np.zeros(n_classes)
    if effect:
        shift[: max(1, n_classes // 10)] = effect
    frame = draw_examples(n_classes, counts, seed, dict(enumerate(shift)))
    frame = frame.sort_values("label", kind="stable")
    label, area = frame["label"].to_numpy(), frame["box_area"].to_numpy()
    distance, lift = frame["box_distance"].to_numpy(), frame["lift"].to_numpy()
    if noise == "skewed":
        width = 0.6 + 0.12 * np.abs(np.log(area / (1 - area)))
        lift = expected_lift(area, distance) + shift[label] + width * (1 - rng.gamma(1, size=len(label)))
    bounds = np.concatenate([[0], np.cumsum(np.bincount(label, minlength=n_classes))])
    config = RankingConfig(draws=DRAWS[n_classes], seed=seed)
    adjusted = adjust(lift, area, distance, bounds)
    estimates = estimate(adjusted, bounds, config)
    p = relative(adjusted, area, bounds, estimates["high"], config)
    q = discovery_rates(p, np.ones(n_classes, dtype=bool), config.fdr)
    return Outcome(
        p, q, (q <= config.level) & (estimates["high"] < 0), estimates["low"], estimates["high"], shift
    )


def null_table(share: float, classes: Sequence[int] = CLASSES, first: int = 0) -> Iterator[dict]:
    """False alarms without any effect; seeds from ``first`` on."""
    for noise in ("t", "skewed"):
        for n_classes in classes:
            for per_class in PER_CLASS:
                runs = max(10, int(RUNS[n_classes] * share * (1 if noise == "t" else 0.5)))
                outcomes = [
                    simulate(n_classes, per_class, seed, noise=noise) for seed in range(first, first + runs)
                ]
                alarms = np.mean([(f.q <= 0.05).any() for f in outcomes])
                p = np.concatenate([f.p for f in outcomes])
                inside = np.concatenate([(f.low <= 0) & (f.high >= 0) for f in outcomes])
                yield {
                    "noise": noise,
                    "classes": n_classes,
                    "images per class": per_class,
                    "runs": runs,
                    "runs with a false alarm": alarms,
                    "+-": 1.96 * np.sqrt(0.05 * 0.95 / runs),
                    "runs with a suspicious class": np.mean([f.suspicious.any() for f in outcomes]),
                    "p <= 0.05": (p <= 0.05).mean(),
                    "p <= 0.001": (p <= 0.001).mean(),
                    "coverage of the interval": inside.mean(),
                }


def power_table(share: float) -> Iterator[dict]:
    """Share of the affected classes found, and of the found ones that are not affected."""
    for n_classes in CLASSES:
        for per_class in PER_CLASS[:4]:
            for effect in EFFECTS:
                runs = max(4, int(RUNS[n_classes] * share * (0.02 if n_classes == 1000 else 0.1)))
                outcomes = [simulate(n_classes, per_class, 10_000 + seed, effect) for seed in range(runs)]
                hit = [f.suspicious[f.shift < 0].mean() for f in outcomes]
                false = [(f.suspicious & (f.shift == 0)).sum() / max(f.suspicious.sum(), 1) for f in outcomes]
                yield {
                    "classes": n_classes,
                    "images per class": per_class,
                    "effect": effect,
                    "runs": runs,
                    "found": np.mean(hit),
                    "false among the found": np.mean(false),
                }


def shown(rows: Iterator[dict]) -> Iterator[dict]:
    """The rows, each on standard error as soon as it is there."""
    for row in rows:
        print(*(f"{v:.3f}" if isinstance(v, float) else v for v in row.values()), file=sys.stderr, flush=True)
        yield row


def pooled(null: pd.DataFrame) -> pd.DataFrame:
    """False alarms over all numbers of images, which a single row is too short to show."""
    rows = []
    for (noise, classes), part in null.groupby(["noise", "classes"], sort=False):
        runs = int(part["runs"].sum())
        share = {c: np.average(part[c], weights=part["runs"]) for c in null.columns[6:]}
        alarms = np.average(part["runs with a false alarm"], weights=part["runs"])
        error = 1.96 * np.sqrt(0.05 * 0.95 / runs)
        rows.append(
            {"noise": noise, "classes": classes, "runs": runs, "runs with a false alarm": alarms, "+-": error}
            | share
        )
    return pd.DataFrame(rows)


def plot(null: pd.DataFrame, power: pd.DataFrame, path: Path) -> None:
    """Left: false alarms with their Monte-Carlo band. Right: power over the effect."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    colours = {10: "#1b6ca8", 50: "#d1662b", 1000: "#2f8f5b"}
    shapes = {5: "o", 10: "s", 20: "^", 50: "D", "5-50": "v"}
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), constrained_layout=True)
    ticks = []
    for k, row in enumerate(null.to_dict("records")):
        full = row["noise"] == "t"
        colour = colours[row["classes"]]
        left.errorbar(
            k,
            100 * row["runs with a false alarm"],
            yerr=[[100 * min(row["+-"], row["runs with a false alarm"])], [100 * row["+-"]]],
            fmt=shapes[row["images per class"]],
            color=colour,
            markerfacecolor=colour if full else "white",
            elinewidth=1,
            clip_on=False,
        )
        ticks.append(str(row["images per class"]))
    left.axhline(5, color="0.3", linewidth=1, linestyle="--")
    left.set_xticks(range(len(ticks)), ticks, rotation=90, fontsize=7)
    left.set(ylim=(0, None), xlabel="images per class", ylabel="runs with a false alarm, %")
    left.set_title("No effect: false alarms at q ≤ 0.05 (filled: t noise, open: skewed)", fontsize=10)
    for (n_classes, per_class), part in power.groupby(["classes", "images per class"], sort=False):
        right.plot(
            -part["effect"],
            100 * part["found"],
            color=colours[n_classes],
            marker=shapes[per_class],
            markersize=4,
            linewidth=1.2,
            label=f"{n_classes} classes, {per_class} images",
        )
    right.set(xlabel="planted drop of the lift, log odds", ylabel="affected classes found, %", ylim=(0, 102))
    right.set_title("Power: a tenth of the classes affected", fontsize=10)
    right.legend(fontsize=7, frameon=False)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    for n_classes, colour in colours.items():
        left.plot([], [], "o", color=colour, label=f"{n_classes} classes")
    left.legend(fontsize=7, frameon=False, loc="upper left")
    figure.savefig(path, dpi=130)


def markdown(table: pd.DataFrame) -> str:
    """A Markdown table with three decimals."""
    head = "| " + " | ".join(table.columns) + " |\n|" + " --- |" * len(table.columns) + "\n"
    rows = (
        "| "
        + " | ".join(f"{v:.3f}" if isinstance(v, float) and c != "effect" else str(v) for c, v in row.items())
        for row in table.to_dict("records")
    )
    return head + " |\n".join(rows) + " |\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=float, default=1.0, help="factor on the number of simulated runs")
    parser.add_argument("--out", type=Path, default=Path("docs/images/calibration.png"))
    parser.add_argument("--classes", type=int, nargs="*", choices=CLASSES, help="only these; no power curve")
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    start = time.perf_counter()
    if options.classes:
        rows = shown(null_table(options.runs, options.classes, options.first_seed))
        null = pd.DataFrame(rows)
        print(markdown(null), markdown(pooled(null)), sep="\n")
        return
    null = pd.DataFrame(shown(null_table(options.runs)))
    power = pd.DataFrame(shown(power_table(options.runs)))
    for table in (null, pooled(null), power):
        print(markdown(table))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    plot(null, power, options.out)
    print(f"{options.out}: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
