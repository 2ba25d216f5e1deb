"""The canary's trials: plant, train, audit, confirm, one network after the other; finished ones are kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.settings import load_tensorflow
from pipeline.config import Config, ConfirmConfig, DatasetConfig, ModelConfig, parse_config, parse_method
from pipeline.run.store import Store

if TYPE_CHECKING:
    from pipeline.canary.photo_canary import PhotoSpec
    from pipeline.canary.photos import Photos
    from pipeline.canary.trials import Planting
    from pipeline.followup.confirm import Confirmed
    from pipeline.inputs.datasets.planted import PlantedSpec
    from pipeline.inputs.models import LoadedModel
    from pipeline.statistics.ranking import Ranking

DONE = "trial.json"


@dataclass(frozen=True)
class PhotoSource:
    """Where photographs and frozen network are: a dataset with the ILSVRC synsets, a model, its card."""

    dataset: DatasetConfig
    model: ModelConfig


def run_trials(
    specs: Sequence[PlantedSpec], root: str, method: str, on_trial: Callable[[int, dict[str, Any]], None]
) -> list[dict[str, Any]]:
    """One result per specification. Data, networks and runs stay below ``root``; finished trials are read."""
    results = []
    for n, spec in enumerate(specs):
        results.append(run_trial(spec, Path(root), method))
        on_trial(n, results[-1])
    return results


def run_trial(spec: PlantedSpec, root: Path, method: str) -> dict[str, Any]:
    """Plant, train, audit, rank, confirm; see :func:`pipeline.canary.trials.trial_result`."""
    load_tensorflow()
    from pipeline.canary.trials import trial_result, usage
    from pipeline.inputs.datasets.planted import PlantedDataset, prepare_planted
    from pipeline.inputs.planted_model import planted_model
    from pipeline.measure.bench import bench_for

    folder = prepare_planted(spec, root)
    source = {"source": "planted", "path": str(folder)}
    dataset = PlantedDataset(DatasetConfig.model_validate(source), folder)
    config = trial_config(source, planted_model(dataset, spec.seed), method)
    run = Store(folder / f"run-{config.run_id}")
    kept = run.files.get(DONE)
    if kept:
        return json.loads(kept)
    ranking, confirmed = audit_and_confirm(config, run, spec)
    result = trial_result(spec, ranking, confirmed, usage(spec, bench_for(config).model))
    run.files.put(DONE, json.dumps(result, indent=1, allow_nan=False).encode())
    return result


def run_photo_trials(
    specs: Sequence[PhotoSpec],
    source: PhotoSource,
    root: str,
    method: str,
    on_trial: Callable[[int, dict[str, Any]], None],
) -> list[dict[str, Any]]:
    """The same on real photographs: marks pasted onto ImageNet images, a linear head on a frozen network."""
    load_tensorflow()
    from pipeline.canary.photo_canary import photo_key
    from pipeline.canary.photos import read_photos
    from pipeline.inputs.datasets import open_dataset
    from pipeline.inputs.models import load_model

    dataset = open_dataset(source.dataset)
    base = load_model(source.model)
    photos = None
    results = []
    for n, spec in enumerate(specs):
        folder = Path(root) / photo_key(spec, dataset, base)
        run = Store(folder / f"run-{method}")
        kept = run.files.get(DONE)
        if kept:
            results.append(json.loads(kept))
        else:
            photos = photos or read_photos(dataset, base.card, spec.choice)
            results.append(_photo_trial(spec, (base, method), photos, run))
        on_trial(n, results[-1])
    return results


def _photo_trial(spec: PhotoSpec, of: tuple[LoadedModel, str], photos: Photos, run: Store) -> dict[str, Any]:
    """Mark, train the head on one half, audit the other, whose files lie beside the run."""
    from pipeline.canary import photo_canary as photo
    from pipeline.canary import photos as files
    from pipeline.canary.trials import trial_result

    base, method = of
    folder = Path(run.path).parent
    shutil.rmtree(run.path, ignore_errors=True)  # an interrupted trial's: its head is trained anew
    marked, carries = photo.mark_photos(photos, spec)
    train, audit = files.halves(photos.labels, spec.seed)
    head = photo.train_head(base, marked[train], photos.labels[train], spec.classes)
    files.write_photos(photos.take(audit), marked[audit], folder / "audit")
    head.model.save(folder / "head.keras")
    head.card.save(folder / "head.toml")
    dataset = {"source": "folder", "path": str(folder / "audit")}
    dataset["annotations"] = str(folder / "audit" / files.BOXES)
    config = trial_config(dataset, folder / "head.keras", method)
    ranking, confirmed = audit_and_confirm(config, run, spec)
    used = photo.photo_usage(spec, head, photos.take(audit), marked[audit], carries[audit])
    result = trial_result(spec, ranking, confirmed, used)
    for cell in result["cells"]:
        mine = photos.labels[audit] == spec.classes.index(cell["class_name"])
        cell["carried"] = float(carries[audit][mine].mean())
    run.files.put(DONE, json.dumps(result, indent=1, allow_nan=False).encode())
    return result


def trial_config(dataset: Mapping[str, str], network: Path, method: str) -> Config:
    """The audit of one network; the sanity of methods is not what a trial asks."""
    return parse_config(
        {
            "dataset": dict(dataset),
            "model": {"source": str(network)},
            "methods": [parse_method(method).model_dump()],
            "sanity": {"images": 0},
        }
    )


def audit_and_confirm(config: Config, run: Store, spec: Planting) -> tuple[Ranking, Confirmed]:
    """Audit what is missing, rank, and intervene on every class."""
    from pipeline.followup.confirm import confirm
    from pipeline.measure.audit import audit_run
    from pipeline.measure.bench import bench_for
    from pipeline.statistics.ranking import rank

    bench = bench_for(config)
    audit_run(run, bench)
    ranking = rank(run, config.ranking)
    every_class = ConfirmConfig(top=len(spec.classes), controls=0, seed=spec.seed)
    return ranking, confirm(run, every_class, ranking, bench)
