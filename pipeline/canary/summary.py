"""What all trials of a canary say together: figures, false alarms, and one line for a report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.canary.detection import CLASS_ORDERS, mean_figures
from pipeline.run.documents import CanaryDocument, FalseAlarms, PlantedCell, TrialDocument
from pipeline.run.folder import RunFolder


def summarise_trials(trials: Sequence[TrialDocument], about: str) -> CanaryDocument:
    """The power of the set-up from all trials: figures, cells, and one line for a report."""
    planted = [t for t in trials if t.cells]
    cells = tuple(c for t in planted for c in t.cells)
    return CanaryDocument(
        about=about,
        networks=len(trials),
        accuracy=float(np.mean([t.accuracy for t in trials])),
        figures={name: mean_figures([t.figures[name] for t in planted]) for name in CLASS_ORDERS},
        cells=cells,
        false_alarms=FalseAlarms(
            classes=sum(t.classes_clean for t in trials),
            suspicious=sum(t.false_suspicious for t in trials),
            confirmed=sum(t.false_confirmed for t in trials),
            hidden=sum(t.false_hidden for t in trials),
        ),
        line=summary_line(cells, about),
    )


def summary_line(cells: Sequence[PlantedCell], about: str) -> str:
    """One sentence on what would have been missed; sizes are shares of the picture's side."""
    beside = [c for c in cells if c.visible and not c.inside and c.used]
    if not beside:
        return f"Canary ({about}): no network used a planted mark, so nothing can be said about misses."
    found = [c for c in beside if c.found]
    missed = [c.size for c in beside if not c.found]
    safe = sorted({c.size for c in found if c.size > max(missed, default=0.0)})
    line = (
        f"Canary ({about}): {len(found)} of {len(beside)} planted marks beside the object that a network "
        "used were found"
    )
    side = "of the picture's side"
    if not safe:
        line += f"; of the largest, {max(c.size for c in beside):.0%} {side}, some were missed"
    elif safe[0] > min(c.size for c in beside):
        line += f"; this audit would have missed marks smaller than {safe[0]:.0%} {side}"
    else:
        line += f", down to {safe[0]:.0%} {side}"
    others = [c for c in cells if (c.inside or not c.visible) and c.used]
    if others:
        count = sum(c.found for c in others)
        line += f". Marks on the object or invisible ones: {count} of {len(others)} found"
    return line + "."


def attach(run: RunFolder, canary: CanaryDocument) -> None:
    """Put the canary's summary into another run, whose report then shows its line."""
    if not run.exists:
        run.manifest  # noqa: B018 - raises the error that says what is wrong with the folder
    canary.write(run)
