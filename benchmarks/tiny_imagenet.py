"""Tiny ImageNet as it is, without marks: how many classes are accused, tested, confirmed, cleared.

    python -m benchmarks.tiny_imagenet --archive tiny-imagenet-200.zip --model squeezenet_v1.1.keras \
        --cache FOLDER [--network public --side 224] [--seeds 0 1] [--cost]

A default `hansaudit run` on the 10,000 validation images: the public SqueezeNet, its last convolution cut
to the 200 classes (``public``, at 224 or 112), or the one that was fine-tuned without marks (``twin``, at
112, of `benchmarks.real_networks`). Nothing is planted, so nothing is known to be true; what can be
measured is

- the counts, and how far trivial orders (ratio, small box, low accuracy) put the same classes first;
- stability: is a class that is confirmed with one seed confirmed with another, and one that is confirmed on
  25 images of each class on the other 25 (two folders, two runs)?
- the null: what would be said if the donors of the same class were none, their labels shuffled;
- ``--cost``: processor and wall time of the default run against an audit alone, each in its own process.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.output import publish, versions
from benchmarks.real_marks import write_folder
from benchmarks.real_networks import SIDE, Inputs, arguments, inputs_of
from benchmarks.real_runs import figures, markdown, ranking_table, whole_run

CONFIRMED, DEPENDS = "confirmed", "depends"
ACQUITTED = ("cleared", "unremarkable")
NAMED = {"methods": ["lrp.preset_a"]}  # whatever `auto` chooses, both sides of a ratio share it
NONE = {"images": 0}
ALONE = NAMED | {"interventions": NONE, "transfer": NONE, "perturbation": False, "sanity": NONE}
OWN, FOREIGN = ("same", "same_object", "same_wide"), ("other", "other_object", "other_wide")
EXCHANGED = (*OWN, *FOREIGN)
NULL_RUNS = 100
BASELINES = {
    "adjusted lift": "adjusted_lift_raw",
    "ratio": "ratio",
    "small box": "box_area",
    "low accuracy": "accuracy",
}


def halves(inputs: Inputs) -> tuple[Path, Path]:
    """Two folders, each with half of the images of every class; a seeded choice."""
    folders = tuple(inputs.cache / f"half-{name}" for name in "ab")
    if not all(folder.is_dir() for folder in folders):
        photos = inputs.photos("val")
        rows = split_in_halves(photos.labels)
        for folder, own in zip(folders, rows, strict=True):
            if not folder.is_dir():
                unfinished = folder.with_name(f"{folder.name}.unfinished")
                write_folder(photos, unfinished, own.tolist())
                unfinished.rename(folder)
    return folders[0], folders[1]


def split_in_halves(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two halves; each class is halved, an odd image goes to the second."""
    rng = np.random.default_rng(0)
    first = np.concatenate(
        [
            rng.permutation(rows)[: len(rows) // 2]
            for k in np.unique(labels)
            for rows in [np.flatnonzero(labels == k)]
        ]
    )
    return np.sort(first), np.setdiff1d(np.arange(len(labels)), first)


def counts(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    """How many classes have which word: of the maps, of the interventions, of the audit."""
    columns = [name for name in ("map_verdict", "tested", "verdict") if name in table]
    return {name: dict(Counter(table[name].fillna("not tested").tolist())) for name in columns}


def confirmed(table: pd.DataFrame) -> set[int]:
    """Labels of the confirmed classes."""
    return {int(label) for label in table.index[table["verdict"] == CONFIRMED]}


def acquitted(table: pd.DataFrame) -> set[int]:
    """Labels of the classes that are cleared or unremarkable."""
    return {int(label) for label in table.index[table["verdict"].isin(ACQUITTED)]}


def agreement(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, Any]:
    """How many are confirmed in either and in both; of the classes confirmed in one of them, the shares that
    are confirmed in the other and that are not contradicted there (cleared or unremarkable)."""
    in_first, in_second = confirmed(first), confirmed(second)
    both, total = len(in_first & in_second), len(in_first) + len(in_second)
    against = len(in_first & acquitted(second)) + len(in_second & acquitted(first))
    return {
        "first": len(in_first),
        "second": len(in_second),
        "both": both,
        "confirmed again": 2 * both / total if total else None,
        "not contradicted": 1 - against / total if total else None,
    }


def null_runs(run: Path, draws: int) -> list[int]:
    """How many classes are said to depend on their background in each of ``draws`` runs in which they do not.

    Of the two foreign backgrounds that an edited image got, a coin calls one its own class's: labels of
    donors are shuffled, everything else is as it was.
    """
    from pipeline.config_sections import RankingConfig
    from pipeline.run.edited_parts import read_edited
    from pipeline.run.store import Store
    from pipeline.statistics.answers import read_answers
    from pipeline.statistics.effects import judge

    answers = read_answers(read_edited(Store(str(run))))
    depend = []
    for draw in range(draws):
        rng = np.random.default_rng([draw, 0])
        shuffled = {label: shuffle_donors(of_class, rng) for label, of_class in answers.items()}
        judged = judge(shuffled, RankingConfig()).judgements
        depend.append(sum(judgement.tested == DEPENDS for judgement in judged.values()))
    return depend


def shuffle_donors(answers: Any, rng: np.random.Generator) -> Any:
    """The answers of one class with two foreign backgrounds in place of an own and a foreign one."""
    swap = rng.uniform(size=answers.n) < 0.5

    def exchanged(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        new = {name: v for name, v in values.items() if name.partition(":")[0] not in EXCHANGED}
        for own, other in zip(OWN, FOREIGN, strict=True):
            pair = [values.get(f"{other}:{k}", np.full(answers.n, np.nan)) for k in (0, 1)]
            new[f"{own}:0"] = np.where(swap, pair[1], pair[0])
            new[f"{other}:0"] = np.where(swap, pair[0], pair[1])
        return new

    return replace(answers, probability=exchanged(answers.probability), hit=exchanged(answers.hit), donors={})


def trivial(table: pd.DataFrame) -> dict[str, float | None]:
    """Average precision of orders that edit nothing for the classes that are confirmed."""
    return {
        name: figures(table[column].astype(float), sorted(confirmed(table)))["ap"]
        for name, column in BASELINES.items()
    }


def prepared_section(inputs: Inputs) -> dict[str, str]:
    """The validation images, as a section of the configuration."""
    return {"source": "tfds", "path": str(inputs.prepared("val"))}


def cost(inputs: Inputs, model: Path, root: Path, repeats: int) -> dict[str, Any]:
    """Wall and processor seconds of audit alone and of a run with all its stages, alternating; the best of
    each. Both explain by the same method: what choosing it costs does not grow with the dataset."""
    seconds: dict[str, list[Any]] = {"audit alone": [], "default": []}
    for i in range(repeats):
        for name, sections in (("audit alone", ALONE), ("default", NAMED)):
            out = root / f"cost-{name.replace(' ', '-')}-{i}"
            done = whole_run(out, prepared_section(inputs), model, sections)
            kept = json.loads(out.with_name(f"{out.name}.done").read_text())
            seconds[name].append((kept["wall"], kept["cpu"]) if done is None else (done.wall, done.cpu))
    best = {name: [min(column) for column in zip(*rows, strict=True)] for name, rows in seconds.items()}
    ratio = [whole / alone for whole, alone in zip(best["default"], best["audit alone"], strict=True)]
    return {"seconds": seconds, "wall ratio": ratio[0], "processor ratio": ratio[1]}


def report(result: Mapping[str, Any]) -> str:
    """The figures as tables."""
    parts = _counted(result) if "counts" in result else []
    if "cost" in result:
        ratios = [f"{result['cost'][name]:.2f}" for name in ("wall ratio", "processor ratio")]
        parts.append(f"default run / audit alone: {ratios[0]} x wall, {ratios[1]} x processor time")
    return "\n\n".join(parts) + "\n"


def _counted(result: Mapping[str, Any]) -> list[str]:
    words = sorted({word for column in result["counts"].values() for word in column})
    rows = [[name, *(column.get(word, 0) for word in words)] for name, column in result["counts"].items()]
    parts = [markdown(["classes", *words], rows)]
    rows = [[name, "-" if value is None else f"{value:.2f}"] for name, value in result["trivial"].items()]
    parts.append(markdown(["order", "AP for the confirmed classes"], rows))
    head = ["confirmed", "first", "second", "both", "share confirmed again", "share not contradicted"]
    rows = [[name, *(_number(v) for v in values.values())] for name, values in result["stability"].items()]
    parts.append(markdown(head, rows))
    false = sum(n > 0 for n in result["null"])
    parts.append(
        f"labels of donors shuffled: {false} of {len(result['null'])} runs have a class that depends on its "
        f"background, {sum(result['null'])} classes in all"
    )
    return parts


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def measure(inputs: Inputs, model: Path, root: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """Counts, baselines and stability of one network."""
    tables = {}
    for seed in seeds:
        sections = {"interventions": {"seed": seed}}
        whole_run(root / f"seed-{seed}", prepared_section(inputs), model, sections)
        tables[seed] = ranking_table(root / f"seed-{seed}")
        print(f"seed {seed}: {counts(tables[seed])}", flush=True)
    parts = []
    for folder in halves(inputs):
        whole_run(root / folder.name, {"source": "folder", "path": str(folder)}, model)
        parts.append(ranking_table(root / folder.name))
        print(f"{folder.name}: {counts(parts[-1])}", flush=True)
    first, run = (tables[seeds[0]], root / f"seed-{seeds[0]}") if seeds else (parts[0], root / "half-a")
    stability = {f"seeds {seeds[0]} and {seed}": agreement(first, tables[seed]) for seed in seeds[1:]}
    stability["two halves of the images"] = agreement(parts[0], parts[1])
    return {
        "counts": counts(first),
        "trivial": trivial(first),
        "stability": stability,
        "null": null_runs(run, NULL_RUNS),
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--network", choices=("public", "twin"), default="public")
    parser.add_argument("--side", type=int, default=224, help="of the public network's input")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1], help="none: the halves alone")
    parser.add_argument("--cost", type=int, default=0, metavar="N", help="repeats of the comparison of costs")
    parser.add_argument("--only-cost", action="store_true", help="nothing but that comparison")
    options = parser.parse_args()
    inputs = inputs_of(options)
    public = options.network == "public"
    model = inputs.cut(options.side) if public else inputs.trained(0, marked=False)
    name = f"tiny-{options.network}-{options.side if public else SIDE}"
    root = inputs.cache / "runs" / name
    result = {} if options.only_cost else measure(inputs, model, root, options.seeds)
    if options.cost:
        result["cost"] = cost(inputs, model, root, options.cost)
    publish(
        inputs.cache,
        f"{name}-cost" if options.only_cost else name,
        {"versions": versions(), "results": result},
        report(result),
    )


if __name__ == "__main__":
    main()
