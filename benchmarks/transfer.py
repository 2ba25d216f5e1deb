"""How often the test of pasted windows errs, and what all evidence of a network finds together.

    python -m benchmarks.transfer --simulate [--runs 1.0]
    python -m benchmarks.transfer --archive tiny-imagenet-200.zip --model squeezenet_v1.1.keras \
        --cache FOLDER --out FOLDER [--seeds 0 1 2] [--method lrp.preset_a] [--references twin-0 public-112]

``--simulate``: gains of windows as the test of `pipeline.statistics.transfer` takes them. Nothing is gained
on average; values are normal, heavy-tailed (t with 3 degrees), skewed either way (exponential), or 0 but for
a tenth of the windows; classes differ in their spread (log-normal around 0.4, as on photographs); and, where
recipients are shared, half of the variance is that of a recipient whom four windows of a class have in
common. Then with classes whose windows gain 2, 3 or 4 log odds, on all, a half or a quarter of the images.

Else: default runs, without curves, of the networks of `benchmarks.real_networks` with marks beside the
objects of 21 of 200 classes. Which order finds the marks that a network uses: every piece of evidence alone,
all of one network together, and with reference networks. Seed 0 is the one on which the orders were chosen.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.detection import Subject, marked
from benchmarks.output import publish, versions
from benchmarks.real_networks import Inputs, simulated_or_measured, usage
from benchmarks.real_runs import figures, maps_only, markdown, ranking_table, whole_run
from flows.settings import load_tensorflow

SHAPES = ("normal", "t", "right", "left", "rare")
FIRST_SEED = 60_000
SPREAD, UNEVEN = 0.4, 0.8  # of a class's windows, log odds: median, and standard deviation of its logarithm
RUNS = {20: 200, 60: 100, 200: 40}
REFERENCES = ("twin-0", "public-112")
ONE_NETWORK = ("adjusted_lift", "effect_shrunk", "transfer")
MAPS_AND_WINDOWS = ("adjusted_lift", "transfer")


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
    from pipeline.config import RankingConfig
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


def measure(subject: Subject, method: str, out: Path) -> tuple[pd.DataFrame, dict[str, pd.Series]]:
    """The classes of a default run, by label, and name -> score of the orders, the smallest first."""
    folder = out / f"{subject.name}-{method}"
    sections = {"perturbation": False, "sanity": {"images": 0}, "strategies": {"classes": 0}}
    whole_run(folder, subject.dataset, subject.model, sections, (method,))
    table = ranking_table(folder)
    orders = {
        "small box": table["box_area"],
        "ratio": table["ratio"],
        "adjusted lift": table["adjusted_lift_raw"],
        "interventions": -table["effect_shrunk"],
        "transfer": -table["transfer"],
        "order of the run": table["rank"],
        "all of one network": mean_rank(table, ONE_NETWORK),
        "lift and transfer": mean_rank(table, MAPS_AND_WINDOWS),
    }
    return table, orders


def mean_rank(table: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """Mean of the ranks, as shares of the classes that have one, most suspicious lowest."""
    lowest = ("adjusted_lift", "adjusted_lift_raw", "reference_lift")  # all others accuse where they are high
    return pd.concat([table[name].rank(pct=True, ascending=name in lowest) for name in columns], axis=1).mean(
        axis=1
    )


def against(subject: Subject, method: str, reference: Path, out: Path) -> dict[str, pd.Series]:
    """The orders with a reference network: alone, and together with what the audited network says itself."""
    from pipeline.config import RankingConfig
    from pipeline.run.reference import write_reference
    from pipeline.run.store import Store
    from pipeline.statistics.ranking import rank
    from pipeline.statistics.reference_pairs import compare_with

    seed = subject.name.rpartition("-")[2]
    where = out / f"{reference.stem}-on-{seed}-{method}"
    there = maps_only(where, subject.dataset, reference, (method,), target="label")
    run = Store(str(out / f"{subject.name}-{method}"))
    write_reference(run, *compare_with(run, there, reference.stem))
    table = rank(run, RankingConfig()).table.set_index("label")
    return {
        reference.stem: table["reference_lift"],
        f"{reference.stem} with all": mean_rank(table, ("reference_lift", *ONE_NETWORK)),
        f"{reference.stem} with transfer": mean_rank(table, ("reference_lift", "transfer")),
    }


def accused(table: pd.DataFrame, used: Mapping[int, str], marked_classes: Sequence[int]) -> str:
    """Per verdict that accuses: classes, those with a mark, and with a used one; those that transfer."""
    parts = {name: table.index[table["verdict"] == name] for name in ("confirmed", "suspected")}
    parts["transfers"] = table.index[table["transferred"] == "transfers"]
    return "; ".join(
        f"{name} {len(labels)} (marked {len(set(labels) & set(marked_classes))}, "
        f"used {len(set(labels) & set(used))})"
        for name, labels in parts.items()
    )


def on_photographs(inputs: Inputs, options: argparse.Namespace) -> str:
    """A column per network: average precision and AUC of every order; then what is accused."""
    references = [
        inputs.trained(0, marked=False) if name == "twin-0" else inputs.cut(int(name.rpartition("-")[2]))
        for name in options.references
    ]
    cells: dict[str, list[str]] = {}
    verdicts, head = [], []
    for subject, seed in zip(marked(inputs, options.seeds), options.seeds, strict=True):
        table, orders = measure(subject, options.method, options.out)
        for reference in references:
            orders |= against(subject, options.method, reference, options.out)
        for name, scores in orders.items():
            made = figures(scores.astype(float), list(subject.used))
            cells.setdefault(name, []).append(f"{made['ap']:.2f}, {made['auc']:.2f}")
        told = accused(table, subject.used, list(usage(inputs, subject.model, seed).marks))
        verdicts.append(f"- {subject.name}, {len(subject.used)} marks used: {told}")
        head.append(subject.name)
        print(verdicts[-1], {name: of[-1] for name, of in cells.items()}, flush=True)
    rows = [[name, *values] for name, values in cells.items()]
    return markdown([f"{options.method}: AP, AUC", *head], rows) + "\n\n" + "\n".join(verdicts) + "\n"


def main() -> None:
    parser = simulated_or_measured(__doc__)
    parser.add_argument("--method", default="lrp.preset_a")
    parser.add_argument("--references", nargs="*", default=list(REFERENCES))
    options = parser.parse_args()
    if options.simulate:
        print(simulated(options.runs))
        return
    if None in (options.archive, options.model, options.cache, options.out):
        parser.error("give --simulate, or --archive, --model, --cache and --out")
    load_tensorflow()
    options.out.mkdir(parents=True, exist_ok=True)
    inputs = Inputs(options.archive, options.model, options.cache, options.epochs)
    shown = on_photographs(inputs, options)
    publish(options.out, f"transfer-{options.method}", {"versions": versions(), "table": shown}, shown)


if __name__ == "__main__":
    main()
