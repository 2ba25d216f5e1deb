"""Runs whose classes were tested by edited images, as far as a gate sees them: rows of a ranking."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.run.documents import RankingDocument
from pipeline.run.folder import RunFolder
from pipeline.run.hashes import hashed
from pipeline.verdicts import MapVerdict, Tested, verdict
from reports.gate.gated_run import GatedRun

# what editing showed -> effect with its interval
EFFECTS: Mapping[str, tuple[float, float, float]] = {
    "depends": (0.45, 0.3, 0.6),
    "independent": (0.0, -0.05, 0.05),
    "undecided": (0.1, -0.1, 0.3),
    "rim": (0.3, 0.15, 0.45),
}


def edited(row: Mapping[str, Any], tested: str | None, n: int = 20) -> dict[str, Any]:
    """The row of a class whose images were edited with this outcome; None: they were not."""
    effect, low, high = EFFECTS[tested] if tested else (None, None, None)
    said = verdict(MapVerdict(row["map_verdict"]), Tested(tested) if tested else None)
    return dict(row) | {
        "tested": tested,
        "n_edited": n if tested else None,
        "effect": effect,
        "effect_shrunk": effect,
        "effect_low": low,
        "effect_high": high,
        "verdict": said.value,
    }


def row(label: int, tested: str | None = "independent", maps: str = "unremarkable", n: int = 20) -> dict:
    """A class of its own making."""
    mean = {"suspicious": -1.0}.get(maps, 0.0)
    basis = {
        "label": label,
        "rank": label + 1,
        "class_id": f"s{label:08d}",
        "class_name": f"class {label:03d}",
        "n": n,
        "n_images": n,
        "map_verdict": maps,
        "adjusted_lift": mean,
        "low": mean - 0.3,
        "high": mean + 0.3,
    }
    return edited(basis, tested, n)


def gated(rows: Sequence[Mapping[str, Any]], n_classes: int | None = None) -> GatedRun:
    """A run that consists of these rows, of a dataset of so many classes."""
    n = n_classes if n_classes is not None else max(r["label"] for r in rows) + 1
    run = GatedRun("runs/x")
    names, ids = [f"class {k:03d}" for k in range(n)], [f"s{k:08d}" for k in range(n)]
    run.__dict__["manifest"] = {"dataset": {"class_names": names, "class_ids": ids}}
    run.__dict__["classes"] = list(rows)
    return run


def edit_run(path: Path, tested: Mapping[int, str | None], otherwise: str | None = "independent") -> None:
    """Write into the ranking of a run what editing showed of its classes."""
    document = RankingDocument.read(RunFolder(path))
    assert document is not None
    content = json.loads((path / document.FILE).read_text(encoding="utf-8"))
    content.pop("sha256", None)
    content["classes"] = [edited(r, tested.get(r["label"], otherwise)) for r in content["classes"]]
    (path / document.FILE).write_text(json.dumps(hashed(content)), encoding="utf-8")
