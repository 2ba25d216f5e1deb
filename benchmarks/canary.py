"""Power of detection on the planted benchmark: several seeds, marks on all and on half of a class's
images, clean.

    python -m benchmarks.canary --seeds 5 --out runs/canary-benchmark

Every seed has its own data, network and choices. Finished trials are kept, so the command goes on where it
stopped. Prints average precision, AUC and recall at k of the adjusted ranking, the same with the
confirmation by intervention, the chapter's ratio and the small-box baseline, and the false alarms.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from flows.settings import load_tensorflow
from pipeline.canary.detection import CLASS_ORDERS, mean_figures
from pipeline.inputs.datasets.planted import DEFAULT_ARTEFACTS, PlantedSpec
from pipeline.run.documents import TrialDocument

PROBABILITIES = (1.0, 0.5, 0.0)


def specs_of(probability: float, seeds: int) -> list[PlantedSpec]:
    """The demo's three visible marks on this share of the images of their classes; 0: clean data."""
    marks = tuple((name, replace(mark, probability=probability)) for name, mark in DEFAULT_ARTEFACTS)
    return [PlantedSpec(artefacts=marks if probability else (), seed=seed) for seed in range(seeds)]


def table(results: dict[float, list[TrialDocument]]) -> str:
    """Markdown: one row per probability and order, then the false alarms."""
    lines = ["| marks on | order | AP | AUC | recall at k |", "|---|---|---|---|---|"]
    for probability, trials in results.items():
        for order in CLASS_ORDERS if probability else ():
            mean = mean_figures([t.figures[order] for t in trials])
            cells = " | ".join(f"{mean[k]:.3f}" for k in ("ap", "auc", "recall"))
            lines.append(f"| {probability:.0%} | {order.replace('_', ' ')} | {cells} |")
    lines += ["", "| marks on | networks | accuracy | classes without | suspicious | confirmed | hidden |"]
    lines.append("|---|---|---|---|---|---|---|")
    for probability, trials in results.items():
        accuracy = sum(t.accuracy for t in trials) / len(trials)
        counts = [
            sum(t.classes_clean for t in trials),
            sum(t.false_suspicious for t in trials),
            sum(t.false_confirmed for t in trials),
        ]
        hidden = sum(t.false_hidden for t in trials)
        row = [f"{probability:.0%}", len(trials), f"{accuracy:.1%}", *counts, hidden]
        lines.append("| " + " | ".join(map(str, row)) + " |")
    clean = results.get(0.0, [])
    if clean:
        share = sum(t.false_confirmed == 0 for t in clean) / len(clean)
        lines.append(f"\nclean networks without any confirmed class: {share:.0%} of {len(clean)}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", default="runs/canary-benchmark")
    parser.add_argument("--method", default="lrp.preset_a")
    options = parser.parse_args()
    load_tensorflow()
    from pipeline.canary.planted_canary import run_planted_trials

    results: dict[float, list[TrialDocument]] = {}
    for probability in PROBABILITIES:

        def tell(n: int, trial: TrialDocument, p: float = probability) -> None:
            shown = {k: trial.figures[k]["ap"] for k in CLASS_ORDERS}
            print(f"{p:.0%} seed {n}: accuracy {trial.accuracy:.3f}, AP {shown}", flush=True)

        specs = specs_of(probability, options.seeds)
        results[probability] = run_planted_trials(specs, Path(options.out), options.method, tell)
    print(table(results))
    content = [(p, [t.content() for t in trials]) for p, trials in results.items()]
    Path(options.out, "benchmark.json").write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
