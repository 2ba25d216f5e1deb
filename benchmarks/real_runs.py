"""Runs of the benchmarks on real photographs: whole ones as a user starts them, and maps alone."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# sections of a run that ranks, edits and pastes, and nothing else
NO_EXTRAS = {"perturbation": False, "sanity": {"images": 0}, "strategies": {"classes": 0}}
COMMAND = [sys.executable, "-c", "from flows.cli import main; main()"]


@dataclass(frozen=True)
class Cost:
    """Seconds of a run's process and its children: by the clock, and of the processors."""

    wall: float
    cpu: float


def hansaudit(*words: str) -> Cost:
    """Run the command line in a process of its own. Raises :class:`SystemExit` with its last words."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"hansaudit {' '.join(words)}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu)


def whole_run(
    out: Path,
    dataset: Mapping[str, Any],
    model: Path,
    sections: Mapping[str, Any] | None = None,
    methods: Sequence[str] = (),
) -> Cost | None:
    """`hansaudit run` into ``out``; None where it is finished already (its cost is not measured again).

    ``dataset``: that section of the configuration; ``sections``: others; without ``methods`` the default one.
    """
    finished = out.with_name(f"{out.name}.done")
    if finished.is_file():
        return None
    given = {"dataset": dict(dataset), **(sections or {})}
    lines = [f"{name} = {json.dumps(value)}" for name, value in given.items() if not isinstance(value, dict)]
    for name, values in given.items():
        if isinstance(values, dict):
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    out.parent.mkdir(parents=True, exist_ok=True)
    config = out.with_name(f"{out.name}.toml")
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    words = ["--config", str(config), "--model", str(model), "--out", str(out)]
    cost = hansaudit("run", *words, *(word for name in methods for word in ("--method", name)))
    shutil.copyfile(out / "ranking.csv", _ranking_of(out))  # what comes later may edit and rank again
    finished.write_text(json.dumps(cost.__dict__), encoding="utf-8")
    return cost


def ranking_table(out: Path) -> pd.DataFrame:
    """The classes of a run as :func:`whole_run` left it, in its order, by label."""
    return pd.read_csv(_ranking_of(out)).set_index("label")


def judged_again(out: Path) -> pd.DataFrame:
    """The classes of a finished run by label, in its order, as the present rules judge what it measured; a
    reference that it was compared with is forgotten."""
    from pipeline.run.reference import drop_reference
    from pipeline.run.store import Store
    from pipeline.statistics.ranking import rank

    run = Store(str(out))
    drop_reference(run)
    return rank(run).table.set_index("label")


def _ranking_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.ranking.csv")


def maps_only(
    out: Path,
    dataset: Mapping[str, Any],
    model: Path,
    methods: Sequence[str],
    trust_images: int = 0,
    target: str = "predicted",
) -> Any:
    """The audited run (a Store) with the localisation scores of several methods and nothing else.

    In this process, resumable. ``trust_images``: images of the sanity checks, 0: none; ``target``: class that
    is explained.
    """
    from pipeline.config import parse_config, parse_method
    from pipeline.measure.audit import audit_run
    from pipeline.measure.benches import bench_for
    from pipeline.run.store import Store

    config = parse_config(
        {
            "dataset": dict(dataset),
            "model": {"source": str(model)},
            "methods": [parse_method(name).model_dump() for name in methods],
            "audit": {"maps": 0, "thumbnails": False, "target": target},
            "sanity": {"images": trust_images},
            "perturbation": False,
        }
    )
    run = Store(str(out))
    audit_run(run, bench_for(config))
    return run


def map_orders(run: Any, method: str) -> dict[str, pd.Series]:
    """Class -> score of the orders that need no edit, the smallest first; by the network's outputs.

    ``adjusted``: adjusted lift, not shrunk; ``ratio``: the chapter's; ``small_box``, ``low_accuracy``.
    """
    from pipeline.config_sections import RankingConfig
    from pipeline.statistics.ranking import rank

    table = rank(run, RankingConfig(method=method)).table.set_index("label")
    columns = {
        "adjusted": "adjusted_lift_raw",
        "ratio": "ratio",
        "small_box": "box_area",
        "low_accuracy": "accuracy",
    }
    return {name: table[column].astype(float) for name, column in columns.items()}


def figures(scores: pd.Series, wanted: Sequence[int]) -> dict[str, float | None]:
    """Average precision, AUC and recall of an order, the smallest score first, undefined ones last."""
    from pipeline.canary.detection import detection

    order = scores.sort_values(kind="stable", na_position="last").index.tolist()
    return detection([int(k) for k in order], set(wanted) & set(order))


def auc(scores: np.ndarray, truth: np.ndarray) -> float:
    """Probability that a true one scores higher than another, ties a half; nan where all are alike.

    Only finite scores count.
    """
    good = np.isfinite(scores)
    positive, negative = scores[good & truth], scores[good & ~truth]
    if not len(positive) or not len(negative):
        return float("nan")
    ranks = pd.Series(np.concatenate([positive, negative])).rank().to_numpy()[: len(positive)]
    return float((ranks.sum() - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative)))


def share(hits: int, n: int) -> str:
    """``hits`` of ``n`` in words, with Wilson's 95 % interval."""
    from pipeline.measure.agreement import wilson

    if n == 0:
        return "0 of 0"
    low, high = wilson(hits, n)
    return f"{hits} of {n}: {hits / n:.0%} [{low:.0%}, {high:.0%}]"


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])
