"""What a reference network brings: used marks found, and how often the test accuses where nothing differs.

    python -m benchmarks.reference --simulate [--runs 1.0]
    python -m benchmarks.reference --archive tiny-imagenet-200.zip --model squeezenet_v1.1.keras \
        --cache FOLDER --out FOLDER [--seeds 0 1 2] [--references twin-0 public-112 public-224] [--windows]

``--simulate``: tables of per-image differences of two networks that differ by nothing but noise: classes by
``between`` (Student's t with 3 to 6 degrees of freedom), images heavy-tailed or skewed, wider in some classes
than in others; then with classes planted at which a share of the images differs.

Else: the networks of `benchmarks.real_networks` with marks beside the objects of 21 of 200 classes, each
beside the twin trained without marks (of seed 0) and the public network as it comes, at two resolutions. A
mark is used where it adds 0.1 or more to the probability of its class. Also the twin beside the public
network on the same images: there nothing is to be found. Seed 0 is the one on which the test was chosen.
``--windows``: instead of the maps alone, whole runs of the marked networks with `--reference`, and what their
pasted windows find: alone, and beyond what the same windows add for the reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.detection import PER_CLASS
from benchmarks.output import publish, versions
from benchmarks.real_networks import Inputs, simulated_or_measured, usage
from benchmarks.real_runs import NO_EXTRAS, figures, maps_only, markdown, ranking_table, whole_run
from flows.settings import load_tensorflow

METHODS = ("lrp.preset_a", "lrp.epsilon_gamma_box")
FIRST_SEED = 40_000
RUNS = {12: 400, 50: 200, 200: 60}
NOISE = ("t", "left", "right")


@dataclass(frozen=True)
class Case:
    """A kind of simulated table: ``planted`` classes, a ``share`` of whose images differ by ``effect``.

    ``between``: standard deviation of the classes' true differences; ``uneven``: of the logarithm of the
    spread of the images of a class.
    """

    classes: int
    per_class: int
    between: float
    noise: str = "t"
    uneven: float = 0.2
    planted: int = 0
    effect: float = 0.0
    share: float = 1.0


def simulate(case: Case, seed: int) -> tuple[int, float, bool]:
    """Classes accused that were not planted, share of the planted ones found, whether any was accused."""
    from pipeline.config_sections import RankingConfig
    from pipeline.statistics.reference import is_outlier, outliers
    from tests.tables import draw_examples

    rng = np.random.default_rng([seed, 7])
    n, config = case.classes, RankingConfig()
    frame = draw_examples(n, case.per_class, seed).sort_values("label", kind="stable")
    label, area, distance = (frame[c].to_numpy() for c in ("label", "box_area", "box_distance"))
    freedom = 3 + seed % 4
    truth = case.between * rng.standard_t(freedom, n) / np.sqrt(freedom / (freedom - 2))
    width = 0.35 * np.exp(case.uneven * rng.standard_normal(n))
    difference = 0.2 + 0.1 * np.log(area) + truth[label] + width[label] * _noise(case.noise, len(label), rng)
    hit = (label < case.planted) & (rng.random(len(label)) < case.share)
    bounds = np.concatenate([[0], np.cumsum(np.bincount(label, minlength=n))])
    made = outliers(difference + np.where(hit, case.effect, 0.0), area, distance, bounds, config)
    accused = is_outlier(made.q, made.high, config.level)
    power = float(accused[: case.planted].mean()) if case.planted else float("nan")
    return int(accused[case.planted :].sum()), power, bool(accused[case.planted :].any())


def _noise(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """Noise (n,) of variance about 1."""
    if kind == "t":
        return rng.standard_t(6, n) / np.sqrt(1.5)
    return (1 if kind == "right" else -1) * (rng.gamma(1, size=n) - 1)


def simulated(factor: float) -> str:
    """Both tables."""
    null = []
    for classes, runs in RUNS.items():
        for between in (0.0, 0.05, 0.15):
            for uneven in (0.0, 0.2, 0.4):
                cases = [Case(classes, k, between, noise, uneven) for noise in NOISE for k in (5, 15, 50)]
                null.append([classes, between, uneven, *_errors(cases, max(1, int(factor * runs / 9)))])
    power = [
        [classes, effect, share, *(f"{_power(classes, effect, share, k, factor):.0%}" for k in (5, 10, 20))]
        for classes in (12, 50, 200)
        for effect, share in ((-0.3, 1.0), (-0.6, 1.0), (-1.2, 0.5), (-1.2, 0.25))
    ]
    head = ["classes", "between", "uneven", "runs", "runs that accuse, %", "classes accused per run"]
    return (
        markdown(head, null)
        + "\n\nPlanted classes found (a tenth of the classes), with so many images:\n\n"
        + markdown(["classes", "effect", "on a share of", "5", "10", "20"], power)
        + "\n"
    )


def _errors(cases: Sequence[Case], runs: int) -> list[Any]:
    made = [simulate(case, FIRST_SEED + k) for case in cases for k in range(runs)]
    return [len(made), f"{100 * np.mean([m[2] for m in made]):.1f}", f"{np.mean([m[0] for m in made]):.3f}"]


def _power(classes: int, effect: float, share: float, images: int, factor: float) -> float:
    planted = max(1, classes // 10)
    case = Case(classes, images, 0.05, planted=planted, effect=effect, share=share)
    runs = max(2, int(factor * RUNS[classes] / 8))
    return float(np.mean([simulate(case, FIRST_SEED + 5000 + k)[1] for k in range(runs)]))


@dataclass(frozen=True)
class Pair:
    """An audited network on the marked images of a seed, and a reference; ``used``: marks of the first."""

    seed: int
    audited: Path
    reference: Path
    used: frozenset[int]
    marked: frozenset[int]


def references_of(inputs: Inputs, names: Sequence[str]) -> dict[str, Path]:
    """The networks of these names: ``twin-0``, or ``public-SIDE``."""
    return {
        name: inputs.trained(0, marked=False)
        if name == "twin-0"
        else inputs.cut(int(name.rpartition("-")[2]))
        for name in names
    }


def explained_by(
    reference: Path, seed: int | str, dataset: Mapping[str, Any], out: Path, method: str = METHODS[0]
) -> Any:
    """The run (a Store) of a reference network on the photographs of a seed: maps of own classes."""
    both = method in METHODS
    where = out / f"{reference.stem}-on-{seed}{'' if both else f'-{method}'}"
    return maps_only(where, dataset, reference, METHODS if both else (method,), target="label")


def pairs(inputs: Inputs, seeds: Sequence[int], references: Sequence[str]) -> Iterator[Pair]:
    """Marked networks beside the references; then the twin, which uses no mark, beside the public ones."""
    made = references_of(inputs, references)
    for seed in seeds:
        network = inputs.trained(seed, marked=True)
        told = usage(inputs, network, seed)
        marked = frozenset(told.marks)
        for name in references:
            yield Pair(seed, network, made[name], frozenset(told.used), marked)
        for name in references:
            if name != "twin-0":
                yield Pair(seed, inputs.trained(0, marked=False), made[name], frozenset(), marked)


def measure(pair: Pair, inputs: Inputs, out: Path) -> list[dict[str, Any]]:
    """A row per method: average precision of the orders, and what is accused."""
    from pipeline.config_sections import RankingConfig
    from pipeline.run.reference import write_reference
    from pipeline.statistics.ranking import rank
    from pipeline.statistics.reference_pairs import compare_with

    dataset = _dataset(pair, inputs)
    there = explained_by(pair.reference, pair.seed, dataset, out)
    run = maps_only(out / f"{pair.audited.stem}-audited-on-{pair.seed}", dataset, pair.audited, METHODS)
    rows = []
    for method in METHODS:
        write_reference(run, *compare_with(run, there, pair.reference.stem, method))
        table = rank(run, RankingConfig(method=method)).table.set_index("label")
        rows.append(_row(pair, method, table))
    return rows


def _dataset(pair: Pair, inputs: Inputs) -> dict[str, Any]:
    """The section of the configuration."""
    limit = PER_CLASS * len(inputs.photos("val").class_ids)
    return {"source": "folder", "path": str(inputs.marked_folder(pair.seed)), "limit": limit}


def measure_windows(pair: Pair, inputs: Inputs, out: Path) -> dict[str, Any]:
    """A row: average precision of what pasted windows say in a whole run with the reference, and how many
    classes add surely more here than there."""
    folder = out / f"{pair.audited.stem}-beside-{pair.reference.stem}"
    sections = {**NO_EXTRAS, "reference": {"source": str(pair.reference)}}
    whole_run(folder, _dataset(pair, inputs), pair.audited, sections, METHODS[:1])
    table = ranking_table(folder)
    both = table[["reference_lift_lower"]].assign(windows=-table["reference_transfer"])
    orders = {
        "windows": -table["transfer"],
        "beyond the reference's": -table["reference_transfer"],
        "lift, lowest quarter": table["reference_lift_lower"],
        "mean rank of these two": both.rank().mean(axis=1),
    }
    ap = {name: figures(scores.astype(float), list(pair.used)) for name, scores in orders.items()}
    more = set(table.index[table["reference_transfer_low"] > 0])
    transfers = set(table.index[table["transferred"] == "transfers"])
    return {
        "seed": pair.seed,
        "reference": pair.reference.stem,
        "used": len(pair.used),
        **{f"AP (AUC) {name}": f"{of['ap']:.2f} ({of['auc']:.2f})" for name, of in ap.items()},
        "surely more here": len(more),
        "of used": len(more & pair.used),
        "transfer": len(transfers),
        "of them surely more here": len(transfers & more),
    }


def _row(pair: Pair, method: str, table: pd.DataFrame) -> dict[str, Any]:
    beyond = set(table.index[(table["q_reference"] <= 0.05) & (table["reference_high"] < 0)])
    before = set(table.index[table["map_verdict"] == "suspicious"])
    orders = {
        "reference": table["reference_lift"],
        "lowest quarter": table["reference_lift_lower"],
        "lift": table["adjusted_lift_raw"],
        "both": table[["adjusted_lift_raw", "reference_lift"]].rank().mean(axis=1),
        "box": table["box_area"],
    }
    ap = {name: figures(scores.astype(float), list(pair.used))["ap"] for name, scores in orders.items()}
    return {
        "seed": pair.seed,
        "audited": pair.audited.stem,
        "reference": pair.reference.stem,
        "method": method,
        "used": len(pair.used),
        **{f"AP {name}": None if not pair.used else round(value or 0.0, 3) for name, value in ap.items()},
        "outliers": len(beyond),
        "marked": len(beyond & pair.marked),
        "of used": len(beyond & pair.used),
        "suspicious alone": len(before),
        "of them used": len(before & pair.used),
    }


def main() -> None:
    parser = simulated_or_measured(__doc__)
    parser.add_argument("--references", nargs="*", default=["twin-0", "public-112", "public-224"])
    parser.add_argument("--windows", action="store_true", help="whole runs: what pasted windows find")
    options = parser.parse_args()
    if options.simulate:
        print(simulated(options.runs))
        return
    if None in (options.archive, options.model, options.cache, options.out):
        parser.error("give --simulate, or --archive, --model, --cache and --out")
    load_tensorflow()
    options.out.mkdir(parents=True, exist_ok=True)
    inputs = Inputs(options.archive, options.model, options.cache, options.epochs)
    rows: list[dict[str, Any]] = []
    for pair in pairs(inputs, options.seeds, options.references):
        if not options.windows:
            rows += measure(pair, inputs, options.out)
        elif pair.used:
            rows.append(measure_windows(pair, inputs, options.out))
        print(rows[-2:], flush=True)
    shown = markdown(list(rows[0]), [list(row.values()) for row in rows])
    name = "reference-windows" if options.windows else "reference"
    publish(options.out, name, {"versions": versions(), "rows": rows}, shown)


if __name__ == "__main__":
    main()
