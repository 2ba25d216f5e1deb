"""From a network and what is asked of it to pictures of activation maximisation: what ``visualize`` does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows import settings, terminal
from flows.galleries import load
from pipeline.config_sections import ModelConfig
from pipeline.errors import InputError
from pipeline.run.store import Store
from pipeline.trust import Trust
from pipeline.verdicts import Verdict
from reports.gallery.tiles import Row, write_tiles

if TYPE_CHECKING:
    from explainers.methods.activation_maximization import Maximized
    from pipeline.inputs.models import LoadedModel
    from pipeline.measure.beforehand import Moved
    from pipeline.statistics.ranking import Ranking

MOST = 8  # classes of a report that are drawn: each takes seconds


@dataclass(frozen=True)
class Asked:
    """What pictures are wanted of: classes, or channels of a layer; ``pictures`` of each.

    Raises :class:`InputError` where neither is named, or both.
    """

    classes: tuple[str, ...]
    layer: str
    channels: tuple[int, ...]
    pictures: int

    def __post_init__(self) -> None:
        if bool(self.layer) != bool(self.channels):
            raise InputError("--layer and --channel belong together: name a layer and at least one channel")
        if bool(self.classes) == bool(self.layer):
            received = "both --class and --layer" if self.classes else "neither --class nor --layer"
            raise InputError(f"received {received}; valid: classes, or channels of a layer")


def visualize(config: ModelConfig, asked: Asked, prior: Mapping[str, Any], trust: Trust, out: str) -> None:
    """Write the figure ``out``, a row per class or channel; says how far each got.

    ``prior``: parameters of :class:`explainers.methods.activation_maximization.ActivationMaximization`.
    """
    from pipeline.measure.beforehand import glance_model

    glance_model(config, trust)
    model = load(config, trust)
    rows = []
    for name, made in _maximized(model, asked, prior):
        before, after = made.activation[0].mean(), made.activation[-1].mean()
        terminal.print_line(f"{name}: {before:.2f} on noise, {after:.2f} on the pictures")
        rows.append(Row(name, f"{before:.1f} → {after:.1f}", model.card.pictures(made.pictures)))
    path = write_tiles(f"What {model.name} wants to see", rows, Path(out))
    terminal.print_line(f"written: {path.resolve()}")


def _maximized(model: LoadedModel, asked: Asked, prior: Mapping[str, Any]) -> Iterator[tuple[str, Maximized]]:
    from explainers.methods.activation_maximization import ActivationMaximization
    from pipeline.measure.explain import class_name, find_output

    card = model.card
    low, high = (tuple(float(v) for v in np.sort([card.low, card.high], axis=0)[k]) for k in (0, 1))
    method = ActivationMaximization(low, high, **prior)
    for text in asked.classes:
        target = find_output(card, text, model.model.output_shape[-1])
        with terminal.console.status(f"drawing {text}"):
            made = method.of_class(model.model, target, asked.pictures)
        yield class_name(card, target), made
    for channel in asked.channels:
        with terminal.console.status(f"drawing channel {channel} of {asked.layer}"):
            made = method.of_channel(model.model, asked.layer, channel, asked.pictures)
        yield f"{asked.layer}, channel {channel}", made


def visualize_confirmed(run: str, ranking: Ranking, moved: Moved, trust: Trust) -> tuple[int, int]:
    """Draw the confirmed classes of a run, the first by rank, as far as they are not drawn yet.

    Returns how many classes are confirmed, and how many were drawn now; where none has to be, the
    model is not opened. Raises :class:`InputError` where the model is not there.
    """
    from pipeline.measure.beforehand import glance_run

    table = ranking.table
    labels = [int(label) for label in table.loc[table["verdict"] == Verdict.CONFIRMED, "label"]]
    if not labels:
        return 0, 0
    store = Store(run)

    def opened() -> LoadedModel:
        from pipeline.measure.bench import reopen

        return reopen(store, trust, glance_run(store, trust, moved)).model

    settings.load_tensorflow()
    from pipeline.followup.visualize import visualize_classes

    with terminal.console.status("drawing what the network wants"):
        return len(labels), len(visualize_classes(store, labels[:MOST], opened))
