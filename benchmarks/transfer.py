"""What all evidence of a network finds together, and how often the test of pasted windows errs.

    python -m benchmarks.transfer --simulate [--runs 1.0]
    python -m benchmarks.transfer --archive tiny-imagenet-200.zip --model squeezenet_v1.1.keras \
        --cache FOLDER --out FOLDER [--seeds 0 1 2] [--method lrp.preset_a] [--references twin-0 public-112]

``--simulate``: drawn tables (`benchmarks.transfer_simulated`).

Else: default runs, without curves, of the networks of `benchmarks.real_networks` with marks beside the
objects of 21 of 200 classes, and of the twin that was trained without marks on the same photographs. Which
order finds the marks that a network uses, among the classes that are not confirmed in the twin: every piece
of evidence alone, all of one network together, and with reference networks. Of the confirmed classes: how
many carry a used mark, are confirmed in the twin, or neither. Seed 0 is the one on which the orders were
chosen. What the runs measured is judged by the present rules; a run of the reference networks is shared with
`benchmarks.reference` in the same ``--out``.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.detection import Subject, marked
from benchmarks.output import publish, versions
from benchmarks.real_networks import Inputs, simulated_or_measured, usage
from benchmarks.real_runs import NO_EXTRAS, figures, judged_again, markdown, share, whole_run
from benchmarks.reference import explained_by, references_of
from benchmarks.transfer_simulated import simulated
from flows.settings import load_tensorflow

REFERENCES = ("twin-0", "public-112", "public-224")
ALL_MEANS = ("adjusted_lift", "effect_shrunk", "transfer")
TWO_MEANS = ("adjusted_lift", "transfer")
LOW_ACCUSES = ("adjusted_lift", "reference_lift")  # all others accuse where they are high


def measure(subject: Subject, method: str, out: Path) -> tuple[pd.DataFrame, dict[str, pd.Series]]:
    """The classes of a default run, by label, and name -> score of the orders, the smallest first."""
    folder = out / f"{subject.name}-{method}"
    whole_run(folder, subject.dataset, subject.model, NO_EXTRAS, (method,))
    table = judged_again(folder)
    return table, {
        "small box": table["box_area"],
        "ratio": table["ratio"],
        "interventions": -table["effect_shrunk"],
        "adjusted lift, mean": table["adjusted_lift_raw"],
        "adjusted lift, lowest quarter": table["adjusted_lift_lower"],
        "transfer": -table["transfer"],
        "windows at other places": -table["transfer_elsewhere"],
        "mean rank of mean lift, effect, transfer": mean_rank(table, ALL_MEANS),
        "mean rank of mean lift, transfer": mean_rank(table, TWO_MEANS),
        "all of one network (`evidence`)": -table["evidence"],
        "order of the run": table["rank"],
    }


def mean_rank(table: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """Mean of the ranks, as shares of the classes that have one, most suspicious lowest."""
    ranks = [table[name].rank(pct=True, ascending=name in LOW_ACCUSES) for name in columns]
    return pd.concat(ranks, axis=1).mean(axis=1)


def confirmed_in(twin: Path, subject: Subject, method: str, out: Path) -> set[int]:
    """Classes that a default run of the twin confirms on the same photographs."""
    folder = out / f"{twin.stem}-whole-on-{subject.name}-{method}"
    whole_run(folder, subject.dataset, twin, {**NO_EXTRAS, "transfer": {"images": 0}}, (method,))
    table = judged_again(folder)
    return set(table.index[table["verdict"] == "confirmed"])


def against(subject: Subject, method: str, reference: Path, out: Path) -> dict[str, pd.Series]:
    """The orders with a reference network: alone, and together with what the audited network says itself.

    Its edited pictures are left out: its maps alone are measured here.
    """
    from pipeline.config_sections import RankingConfig
    from pipeline.run.reference import drop_reference, write_reference
    from pipeline.run.store import Store
    from pipeline.statistics.ranking import rank
    from pipeline.statistics.reference_pairs import compare_with

    there = explained_by(reference, subject.name.rpartition("-")[2], subject.dataset, out, method)
    run = Store(str(out / f"{subject.name}-{method}"))
    write_reference(run, *compare_with(run, there, reference.stem, method))
    table = rank(run, RankingConfig()).table.set_index("label")
    drop_reference(run)
    return {
        f"{reference.stem}, mean": table["reference_lift"],
        f"{reference.stem}, lowest quarter": table["reference_lift_lower"],
        f"{reference.stem}, mean rank of mean, lift, effect, transfer": mean_rank(
            table, ("reference_lift", *ALL_MEANS)
        ),
        f"{reference.stem} with all (`evidence`)": -table["evidence"],
        f"{reference.stem}, order of the run": table["rank"],
    }


@dataclass(frozen=True)
class Accused:
    """Classes of a network that its verdicts accuse, and what is true of them."""

    confirmed: Set[int]
    suspected: Set[int]
    transfer: Set[int]
    marked: Set[int]
    used: Set[int]
    in_twin: Set[int]

    @property
    def neither(self) -> Set[int]:
        """Confirmed, without a used mark, and not confirmed in the twin."""
        return self.confirmed - self.used - self.in_twin

    def told(self) -> str:
        """In a line."""
        parts = [
            f"{name} {len(labels)} (marked {len(labels & self.marked)}, used {len(labels & self.used)})"
            for name, labels in (
                ("confirmed", self.confirmed),
                ("suspected", self.suspected),
                ("transfers", self.transfer),
            )
        ]
        twin = f"the twin confirms {len(self.in_twin)}"
        return "; ".join([*parts, twin, f"confirmed, but neither used nor in the twin {len(self.neither)}"])


def accused(table: pd.DataFrame, used: Set[int], marks: Set[int], in_twin: Set[int]) -> Accused:
    """What a run's table says."""
    by = {name: set(table.index[table["verdict"] == name]) for name in ("confirmed", "suspected")}
    transfer = set(table.index[table["transferred"] == "transfers"])
    return Accused(by["confirmed"], by["suspected"], transfer, marks, used, in_twin)


