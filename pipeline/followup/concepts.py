"""Relevance per concept on a finished run: which channels of a layer speak for a class, and where they look.

Achtibat et al. 2023 (arXiv:2206.03208); the maps are those of :mod:`explainers.methods.concepts`. Of the
channels with most relevance: the images in which they say most, how much of their maps lies outside the
boxes, and as evidence the intervention: the channel is replaced by its mean over images of other classes, or
by 0. A class always falls a little when something of it is taken away; what counts is whether it falls
further than other channels of about the same relevance let expect.

Writes ``concepts.parquet`` (a row per crop) and ``concepts.json`` into the run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from explainers.methods.concepts import Concepts
from pipeline import schema
from pipeline.config import parse_method
from pipeline.followup.channels import Channels, evidence
from pipeline.followup.images import Seen, others, own_images, read_images, usable_images
from pipeline.measure.bench import Bench
from pipeline.measure.fitting import fit_methods
from pipeline.measure.interventions.pictures import window_sums
from pipeline.measure.metrics import masked_sum, pool
from pipeline.measure.rows import probabilities
from pipeline.measure.transfer.gain import log_odds
from pipeline.measure.transfer.stage import window_png
from pipeline.run.documents import ClassConcepts, ConceptsDocument
from pipeline.run.folder import CONCEPTS_TABLE
from pipeline.run.store import Store

COMPARABLE = 8  # channels of about the same relevance that are replaced as well
CROP = 1 / 3  # side of a crop over that of the picture
OTHERS = 48  # images of other classes over which a channel's mean is taken


@dataclass(frozen=True)
class Asked:
    """What is looked at: ``method`` (key), ``layer`` ("": the last maps with places), of it the ``channels``
    with most relevance, on ``images`` of each class, of which ``pictures`` are shown; whether channels are
    replaced by their ``mean`` over images of other classes or by ``zero``."""

    method: str
    layer: str = ""
    channels: int = 5
    images: int = 24
    pictures: int = 6
    replace: str = "mean"


def find_concepts(run: Store, bench: Bench, labels: Sequence[int], asked: Asked) -> list[ClassConcepts]:
    """Look into the channels of some classes and write the results into the run; others' results stay.

    Raises:
        InputError: a class has no image that the ranking would count.
        ExplainError: the method is no LRP, or there is no such layer.
    """
    method = parse_method(asked.method)
    fitted = fit_methods((method,), bench.model)[method.key]
    concepts = Concepts(fitted, asked.layer)
    examples = usable_images(run)
    looked: list[ClassConcepts] = []
    rows: list[dict[str, object]] = []
    for label in labels:
        own = read_images(bench, own_images(run, examples, label, asked.images))
        other = read_images(bench, others(examples, label, OTHERS) if asked.replace == "mean" else ())
        look = _Look(bench, concepts, label, asked.replace, other if other.ids else own)
        channels = Channels.of(look.relevance(own), asked.channels, COMPARABLE)
        maps = {k: look.maps(own, k) for k in channels.top}
        outside = {k: _outside(maps[k], own) for k in channels.top}
        falls = look.falls(own, channels.asked)
        looked.append(
            ClassConcepts(
                label=label,
                class_name=run.manifest["dataset"]["class_names"][label],
                method=method.key,
                layer=concepts.node,
                n_channels=concepts.channels,
                n=len(own.ids),
                n_boxed=int(own.boxed.sum()),
                outside_area=own.outside_area,
                replaced_by=asked.replace,
                n_other=len(other.ids),
                channels=tuple(evidence(channels, k, outside[k], falls) for k in channels.top),
            )
        )
        about = {"label": label, "method": method.key, "layer": concepts.node}
        for k in channels.top:
            rows += [about | row for row in _crops(own, channels, k, maps[k], outside[k])[: asked.pictures]]
    _write(run, looked, rows)
    return looked


class _Look:
    """What the network says of one class, batch by batch in one shape."""

    def __init__(self, bench: Bench, concepts: Concepts, label: int, by: str, other: Seen) -> None:
        self.concepts, self.label = concepts, label
        self.size, self.output = bench.config.execution.batch_size, bench.model.card.output
        self.values = np.zeros(concepts.channels) if by == "zero" else self._means(other.inputs)

    def relevance(self, own: Seen) -> np.ndarray:
        """Relevance of each channel for the class, n k."""
        return self._batches(lambda x: self.concepts.relevance(x, self.label), own.inputs)

    def maps(self, own: Seen, channel: int) -> np.ndarray:
        """Positive relevance of what runs through the channel, n h w."""
        made = self._batches(lambda x: self.concepts.analyze(x, channel, self.label).relevance, own.inputs)
        return pool(made, "positive")

    def falls(self, own: Seen, channels: Sequence[int]) -> dict[int, np.ndarray]:
        """Channel -> by how much the class's log odds fall without it, n."""
        net = self.concepts.network
        before = self._log_odds(self._batches(lambda x: net.logits((x,)), own.inputs))
        falls = {}
        for k in channels:
            logits = self._batches(
                partial(self.concepts.replaced, channels=k, values=self.values), own.inputs
            )
            falls[k] = before - self._log_odds(logits)
        return falls

    def _log_odds(self, logits: np.ndarray) -> np.ndarray:
        return log_odds(probabilities(logits, self.output)[:, self.label])

    def _means(self, inputs: np.ndarray) -> np.ndarray:
        return np.mean([self.concepts.means(x[None]) for x in inputs], axis=0)

    def _batches(self, function: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray) -> np.ndarray:
        """``function`` of all inputs; the last batch is filled up, so that one program serves all."""
        made = []
        for start in range(0, len(inputs), self.size):
            part = inputs[start : start + self.size]
            filled = np.concatenate([part, np.repeat(part[-1:], self.size - len(part), axis=0)])
            made.append(function(filled)[: len(part)])
        return np.concatenate(made)


