"""The canary's trials: plant, train, audit, confirm, one network after the other; finished ones are kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.settings import load_tensorflow
from flows.work import bench_for, plan, provenance_of
from pipeline.config import Config, parse_config
from pipeline.store import Store

if TYPE_CHECKING:
    from pipeline.datasets.planted import PlantedSpec

DONE = "trial.json"


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


def audit_quietly(config: Config, run: Store) -> None:
    """What is missing of a run, in this process, without Prefect: for many small runs in a row."""
    from pipeline.audit import audit_shard

    bench = bench_for(config)
    run.open_or_create(config, provenance_of(bench, config.execution.shard_size))
    missing = set(run.missing())
    for shard in plan(bench, config.execution.shard_size):
        if shard.key in missing:
            run.write_shard(shard.key, audit_shard(shard, bench))
