"""The canary's trials: plant, train, audit, confirm, one network after the other; finished ones are kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.settings import load_tensorflow
from flows.work import bench_for, plan, provenance_of
from pipeline.config import Config, parse_config
from pipeline.store import Store

if TYPE_CHECKING:
    from pipeline.datasets import Dataset
    from pipeline.datasets.planted import PlantedSpec
    from pipeline.models import LoadedModel
    from pipeline.photo_canary import PhotoSpec

DONE = "trial.json"


@dataclass(frozen=True)
class PhotoSource:
    """Where the photographs and the frozen network are: a prepared ILSVRC dataset, a model, its card."""

    dataset: str
    model: str
    card: str = ""


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
    """Plant, train, audit, rank, confirm; see :func:`pipeline.canary.trial_result`."""
    load_tensorflow()
    from pipeline.canary import trial_result, usage
    from pipeline.config import DatasetConfig
    from pipeline.confirm import Plan, confirm
    from pipeline.datasets.planted import PlantedDataset, prepare_planted
    from pipeline.planted_model import planted_model
    from pipeline.ranking import rank

    folder = prepare_planted(spec, root)
    dataset = PlantedDataset(DatasetConfig(source="planted", path=str(folder)), folder)
    network = planted_model(dataset, spec.seed)
    config = parse_config(
        {
            "dataset": {"source": "planted", "path": str(folder)},
            "model": {"source": str(network)},
            "methods": [{"name": method}],
            "sanity": {"images": 0},
        }
    )
    run = Store(folder / f"run-{config.run_id}")
    kept = run.files.get(DONE)
    if kept:
        return json.loads(kept)
    audit_quietly(config, run)
    ranking = rank(run, config.ranking)
    confirmed = confirm(run, Plan(top=len(spec.classes), controls=0, seed=spec.seed))
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
    from pipeline.config import DatasetConfig, ModelConfig
    from pipeline.datasets import open_dataset
    from pipeline.models import load_model

    dataset = open_dataset(DatasetConfig(source="tfds", path=source.dataset))
    base = load_model(ModelConfig(source=source.model, card=source.card))
    results = []
    for n, spec in enumerate(specs):
        results.append(_photo_trial(spec, (dataset, base), Path(root), method))
        on_trial(n, results[-1])
    return results


def _photo_trial(spec: PhotoSpec, of: tuple[Dataset, LoadedModel], root: Path, method: str) -> dict[str, Any]:
    from pipeline import photo_canary as photo
    from pipeline.canary import trial_result
    from pipeline.confirm import Plan, confirm
    from pipeline.ranking import rank

    dataset, base = of
    folder = root / photo.photo_key(spec, dataset, base)
    run = Store(folder / "run")
    kept = run.files.get(f"{method}-{DONE}")
    if kept:
        return json.loads(kept)
    photos = photo.read_photos(dataset, base.card, spec.seed)
    marked, carries = photo.mark_photos(photos, spec)
    train, audit = photo.halves(photos.labels, spec.seed)
    head = photo.train_head(base, marked[train], photos.labels[train], spec.classes)
    photo.write_photos(photos.take(audit), marked[audit], folder / "audit")
    head.model.save(folder / "head.keras")
    head.card.save(folder / "head.toml")
    config = parse_config(
        {
            "dataset": {
                "source": "folder",
                "path": str(folder / "audit"),
                "annotations": str(folder / "audit" / "boxes.csv"),
            },
            "model": {"source": str(folder / "head.keras")},
            "methods": [{"name": method}],
            "sanity": {"images": 0},
        }
    )
    audit_quietly(config, run)
    ranking = rank(run, config.ranking)
    confirmed = confirm(run, Plan(top=len(spec.classes), controls=0, seed=spec.seed))
    used = photo.photo_usage(spec, head, photos.take(audit), marked[audit], carries[audit])
    result = trial_result(spec, ranking, confirmed, used)
    run.files.put(f"{method}-{DONE}", json.dumps(result, indent=1, allow_nan=False).encode())
    return result


def audit_quietly(config: Config, run: Store) -> None:
    """What is missing of a run, in this process, without Prefect: for many small runs in a row."""
    from pipeline.audit import audit_shard

    bench = bench_for(config)
    run.open_or_create(config, provenance_of(bench, config.execution.shard_size))
    missing = set(run.missing())
    for shard in plan(bench, config.execution.shard_size):
        if shard.key in missing:
            run.write_shard(shard.key, audit_shard(shard, bench))