def _outside(maps: np.ndarray, own: Seen) -> np.ndarray:
    """Share of each map (n, h, w) outside the boxes; nan without a box or without relevance."""
    total = maps.sum(axis=(1, 2), dtype=np.float64)
    share = np.divide(masked_sum(maps, ~own.masks), total, out=np.full(len(maps), np.nan), where=total > 0)
    return np.where(own.boxed, share, np.nan)


def _crops(
    own: Seen, channels: Channels, channel: int, maps: np.ndarray, outside: np.ndarray
) -> list[dict[str, object]]:
    """Rows of the images in which the channel says most for the class, most first."""
    share = channels.shares[:, channel]
    rows: list[dict[str, object]] = []
    for i in np.argsort(-share, kind="stable"):
        if share[i] <= 0 or not maps[i].any():
            break
        height, width = (max(1, round(side * CROP)) for side in maps[i].shape)
        sums = window_sums(maps[i], height, width)
        y, x = map(int, np.unravel_index(sums.argmax(), sums.shape))
        rows.append(
            {
                "channel": channel,
                "place": len(rows),
                "example_id": own.ids[i],
                "relevance": share[i],
                "outside": None if np.isnan(outside[i]) else outside[i],
                "x": x,
                "y": y,
                "width": width,
                "height": height,
                "held": sums[y, x] / maps[i].sum(dtype=np.float64),
                "picture": window_png(own.pictures[i][y : y + height, x : x + width]),
            }
        )
    return rows


def _write(run: Store, looked: Sequence[ClassConcepts], rows: Sequence[dict[str, object]]) -> None:
    new = {(c.label, c.method, c.layer) for c in looked}
    stored = ConceptsDocument.current(run)  # of other parts: their channels are not added to
    before = run.read_side_table(CONCEPTS_TABLE)
    kept = [] if before is None or stored is None else before.to_pylist()
    rows = [r for r in kept if (r["label"], r["method"], r["layer"]) not in new] + list(rows)
    stays = [c for c in (stored.classes if stored else ()) if (c.label, c.method, c.layer) not in new]
    run.write_side_table(CONCEPTS_TABLE, pa.Table.from_pylist(rows, schema.CONCEPTS))
    entries = sorted([*stays, *looked], key=lambda c: (c.method, c.layer, c.label))
    ConceptsDocument(tuple(entries)).write(run)