def found(orders: Mapping[str, pd.Series], used: Sequence[int], without: Set[int]) -> dict[str, str]:
    """Order -> average precision and AUC for used marks among the classes that are not ``without``."""
    told = {}
    for name, scores in orders.items():
        made = figures(scores.drop(sorted(without)).astype(float), sorted(set(used) - without))
        told[name] = f"{made['ap']:.2f}, {made['auc']:.2f}"
    return told


def on_photographs(inputs: Inputs, options: argparse.Namespace) -> str:
    """A column per network: average precision and AUC of every order; then what is accused."""
    references = references_of(inputs, options.references)
    cells: dict[str, list[str]] = {}
    told: list[Accused] = []
    lines, head = [], []
    for subject, seed in zip(marked(inputs, options.seeds), options.seeds, strict=True):
        table, orders = measure(subject, options.method, options.out)
        for reference in references.values():
            orders |= against(subject, options.method, reference, options.out)
        in_twin = confirmed_in(inputs.trained(0, marked=False), subject, options.method, options.out)
        for name, cell in found(orders, list(subject.used), in_twin).items():
            cells.setdefault(name, []).append(cell)
        marks = set(usage(inputs, subject.model, seed).marks)
        told.append(accused(table, set(subject.used), marks, in_twin))
        lines.append(f"- {subject.name}, {len(subject.used)} marks used: {told[-1].told()}")
        head.append(subject.name)
        print(lines[-1], {name: of[-1] for name, of in cells.items()}, flush=True)
    neither = share(sum(len(one.neither) for one in told), sum(len(one.confirmed) for one in told))
    rows = [[name, *values] for name, values in cells.items()]
    lines.append(f"- confirmed, neither with a used mark nor confirmed in the twin: {neither}")
    return markdown([f"{options.method}: AP, AUC", *head], rows) + "\n\n" + "\n".join(lines) + "\n"


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
