"""What the network wants to see of the confirmed classes of a run: drawn once, kept in the run.

Activation maximisation (:mod:`explainers.methods.activation_maximization`) with its usual priors. It needs no
image: the pictures are of the model alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from explainers.methods.activation_maximization import ActivationMaximization
from pipeline import schema
from pipeline.inputs.models import LoadedModel
from pipeline.measure.transfer.stage import window_png
from pipeline.run.documents import VisualizedClass, VisualizedDocument
from pipeline.run.folder import VISUALIZED_TABLE
from pipeline.run.store import Store

STEPS: Final = 256
SEED: Final = 0
PICTURES: Final = 3  # of each class, from different noise


def visualize_classes(run: Store, labels: Sequence[int], load: Callable[[], LoadedModel]) -> list[int]:
    """Draw those of the classes that are not in the run yet; returns which. ``load``: called if any are.

    Raises:
        ExplainError: the network has not one input of pictures of a fixed size.
    """
    stored, before = VisualizedDocument.current(run), run.read_side_table(VISUALIZED_TABLE)
    same = stored is not None and (stored.steps, stored.seed, stored.pictures) == (STEPS, SEED, PICTURES)
    kept = list(stored.classes) if stored is not None and before is not None and same else []
    done = {c.label for c in kept}
    new = [label for label in labels if label not in done]
    if not new:
        return []
    # the table is written first: one whose document was not written any more has rows of further classes
    rows = [row for row in before.to_pylist() if row["label"] in done] if before is not None and done else []
    model, names = load(), run.manifest["dataset"]["class_names"]
    for label in new:
        pictures, drawn = _drawn(model, label, str(names[label]))
        kept.append(drawn)
        rows += [{"label": label, "place": k, "picture": png} for k, png in enumerate(pictures)]
    run.write_side_table(VISUALIZED_TABLE, pa.Table.from_pylist(rows, schema.VISUALIZED))
    classes = tuple(sorted(kept, key=lambda c: c.label))
    VisualizedDocument(steps=STEPS, seed=SEED, pictures=PICTURES, classes=classes).write(run)
    return new


def _drawn(model: LoadedModel, label: int, name: str) -> tuple[list[bytes], VisualizedClass]:
    """PNG of each picture, and what the class's logit says to them."""
    low, high = np.sort([model.card.low, model.card.high], axis=0).astype(float)
    method = ActivationMaximization(tuple(low), tuple(high), steps=STEPS, seed=SEED)
    made = method.of_class(model.model, label, PICTURES)
    pictures = [window_png(picture) for picture in model.card.pictures(made.pictures)]
    before, after = (float(made.activation[k].mean()) for k in (0, -1))
    return pictures, VisualizedClass(label, name, before, after)
