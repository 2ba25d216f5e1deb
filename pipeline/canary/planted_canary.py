"""The canary on drawn pictures: marks planted in generated data, a small network trained on them.

Several marks are planted in one dataset, each on a class of its own, so that one trained network tests
several cells of the grid kind x size x probability x place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.canary.grid import Grid, deal_marks
from pipeline.canary.trials import (
    audit_and_edit,
    kept_or_made,
    run_each,
    trial_config,
    trial_result,
)
from pipeline.config import Config
from pipeline.config_sections import DatasetConfig
from pipeline.inputs.datasets.drawing import SHAPES
from pipeline.inputs.datasets.planted import PlantedDataset, PlantedSpec, draw_example, prepare_planted
from pipeline.inputs.models import LoadedModel
from pipeline.inputs.planted_model import planted_model
from pipeline.measure.benches import bench_for
from pipeline.measure.evaluate import Evaluator
from pipeline.measure.rows import probabilities
from pipeline.run.documents import TrialDocument
from pipeline.run.store import Store

MARKS_PER_NETWORK = 4  # planted classes: enough others stay to compare with
PAIRS = 20  # paired images that tell whether a network uses a mark


def plan_networks(grid: Grid, networks: int, seed: int) -> list[PlantedSpec]:
    """One specification per network: a clean one, then ``MARKS_PER_NETWORK`` marks each, seeded."""
    dealt = deal_marks(grid, tuple(SHAPES), MARKS_PER_NETWORK, networks, seed)
    return [replace(PlantedSpec(), artefacts=artefacts, seed=seed + n) for n, artefacts in enumerate(dealt)]


def run_planted_trials(
    specs: Iterable[PlantedSpec], root: Path, method: str, on_trial: Callable[[int, TrialDocument], None]
) -> list[TrialDocument]:
    """One result per specification. Data, networks and runs stay below ``root``; finished trials are read."""

    def trial_of(spec: PlantedSpec) -> TrialDocument:
        folder = prepare_planted(spec, root)
        source = {"source": "planted", "path": str(folder)}
        dataset = PlantedDataset(DatasetConfig.model_validate(source), folder)
        config = trial_config(source, planted_model(dataset, spec.seed), method)
        run = Store(folder / f"run-{config.run_id}")
        return kept_or_made(run, lambda: _trial(spec, config, run))

    return run_each(specs, trial_of, on_trial)


def _trial(spec: PlantedSpec, config: Config, run: Store) -> TrialDocument:
    ranking = audit_and_edit(config, run, spec)
    return trial_result(spec, ranking, usage(spec, bench_for(config).model))


def usage(spec: PlantedSpec, model: LoadedModel, batch_size: int = 16) -> dict[str, float]:
    """Per planted class: mean probability of the class that its mark adds, over pairs of images."""
    evaluator = Evaluator(model.model, batch_size)
    clean = replace(spec, artefacts=())
    added = {}
    for name, artefact in spec.artefacts:
        label = spec.classes.index(name)
        always = replace(spec, artefacts=((name, replace(artefact, probability=1.0)),))
        p = []
        for drawn_by in (always, clean):
            pictures = [draw_example(drawn_by, "validation", label, i)[0] for i in range(PAIRS)]
            logits = evaluator.logits(model.card.prepare(np.stack(pictures)))
            p.append(probabilities(logits, model.card.output)[:, label])
        added[name] = float(np.mean(p[0] - p[1]))
    return added
