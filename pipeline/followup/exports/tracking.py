"""A run in MLflow: its figures as metrics, its settings as parameters, report and ranking as artifacts."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError, reason
from pipeline.followup.exports.stored import method_of
from pipeline.run.documents import RankingDocument
from pipeline.run.folder import RANKING, RANKING_TABLE, REPORT
from pipeline.run.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "hansaudit"
OF_RUN = "hansaudit.run_id"


def export(run: Store, out: str) -> str:
    """Log ``run`` to the tracking store ``out`` (``sqlite:///mlflow.db``, ``http://...``).

    The same run twice is one run of MLflow, brought up to date.

    Raises :class:`InputError`: MLflow is not installed, the store does not answer, or nothing is ranked.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise InputError("--to mlflow: MLflow is not installed; pip install 'hansaudit[mlflow]'") from None
    ranking = RankingDocument.current(run)
    if ranking is None:
        raise InputError(f"{run.path}: has no ranking of what it holds; run `hansaudit rank {run.path}`")
    try:
        client = MlflowClient(tracking_uri=out)
        logged = _run_of(client, run)
        _log(client, logged, run, ranking)
    except (MlflowException, OSError) as error:
        raise InputError(
            f"--out {out}: MLflow cannot log there: {reason(error)}; give a tracking store such as "
            "sqlite:///mlflow.db or the address of a server"
        ) from None
    return f"mlflow ui --backend-store-uri {out}   (experiment {EXPERIMENT}, run {logged})"


def _run_of(client: MlflowClient, run: Store) -> str:
    """Id of MLflow's run for ``run``: the one that was logged before, else a new one."""
    known = client.get_experiment_by_name(EXPERIMENT)
    experiment = known.experiment_id if known else client.create_experiment(EXPERIMENT)
    run_id = run.manifest["run_id"]
    before = client.search_runs([experiment], f"tags.`{OF_RUN}` = '{run_id}'", max_results=1)
    if before:
        return str(before[0].info.run_id)
    name = f"{run.manifest['model']['name']} on {run.manifest['dataset']['name']}"
    return str(client.create_run(experiment, run_name=name, tags={OF_RUN: run_id}).info.run_id)


def _log(client: MlflowClient, logged: str, run: Store, ranking: RankingDocument) -> None:
    for name, value in _metrics(ranking).items():
        client.log_metric(logged, name, value)
    for name, text in _settings(run).items():
        client.set_tag(logged, f"hansaudit.{name}", text)
    with tempfile.TemporaryDirectory() as folder:
        for name in (REPORT, RANKING, RANKING_TABLE):
            raw = run.files.get(name)
            if raw is not None:
                (Path(folder) / name).write_bytes(raw)
                client.log_artifact(logged, str(Path(folder) / name))
    client.set_terminated(logged)


def _metrics(ranking: RankingDocument) -> dict[str, float]:
    """``n_confirmed`` and the like are called as the gate calls them."""
    summary = ranking.summary
    counts = {f"n_{verdict}": float(n) for verdict, n in summary["verdicts"].items()}
    gap = summary.get("background_gap")
    named = {
        "n_classes": summary["n_classes"],
        "n_images": summary["n_images"],
        "accuracy": summary["accuracy"],
        "background_gap": gap["mean"] if gap else None,
    }
    return counts | {name: float(value) for name, value in named.items() if value is not None}


def _settings(run: Store) -> dict[str, Any]:
    manifest = run.manifest
    return {
        "dataset": manifest["dataset"]["name"],
        "split": manifest["dataset"]["split"],
        "model": manifest["model"]["name"],
        "method": method_of(run),
        "version": manifest["hansaudit"],
        "folder": run.path,
    }
