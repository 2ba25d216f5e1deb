"""Which methods' maps find the marks that networks *use*: average precision by method.

    python -m benchmarks.detection --out FOLDER [--planted-seeds 0 1 2] \
        [--archive tiny-imagenet-200.zip --model squeezenet_v1.1.keras --cache FOLDER --seeds 0 1 2]

Networks with known short cuts: on drawn pictures (12 classes, 3 marked on all or half of their images),
and, where the files are given, SqueezeNet fine-tuned on Tiny ImageNet with marks beside the objects of 21
of 200 classes (`benchmarks.real_networks`). What a network uses is measured on pairs of pictures with and
without the mark. Each method explains the same images; classes are put in the order of their adjusted
lift. Beside it: the chapter's ratio of the same maps, and what needs no map at all, small box and low
accuracy. Kinds of marks are told apart by leaving the other used marks out of the order. ``--whole``:
beside them the order of a default `hansaudit run` of each network, and that by what its edited images
show.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.output import publish, versions
from benchmarks.real_networks import Inputs, usage
from benchmarks.real_runs import (
    figures,
    map_orders,
    maps_only,
    markdown,
    ranking_table,
    whole_run,
)
from flows.settings import load_tensorflow

METHODS = (
    "lrp.preset_b_flat", "lrp.epsilon_gamma_box", "lrp.preset_a", "lrp.preset_b", "lrp.epsilon(eps=0.1)",
    "gradcam", "gradient", "input_x_gradient", "smoothgrad(augment_by_n=8)",
)  # fmt: skip
PER_CLASS = 25  # validation images of Tiny ImageNet: half of them


@dataclass(frozen=True)
class Subject:
    """A network, what it is audited on, and its used marks: class -> kind.

    ``group``: networks whose figures are averaged.
    """

    name: str
    group: str
    dataset: Mapping[str, Any]
    model: Path
    used: Mapping[int, str]


def planted(root: Path, seeds: Sequence[int]) -> Iterator[Subject]:
    """Networks on drawn pictures, marks on all and on half of the images of three classes."""
    from pipeline.canary.planted_canary import usage as planted_usage
    from pipeline.config import parse_config
    from pipeline.config_sections import DatasetConfig
    from pipeline.inputs.datasets.planted import (
        DEFAULT_ARTEFACTS,
        PlantedDataset,
        PlantedSpec,
        prepare_planted,
    )
    from pipeline.inputs.models import load_model
    from pipeline.inputs.planted_model import planted_model

    for share in (1.0, 0.5):
        for seed in seeds:
            marks = tuple((name, replace(mark, probability=share)) for name, mark in DEFAULT_ARTEFACTS)
            spec = PlantedSpec(artefacts=marks, seed=seed)
            folder = prepare_planted(spec, root)
            source = {"source": "planted", "path": str(folder)}
            dataset = PlantedDataset(DatasetConfig.model_validate(source), folder)
            network = planted_model(dataset, seed)
            config = parse_config({"dataset": source, "model": {"source": str(network)}})
            added = planted_usage(spec, load_model(config.model, dataset))
            kinds = {name: mark.kind for name, mark in marks}
            used = {spec.classes.index(name): kinds[name] for name, p in added.items() if p >= 0.1}
            yield Subject(f"planted-{share:g}-{seed}", f"drawn, marks on {share:.0%}", source, network, used)


def marked(inputs: Inputs, seeds: Sequence[int]) -> Iterator[Subject]:
    """The networks fine-tuned on Tiny ImageNet with marks."""
    for seed in seeds:
        network, folder = inputs.trained(seed, marked=True), inputs.marked_folder(seed)
        told = usage(inputs, network, seed)
        limit = PER_CLASS * len(inputs.photos("val").class_ids)
        dataset = {"source": "folder", "path": str(folder), "limit": limit}
        used = {label: told.marks[label].kind for label in told.used}
        yield Subject(f"tiny-{seed}", "Tiny ImageNet, 21 of 200 marked", dataset, network, used)


def measure(subject: Subject, out: Path, methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Order -> average precision over all used marks, and per kind; kept beside the run."""
    from pipeline.config import parse_method

    kept = out / f"{subject.name}.json"
    if kept.is_file():
        return json.loads(kept.read_text(encoding="utf-8"))
    run = maps_only(out / subject.name, subject.dataset, subject.model, methods)
    results: dict[str, dict[str, Any]] = {}
    for method in methods:
        for order, scores in map_orders(run, parse_method(method).key).items():
            name = {"adjusted": method, "ratio": f"{method}, ratio"}.get(order, order)
            results[name] = by_kind(scores, subject.used)
    kept.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return results


