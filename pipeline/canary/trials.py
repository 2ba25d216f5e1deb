"""The canary: what this set-up would find, and what it would miss, measured by planting marks.

Several marks are planted in one dataset, each on a class of its own, so that one trained network tests
several cells of the grid kind x size x probability x place. What a network does not use it cannot be caught
with: whether it uses a mark is measured with paired images, the same picture with and without it, and
reported beside.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np

from pipeline.canary.detection import CLASS_ORDERS, detection, mean_figures, recall_curve
from pipeline.followup.confirm import Confirmed, confirmed_order
from pipeline.inputs.datasets.drawing import SHAPES
from pipeline.inputs.datasets.planted import Artefact, PlantedSpec, draw_example
from pipeline.inputs.models import LoadedModel
from pipeline.measure.evaluate import Evaluator
from pipeline.measure.rows import probabilities
from pipeline.run.store import Store
from pipeline.seeds import Purpose
from pipeline.statistics.ranking import Ranking
from pipeline.verdicts import DEPENDENT, InterventionVerdict, RankingVerdict, is_found

SUMMARY = "canary.json"
MARKS = 4  # planted classes per network: enough others stay to compare with
USED = 0.1  # probability that a mark must add on its class for the network to use it
PAIRS = 20  # paired images for that


@dataclass(frozen=True)
class Grid:
    """The marks to plant; sizes as a share of the picture's side.

    ``controls``: besides, one mark on the object and one that is invisible (blur), which an audit by boxes
    cannot be expected to find.
    """

    kinds: tuple[str, ...] = ("patch", "text", "stripe")
    sizes: tuple[float, ...] = (0.05, 0.09, 0.17)
    probabilities: tuple[float, ...] = (1.0, 0.5)
    controls: bool = True

    def marks(self) -> list[Artefact]:
        """Every cell, in order."""
        cells = [Artefact(k, p, s) for k in self.kinds for s in self.sizes for p in self.probabilities]
        extra = [Artefact("patch", 1.0, max(self.sizes), inside=True), Artefact("blur", 1.0, 0.17)]
        return cells + (extra if self.controls else [])


def plan_networks(grid: Grid, networks: int, seed: int) -> list[PlantedSpec]:
    """One specification per network: first a clean one, then ``MARKS`` marks each, in a seeded order."""
    dealt = deal_marks(grid, tuple(SHAPES), MARKS, (networks, seed))
    return [replace(PlantedSpec(), artefacts=artefacts, seed=seed + n) for n, artefacts in enumerate(dealt)]


def deal_marks(
    grid: Grid, hosts: Sequence[str], marks: int, plan: tuple[int, int]
) -> list[tuple[tuple[str, Artefact], ...]]:
    """(class, mark) pairs per network of ``plan`` = (networks, seed): none in the first, then ``marks`` each.

    Cells of the grid come in a seeded order, each once before any comes twice.
    """
    networks, seed = plan
    rng = Purpose.DEALT_MARKS.rng(seed)
    cells = grid.marks()
    queue = [cells[i] for _ in range(1 + networks * marks // len(cells)) for i in rng.permutation(len(cells))]
    dealt: list[tuple[tuple[str, Artefact], ...]] = [()]
    for n in range(networks - 1):
        chosen = sorted(rng.permutation(len(hosts))[:marks].tolist())
        pairs = zip(chosen, queue[n * marks : (n + 1) * marks], strict=True)
        dealt.append(tuple((hosts[k], mark) for k, mark in pairs))
    return dealt


def usage(spec: PlantedSpec, model: LoadedModel, batch_size: int = 16) -> dict[str, float]:
    """Per planted class: mean probability of the class that its mark adds, over pairs of images."""
    evaluator = Evaluator(model.model, batch_size)
    clean = replace(spec, artefacts=())
    found = {}
    for name, artefact in spec.artefacts:
        label = spec.classes.index(name)
        always = replace(spec, artefacts=((name, replace(artefact, probability=1.0)),))
        p = []
        for one in (always, clean):
            pictures = [draw_example(one, "validation", label, i)[0] for i in range(PAIRS)]
            logits = evaluator.logits(model.card.prepare(np.stack(pictures)))
            p.append(probabilities(logits, model.card.output)[:, label])
        found[name] = float(np.mean(p[0] - p[1]))
    return found


class Planting(Protocol):
    """What a trial must know of its data: PlantedSpec, or PhotoSpec."""

    @property
    def seed(self) -> int: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def artefacts(self) -> tuple[tuple[str, Artefact], ...]: ...


def trial_result(
    spec: Planting, ranking: Ranking, confirmed: Confirmed, used: Mapping[str, float]
) -> dict[str, Any]:
    """What the audit and the interventions said about one network, JSON-ready.

    Marks that lie on the object or are invisible are neither hits nor false alarms in the figures; they are
    cells of their own.
    """
    table = ranking.table.set_index("label")
    labels = dict(zip(table["class_name"], table.index, strict=True))
    label_of = {name: int(labels[name]) for name, _ in spec.artefacts if name in labels}
    visible = {label_of[n] for n, a in spec.artefacts if a.visible and not a.inside and n in label_of}
    apart = set(label_of.values()) - visible
    orders = {
        "adjusted": table.index.tolist(),
        InterventionVerdict.CONFIRMED.value: confirmed_order(table.index.tolist(), confirmed),
        "ratio": table.sort_values(["ratio_rank"], kind="stable").index.tolist(),
        "small_box": table.sort_values(["small_box_rank"], kind="stable").index.tolist(),
    }
    orders = {name: [k for k in order if k not in apart] for name, order in orders.items()}
    place = {int(k): i for i, k in enumerate(table.index, start=1)}
    clean = [k for k in table.index if k not in label_of.values()]
    verdicts = {k: j.verdict for k, j in confirmed.judgements.items()}
    cells = [
        asdict(artefact)
        | {
            "class_name": name,
            "visible": artefact.visible,
            "added": used[name],
            "used": used[name] >= USED,
            "rank": place[label_of[name]],
            "verdict": str(table.loc[label_of[name], "verdict"]),
            "test": verdicts.get(label_of[name]),
        }
        for name, artefact in spec.artefacts
        if name in label_of
    ]
    return {
        "seed": spec.seed,
        "accuracy": float(np.average(table["accuracy"], weights=table["n_images"])),
        "cells": cells,
        "figures": {name: detection(order, visible) for name, order in orders.items()},
        "recall": {name: recall_curve(order, visible) if visible else [] for name, order in orders.items()},
        "classes_clean": len(clean),
        "false_suspicious": int((table.loc[clean, "verdict"] == RankingVerdict.SUSPICIOUS).sum()),
        "false_confirmed": sum(verdicts.get(k) == InterventionVerdict.CONFIRMED for k in clean),
        "false_hidden": sum(verdicts.get(k) == InterventionVerdict.HIDDEN for k in clean),
    }


def summarise_trials(trials: Sequence[Mapping[str, Any]], about: str) -> dict[str, Any]:
    """The power of the set-up from all trials: figures, cells, and one line for a report."""
    planted = [t for t in trials if t["cells"]]
    cells = [c for t in planted for c in t["cells"]]
    return {
        "about": about,
        "networks": len(trials),
        "accuracy": float(np.mean([t["accuracy"] for t in trials])),
        "figures": {name: mean_figures([t["figures"][name] for t in planted]) for name in CLASS_ORDERS},
        "cells": cells,
        "false_alarms": _false_alarms(trials),
        "line": summary_line(cells, about),
    }


def _false_alarms(trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    classes = sum(t["classes_clean"] for t in trials)
    return {"classes": classes} | {
        name.value: sum(t[f"false_{name}"] for t in trials)
        for name in (RankingVerdict.SUSPICIOUS, *DEPENDENT)
    }


def summary_line(cells: Sequence[Mapping[str, Any]], about: str) -> str:
    """One sentence on what would have been missed; sizes are shares of the picture's side."""
    beside = [c for c in cells if c["visible"] and not c["inside"] and c["used"]]
    if not beside:
        return f"Canary ({about}): no network used a planted mark, so nothing can be said about misses."
    found = [c for c in beside if _is_found(c)]
    missed = [c["size"] for c in beside if not _is_found(c)]
    safe = sorted({c["size"] for c in found if c["size"] > max(missed, default=0.0)})
    line = (
        f"Canary ({about}): {len(found)} of {len(beside)} planted marks beside the object that a network "
        "used were found"
    )
    side = "of the picture's side"
    if not safe:
        line += f"; of the largest, {max(c['size'] for c in beside):.0%} {side}, some were missed"
    elif safe[0] > min(c["size"] for c in beside):
        line += f"; this audit would have missed marks smaller than {safe[0]:.0%} {side}"
    else:
        line += f", down to {safe[0]:.0%} {side}"
    others = [c for c in cells if (c["inside"] or not c["visible"]) and c["used"]]
    if others:
        count = sum(map(_is_found, others))
        line += f". Marks on the object or invisible ones: {count} of {len(others)} found"
    return line + "."


def _is_found(cell: Mapping[str, Any]) -> bool:
    return is_found(cell["verdict"], cell["test"])


def attach(run: Store, summary: Mapping[str, Any]) -> None:
    """Put the canary's summary into another run, whose report then shows its line."""
    if not run.exists:
        run.manifest  # noqa: B018 - raises the error that says what is wrong with the folder
    run.files.put(SUMMARY, json.dumps(summary, indent=1, allow_nan=False).encode())
