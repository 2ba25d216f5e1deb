"""Runs whose images were edited, without a network: the answers that one of known habits would give."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.run.edited_parts import EditedParts
from pipeline.run.store import Store
from pipeline.schema import INTERVENTIONS

# what editing shows of a class -> (images, probability of the class after each edit)
HABITS: Mapping[str, tuple[int, Mapping[str, float]]] = {
    "depends": (16, {"same": 0.8, "other": 0.1, "same_object": 0.95, "other_object": 0.4, "same_wide": 0.75}),
    "independent": (16, {"same": 0.1, "other": 0.1, "same_object": 0.9, "other_object": 0.9}),
    "rim": (16, {"same": 0.8, "other": 0.1, "same_object": 0.9, "other_object": 0.9, "same_wide": 0.1}),
    "undecided": (4, {"same": 0.4, "other": 0.1, "same_object": 0.9, "other_object": 0.8}),
}
DEFAULT = {"full": 0.9, "same_wide": 0.1, "other_wide": 0.1}
NOISE = 0.02


def write_edits(folder: Path, showed: Mapping[int, str]) -> None:
    """Give the run a table of interventions by which each class of ``showed`` (label -> what it is) is judged
    so; what was there before is gone."""
    run, rng = Store(folder), np.random.default_rng(0)
    rows = []
    for label, habit in showed.items():
        n, means = HABITS[habit]
        for image in range(n):
            for edit, mean in (DEFAULT | dict(means)).items():
                p = float(np.clip(mean + NOISE * rng.standard_normal(), 0.001, 0.999))
                rows.append(
                    {
                        "example_id": f"{label}-{image}",
                        "label": label,
                        "edit": edit if edit == "full" else f"{edit}:0",
                        "donor": None,
                        "probability": p,
                        "logit": float(np.log(p / (1 - p))),
                        "predicted": label if p > 0.5 else label + 1,
                        "confidence": max(p, 1 - p),
                    }
                )
    parts = EditedParts(run)
    parts.drop_others((), "")
    parts.write("all", pa.Table.from_pylist(rows, schema=INTERVENTIONS), {"passes": str(len(rows))})