def measure_whole(subject: Subject, out: Path) -> dict[str, dict[str, Any]]:
    """The same for what a default run says: its order, and what the edited images say alone."""
    folder = out / f"{subject.name}-whole"
    whole_run(folder, subject.dataset, subject.model)
    table = ranking_table(folder)
    orders = {
        "audit": table["rank"],
        "interventions": -table["effect"],
        "interventions, shrunk": -table["effect_shrunk"],
    }
    return {name: by_kind(scores.astype(float), subject.used) for name, scores in orders.items()}


def by_kind(scores: Any, used: Mapping[int, str]) -> dict[str, Any]:
    """Average precision for all used marks and for those of each kind, and AUC for all."""
    whole = figures(scores, list(used))
    result = {"ap": whole["ap"], "auc": whole["auc"]}
    for kind in sorted(set(used.values())):
        others = [label for label, k in used.items() if k != kind]
        own = [label for label, k in used.items() if k == kind]
        result[kind] = figures(scores.drop(others, errors="ignore"), own)["ap"]
    return result


def table(results: Mapping[str, Mapping[str, Mapping[str, Any]]], subjects: Sequence[Subject]) -> str:
    """Per group of networks: a row per order, mean over the networks, best first."""
    parts = []
    for group in dict.fromkeys(s.group for s in subjects):
        own = [s for s in subjects if s.group == group]
        kinds = sorted({kind for s in own for kind in s.used.values()})
        orders = {name: [results[s.name][name] for s in own] for name in results[own[0].name]}
        rows = [
            [name, *(_mean(values, key) for key in ("ap", "auc", *kinds))] for name, values in orders.items()
        ]
        rows.sort(key=lambda row: -float(row[1]))
        used = ", ".join(str(len(s.used)) for s in own)
        parts.append(f"{group}; {len(own)} networks, used marks: {used}\n\n")
        parts.append(markdown(["order", "AP", "AUC", *(f"AP, {kind}" for kind in kinds)], rows) + "\n\n")
    return "".join(parts)


def _mean(values: Sequence[Mapping[str, Any]], key: str) -> str:
    """Mean over the networks that have the figure."""
    defined = [v[key] for v in values if v.get(key) is not None]
    return f"{np.mean(defined):.2f}" if defined else "nan"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--planted-seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--whole", action="store_true", help="a default run of each network, too")
    parser.add_argument("--archive", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    options = parser.parse_args()
    load_tensorflow()
    options.out.mkdir(parents=True, exist_ok=True)
    subjects = list(planted(options.out / "planted", options.planted_seeds))
    if options.archive:
        inputs = Inputs(options.archive, options.model, options.cache, options.epochs)
        subjects += marked(inputs, options.seeds)
    results = {}
    for subject in subjects:
        results[subject.name] = measure(subject, options.out, options.methods)
        if options.whole:
            results[subject.name] |= measure_whole(subject, options.out)
        best = {m: results[subject.name][m]["ap"] for m in options.methods}
        print(f"{subject.name}: {len(subject.used)} marks used, AP {best}", flush=True)
    publish(options.out, "detection", {"versions": versions(), "results": results}, table(results, subjects))


if __name__ == "__main__":
    main()
