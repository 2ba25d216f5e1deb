"""The trials of the canary on photographs: mark, train the head on one half, audit the other half."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from pipeline.canary.photo_canary import PhotoSpec, mark_photos, photo_key, photo_usage, train_head
from pipeline.canary.photos import BOXES, Photos, halves, read_photos, write_photos
from pipeline.canary.trials import (
    audit_and_edit,
    kept_or_made,
    run_each,
    trial_config,
    trial_result,
)
from pipeline.config_sections import DatasetConfig, ModelConfig
from pipeline.inputs.datasets import open_dataset
from pipeline.inputs.models import LoadedModel, load_model
from pipeline.run.documents import TrialDocument
from pipeline.run.store import Store
from pipeline.trust import NOTHING, Trust


@dataclass(frozen=True)
class PhotoSource:
    """Where photographs and frozen network are: a dataset with the ILSVRC synsets, a model, its card.

    ``trust``: what may be executed for the model.
    """

    dataset: DatasetConfig
    model: ModelConfig
    trust: Trust = NOTHING


def run_photo_trials(
    specs: Iterable[PhotoSpec],
    source: PhotoSource,
    root: Path,
    method: str,
    on_trial: Callable[[int, TrialDocument], None],
) -> list[TrialDocument]:
    """A result per specification. Photographs, heads and runs stay below ``root``; finished ones are read."""
    dataset, base = open_dataset(source.dataset), load_model(source.model, trust=source.trust)
    photos = lru_cache(1)(lambda choice: read_photos(dataset, base.card, choice))

    def trial_of(spec: PhotoSpec) -> TrialDocument:
        run = Store(root / photo_key(spec, dataset, base) / f"run-{method}")
        return kept_or_made(run, lambda: _trial(spec, base, method, photos(spec.choice), run))

    return run_each(specs, trial_of, on_trial)


def _trial(spec: PhotoSpec, base: LoadedModel, method: str, photos: Photos, run: Store) -> TrialDocument:
    """What is audited lies beside the run: pictures, boxes, head and its card."""
    folder = Path(run.path).parent
    shutil.rmtree(run.path, ignore_errors=True)  # an interrupted trial's: its head is trained anew
    marked, carries = mark_photos(photos, spec)
    train, audit = halves(photos.labels, spec.seed)
    head = train_head(base, marked[train], photos.labels[train], spec.classes)
    write_photos(photos.take(audit), marked[audit], folder / "audit")
    head.model.save(folder / "head.keras")
    head.card.save(folder / "head.toml")
    dataset = {"source": "folder", "path": str(folder / "audit")}
    dataset["annotations"] = str(folder / "audit" / BOXES)
    ranking = audit_and_edit(trial_config(dataset, folder / "head.keras", method), run, spec)
    used = photo_usage(spec, head, photos.take(audit), marked[audit], carries[audit])
    trial = trial_result(spec, ranking, used)
    label_of = {name: label for label, name in enumerate(spec.classes)}
    carried = [carries[audit][photos.labels[audit] == label_of[cell.class_name]] for cell in trial.cells]
    cells = (replace(cell, carried=float(c.mean())) for cell, c in zip(trial.cells, carried, strict=True))
    return replace(trial, cells=tuple(cells))
