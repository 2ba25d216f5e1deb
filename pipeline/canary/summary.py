"""What all trials of a canary say together: figures, false alarms, and one line for a report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.canary.detection import CLASS_ORDERS, mean_figures
from pipeline.run.folder import CANARY
from pipeline.run.store import Store
from pipeline.verdicts import DEPENDENT, RankingVerdict, is_found


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
    run.files.put(CANARY, json.dumps(summary, indent=1, allow_nan=False).encode())
