"""Run folders as a history sees them: the ranking of each, and when it began."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from pipeline.errors import InputError
from pipeline.verdicts import Verdict
from reports.gate.gated_run import GatedRun
from reports.history.course import RunSaid

ORDERS: Final = ("dates", "given")


def read_runs(paths: Sequence[str], order: str = "dates") -> tuple[RunSaid, ...]:
    """The runs, by the start of their first session or as they were given.

    Raises:
        InputError: a folder is no run, or given twice; runs whose order the dates do not tell.
    """
    if order not in ORDERS:
        raise InputError(f"history: order {order!r} is not known; valid: {', '.join(ORDERS)}")
    resolved = Counter(path if "://" in path else str(Path(path).resolve()) for path in paths)
    if twice := next((path for path, n in resolved.items() if n > 1), None):
        raise InputError(f"{twice}: given twice; give every run once")
    gated = [GatedRun(path) for path in paths]
    keyed_by_id = all(run.manifest["dataset"].get("class_ids") for run in gated)
    runs = [_read(run, keyed_by_id) for run in gated]
    return tuple(runs if order == "given" else _by_date(runs))


def _read(run: GatedRun, by_id: bool) -> RunSaid:
    names = run.class_ids if by_id else run.class_names
    keys = _unique(names)
    dataset = run.manifest["dataset"]
    classes = {keys[row["label"]]: _checked(row, run.path) for row in run.classes}
    return RunSaid(
        path=run.path,
        started=min((session["started"] for session in run.manifest["sessions"]), default=""),
        dataset=f"{dataset['name']} {dataset['split']}, {dataset['n_examples']} images",
        method=run.ranking.method,
        classes=classes,
        class_keys=keys,
        accuracy=run.summary.get("accuracy"),
        n_images=int(run.summary["n_images"]),
    )


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    """Names of which none is there twice: the second "crane" is "crane (2)"."""
    seen: Counter[str] = Counter()
    keys = []
    for name in names:
        seen[name] += 1
        keys.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(keys)


def _checked(row: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    if row["verdict"] not in list(Verdict):
        raise InputError(
            f"{where}: the ranking says {row['verdict']!r} of {row['class_name']}; valid: "
            f"{', '.join(Verdict)}; make it again with `hansaudit rank {where}`"
        )
    return row


def _by_date(runs: Sequence[RunSaid]) -> list[RunSaid]:
    """Earliest first. Raises :class:`InputError` for runs without a date, and for two of the same."""
    dated = sorted(((_date(run), run) for run in runs), key=lambda pair: pair[0])
    for (date, run), (next_date, other) in pairwise(dated):
        if date == next_date:
            raise InputError(
                f"{run.path} and {other.path} began at the same time ({run.started}), so that their "
                "dates tell no order; is one a copy of the other? Leave one out, or use --order given"
            )
    return [run for _, run in dated]


def _date(run: RunSaid) -> datetime:
    try:
        return datetime.fromisoformat(run.started).astimezone()
    except ValueError:
        said = f"began at {run.started!r}" if run.started else "has no session"
        raise InputError(f"{run.path}: {said}, which is no date; use --order given") from None
