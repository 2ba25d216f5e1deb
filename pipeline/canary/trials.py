"""A trial of the canary: one network with planted marks, audited and confirmed; what was found of them.

What a network does not use it cannot be caught with: whether it uses a mark is measured with paired images,
the same picture with and without it, and reported beside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd

from pipeline.canary.detection import USED, detection, recall_curve
from pipeline.canary.grid import Marks
from pipeline.config import Config, parse_config, parse_method
from pipeline.measure.audit import audit_run
from pipeline.measure.benches import bench_for
from pipeline.measure.interventions.stage import edit_run
from pipeline.run.documents import PlantedCell, TrialDocument
from pipeline.run.store import Store
from pipeline.statistics.effects import undecided_classes
from pipeline.statistics.ranking import Ranking, rank
from pipeline.verdicts import SUSPECT, MapVerdict, Tested, Verdict

S = TypeVar("S")


class Planting(Protocol):
    """What a trial must know of its data: PlantedSpec, or PhotoSpec."""

    @property
    def seed(self) -> int: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def artefacts(self) -> Marks: ...


def run_each(
    specs: Iterable[S], trial_of: Callable[[S], TrialDocument], on_trial: Callable[[int, TrialDocument], None]
) -> list[TrialDocument]:
    """The trials of ``specs``, in order; ``on_trial`` is called with the number and result of each."""
    trials: list[TrialDocument] = []
    for n, spec in enumerate(specs):
        trials.append(trial_of(spec))
        on_trial(n, trials[-1])
    return trials


def kept_or_made(run: Store, make: Callable[[], TrialDocument]) -> TrialDocument:
    """The finished trial of ``run``, else one that is made now and kept there."""
    if (kept := TrialDocument.read(run)) is not None:
        return kept
    trial = make()
    trial.write(run)
    return trial


def trial_config(dataset: Mapping[str, str], network: Path, method: str) -> Config:
    """The audit of one network; the sanity of methods is not what a trial asks."""
    return parse_config(
        {
            "dataset": dict(dataset),
            "model": {"source": str(network)},
            "methods": [parse_method(method).model_dump()],
            "perturbation": False,
            "sanity": {"images": 0},
        }
    )


def audit_and_edit(config: Config, run: Store, spec: Planting) -> Ranking:
    """Audit what is missing, edit images of every class, rank."""
    bench = bench_for(config)
    audit_run(run, bench)
    asked = config.interventions.model_copy(update={"seed": spec.seed})
    seeded = replace(bench, config=config.model_copy(update={"interventions": asked}))
    edit_run(run, seeded, undecided_classes)
    return rank(run, config.ranking)


def trial_result(spec: Planting, ranking: Ranking, used: Mapping[str, float]) -> TrialDocument:
    """What the audit said about one network, by maps and by edited images.

    ``used``: what each planted mark adds to its class. Marks that lie on the object or are invisible are
    neither hits nor false alarms in the figures; they are cells of their own.
    """
    table = ranking.table.set_index("label")
    label_of = _planted_labels(spec, ranking)
    visible = {label_of[n] for n, a in spec.artefacts if a.visible and not a.inside and n in label_of}
    orders = _orders(ranking, leave_out=set(label_of.values()) - visible)
    clean = [k for k in table.index if k not in label_of.values()]
    accused = table.loc[clean][table.loc[clean, "verdict"] == Verdict.CONFIRMED]
    seen = int(accused["map_verdict"].isin(SUSPECT).sum())
    return TrialDocument(
        seed=spec.seed,
        accuracy=float(np.average(table["accuracy"], weights=table["n_images"])),
        cells=_cells(spec, ranking, used),
        figures={name: detection(order, visible) for name, order in orders.items()},
        recall={name: recall_curve(order, visible) if visible else [] for name, order in orders.items()},
        classes_clean=len(clean),
        false_suspicious=int((table.loc[clean, "map_verdict"] == MapVerdict.SUSPICIOUS).sum()),
        false_confirmed=seen,
        false_hidden=len(accused) - seen,
    )


def _planted_labels(spec: Planting, ranking: Ranking) -> dict[str, int]:
    """Label of each planted class that the ranking holds."""
    labels = dict(zip(ranking.table["class_name"], ranking.table["label"], strict=True))
    return {name: int(labels[name]) for name, _ in spec.artefacts if name in labels}


def _orders(ranking: Ranking, leave_out: set[int]) -> dict[str, list[int]]:
    """The classes in each order whose figures are compared, most suspicious first."""
    table = ranking.table.set_index("label")
    orders = {
        "adjusted": _by_maps(table).index.tolist(),
        Verdict.CONFIRMED.value: table.index.tolist(),
        "ratio": table.sort_values(["ratio_rank"], kind="stable").index.tolist(),
        "small_box": table.sort_values(["small_box_rank"], kind="stable").index.tolist(),
    }
    return {name: [k for k in order if k not in leave_out] for name, order in orders.items()}


def _by_maps(table: pd.DataFrame) -> pd.DataFrame:
    """The classes as their heat maps alone order them."""
    order = table["map_verdict"].map(list(MapVerdict).index)
    return table.assign(order=order).sort_values(["order", "adjusted_lift"], kind="stable")


def _cells(spec: Planting, ranking: Ranking, used: Mapping[str, float]) -> tuple[PlantedCell, ...]:
    """Per planted mark: what it is, whether the network uses it, and what was said about its class."""
    table = ranking.table.set_index("label")
    place = {int(k): i for i, k in enumerate(table.index, start=1)}
    label_of = _planted_labels(spec, ranking)
    return tuple(
        PlantedCell(
            **asdict(artefact),
            class_name=name,
            visible=artefact.visible,
            added=used[name],
            used=used[name] >= USED,
            rank=place[label_of[name]],
            verdict=MapVerdict(str(table.loc[label_of[name], "map_verdict"])),
            test=_tested(table.loc[label_of[name], "tested"]),
        )
        for name, artefact in spec.artefacts
        if name in label_of
    )


def _tested(word: Any) -> Tested | None:
    return Tested(word) if isinstance(word, str) else None
