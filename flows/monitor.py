"""Watching a network learn: a Keras callback that explains the same images every few epochs.

    from flows.monitor import Fixed, Monitor
    model.fit(x, y, epochs=20, callbacks=[Monitor(Fixed.of(batch), card, ["lrp.preset_a"], "watch")])

Folder: ``monitor.png`` and ``monitor.html``, a row per image and method and a column per epoch, rewritten
every time; ``metrics.csv``, a line per epoch, image, method and metric, and ``course.html``, these as small
charts per class over the epochs; ``tensorboard/`` when asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.config import parse_method
from pipeline.config_sections import MethodConfig
from pipeline.csv_text import csv_line
from pipeline.errors import InputError
from pipeline.inputs.batches import Batch
from pipeline.inputs.card import ModelCard
from pipeline.inputs.models import LoadedModel
from pipeline.measure.explain import class_name
from pipeline.measure.fitting import check, fit_methods
from pipeline.measure.metrics import get_metric, measure
from pipeline.schema import STATUS_NO_BOX, STATUS_OK
from reports.gallery.model import Cell, Gallery, Line, Panel, caption, draw
from reports.gallery.page import write_gallery
from reports.gallery.views import all_views
from reports.history.watched import Measured, watched_page

METRICS = ("ratio", "mass", "lift", "pointing")
_SHARES = ("mass", "pointing")  # of 1
_FIELDS = ("epoch", "image", "label", "method", "metric", "value", "reason")
_COLUMNS = 16  # epochs in the strip
_MOST = 64  # images; more make no strip that anyone looks at


@dataclass(frozen=True)
class Fixed:
    """The images that are watched: ``inputs`` b h w c, ``pictures`` b h w 3 uint8, ``labels`` b, ``masks``
    b h w bool (the boxes; all False where there are none), ``names`` b."""

    inputs: np.ndarray
    pictures: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        sizes = [len(v) for v in (self.inputs, self.pictures, self.labels, self.masks, self.names)]
        if len(set(sizes)) != 1 or not 1 <= sizes[0] <= _MOST:
            raise InputError(
                f"monitor: received {sizes} inputs, pictures, labels, masks, names; valid: as many of "
                f"each, 1 to {_MOST}"
            )

    @classmethod
    def of(cls, batch: Batch, most: int = 8) -> Fixed:
        """The first usable images of a batch of the pipeline."""
        rows = np.flatnonzero(batch.valid)[:most]
        names = tuple(record.file_name for r in rows if (record := batch.records[r]) is not None)
        return cls(batch.inputs[rows], batch.pictures[rows], batch.labels[rows], batch.masks[rows], names)


class Monitor(keras.callbacks.Callback):
    """Explains the fixed images' labels every ``every`` epochs, after the epoch; see the module.

    ``methods``: names, with parameters as on the command line; ``references``: inputs b h w c for methods
    that estimate from data.

    Raises:
        ExplainError, ConfigError, InputError: a method cannot be used, or the images do not fit together.
    """

    def __init__(
        self,
        images: Fixed,
        card: ModelCard,
        methods: Sequence[str],
        folder: str | Path,
        every: int = 1,
        references: np.ndarray | None = None,
        tensorboard: bool = False,
    ) -> None:
        super().__init__()
        if every < 1:
            raise InputError(f"monitor: every={every}; valid: 1 or more epochs")
        self.images, self.card, self.folder, self.every = images, card, Path(folder), every
        self.methods: tuple[MethodConfig, ...] = tuple(parse_method(text) for text in methods)
        for method in self.methods:
            check(method)
        for name in METRICS:
            get_metric(name)
        self.references, self.tensorboard = references, tensorboard
        self._maps: dict[int, list[np.ndarray]] = {}
        self._notes: dict[int, list[tuple[str | None, ...]]] = {}
        self._course: list[Measured] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """A new folder of results; an old strip is replaced."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._maps.clear()
        self._notes.clear()
        self._course.clear()
        (self.folder / "metrics.csv").write_text(csv_line(_FIELDS), encoding="utf-8", newline="")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Explain, measure, draw."""
        if (epoch + 1) % self.every:
            return
        from explainers import analyze_many

        references = self.references
        data = None if references is None else (lambda: [references])
        model = LoadedModel(self.model, self.card, "", self.model.name)
        fitted = fit_methods(self.methods, model, data)
        explained = analyze_many(list(fitted.values()), self.images.inputs, self.images.labels)
        self._maps[epoch + 1] = [e.relevance for e in explained]
        self._notes[epoch + 1] = [e.reason for e in explained]
        self._thin()
        rows = list(self._measured(epoch + 1))
        with open(self.folder / "metrics.csv", "a", newline="", encoding="utf-8") as file:
            file.writelines(csv_line(row, digits=17) for row in rows)
        self._course += [
            Measured(number, image, class_name(self.card, label), method, metric, value)
            for number, image, label, method, metric, value, _ in rows
        ]
        gallery = self.gallery()
        write_gallery(gallery, self.folder, "monitor")
        page = watched_page(gallery.title, self._course, _SHARES)
        (self.folder / "course.html").write_text(page, encoding="utf-8")
        if self.tensorboard:
            _write_events(self.folder / "tensorboard", epoch + 1, rows, draw(gallery))

    def _thin(self) -> None:
        """Every other epoch of a long training leaves the strip, not the first and the last.

        Memory is bounded and the strip stays legible; metrics.csv keeps all epochs.
        """
        if len(self._maps) > _COLUMNS:
            for epoch in list(self._maps)[1:-1:2]:
                del self._maps[epoch], self._notes[epoch]

    def _measured(self, epoch: int) -> Iterable[tuple[Any, ...]]:
        """Lines of metrics.csv."""
        images = self.images
        status = [STATUS_OK if mask.any() and not mask.all() else STATUS_NO_BOX for mask in images.masks]
        for method, relevance, reasons in zip(
            self.methods, self._maps[epoch], self._notes[epoch], strict=True
        ):
            measured = measure(
                relevance, images.masks, list(zip(status, reasons, strict=True)), METRICS, "abs_sum"
            )
            for i, name in enumerate(images.names):
                for j, metric in enumerate(METRICS):
                    value = measured.value[i, j]
                    yield (
                        epoch,
                        name,
                        int(images.labels[i]),
                        method.key,
                        metric,
                        float(value) if np.isfinite(value) else None,
                        measured.reason[i, j] or "",
                    )

    def gallery(self) -> Gallery:
        """The strip so far: rows = images and methods, columns = epochs."""
        lines = []
        for i, name in enumerate(self.images.names):
            for m, method in enumerate(self.methods):
                cells = tuple(
                    Cell(maps[m][i], all_views()["heatmap"], self._notes[epoch][m][i] or "")
                    for epoch, maps in self._maps.items()
                )
                left = (name, f"label: {class_name(self.card, int(self.images.labels[i]))}", method.key)
                lines.append(Line(self.images.pictures[i], left, cells))
        columns = tuple(f"epoch {epoch}" for epoch in self._maps)
        return Gallery(f"{self.model.name} while it learns", columns, tuple(lines))


def _write_events(
    folder: Path, epoch: int, rows: Sequence[tuple[Any, ...]], panels: list[list[Panel | None]]
) -> None:
    """Scalars and pictures of one epoch, as TensorBoard's event files; it need not be installed."""
    import tensorflow as tf

    about = tf.compat.v1.SummaryMetadata
    writer = tf.summary.create_file_writer(str(folder), filename_suffix=f".{os.getpid()}.{epoch}")
    with writer.as_default(step=epoch):
        for _, image, _, method, metric, value, _ in rows:
            if value is not None:
                scalar = about(plugin_data=about.PluginData(plugin_name="scalars"), data_class=1)
                tf.summary.write(f"{metric}/{method}/{image}", np.float32(value), metadata=scalar)
        for number, line in enumerate(panels):
            last = line[-1]
            if last is not None:
                picture = about(plugin_data=about.PluginData(plugin_name="images"), data_class=3)
                h, w = last.image.shape[:2]
                content = [str(w).encode(), str(h).encode(), tf.io.encode_png(last.image).numpy()]
                tf.summary.write(f"map/{number} ({caption(last)})", tf.constant(content), metadata=picture)
    writer.close()
