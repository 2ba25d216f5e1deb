"""Perturbation curves of a batch: which variants are needed, each evaluated once, and their table rows."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from explainers import Explanation
from pipeline.config import Config, PerturbationConfig
from pipeline.inputs.batches import Batch
from pipeline.inputs.card import ModelCard
from pipeline.inputs.datasets import Dataset
from pipeline.inputs.models import LoadedModel
from pipeline.inputs.shards import Shard
from pipeline.measure.curve_metrics import metrics_of
from pipeline.measure.evaluate import Evaluator, Variants
from pipeline.measure.metrics import NOT_FINITE, ZERO_MAP, channel_sum, pool
from pipeline.measure.metrics.perturbation import Grid, fill_picture, rank_regions
from pipeline.measure.rows import probabilities
from pipeline.schema import CURVES, SCORES
from pipeline.seeds import ImageChoice, ImagePurpose, generator
from pipeline.terms import CurveOrder

MOST_BYTES = 1 << 28  # pictures held at once
WHOLE = -1  # in place of an order: everything is replaced, so the order does not matter


@dataclass(frozen=True)
class Perturber:
    """Draws the curves that ``config`` asks for.

    Attributes:
        chosen: ids of the images that get curves; None: all.
        seed: the run's.
    """

    evaluator: Evaluator
    card: ModelCard
    config: PerturbationConfig
    seed: int
    chosen: frozenset[str] | None = None

    def tables(
        self, batch: Batch, explanations: Sequence[Explanation], methods: Sequence[str]
    ) -> dict[str, pa.Table]:
        """Rows of ``curves`` and ``scores`` of the chosen images of a batch, one explanation per method."""
        rows = [i for i, r in enumerate(batch.records) if r is not None and batch.valid[i] and self._has(r)]
        curves: list[dict[str, Any]] = []
        scores: list[dict[str, Any]] = []
        for i, found in zip(rows, self._draw(batch, explanations, rows), strict=True):
            record = batch.records[i]
            assert record is not None
            for method, (values, reason) in zip(methods, found, strict=True):
                key = {"example_id": record.example_id, "method": method, "reason": reason}
                curves += [key | {"order": o, "values": values.get(o)} for o in self.config.orders]
                scores += [
                    key | {"metric": m.name, "value": m(values) if values else None}
                    for m in metrics_of(self.config.orders)
                ]
        return {
            "curves": pa.Table.from_pylist(curves, schema=CURVES),
            "scores": pa.Table.from_pylist(scores, schema=SCORES),
        }

    def _has(self, record: Any) -> bool:
        return self.chosen is None or record.example_id in self.chosen

    def _draw(
        self, batch: Batch, explanations: Sequence[Explanation], rows: Sequence[int]
    ) -> Iterator[list[tuple[dict[CurveOrder, np.ndarray], str | None]]]:
        """Per row and method: curve of every order, and why there is none."""
        sheets = []
        for i in rows:
            record = batch.records[i]
            assert record is not None
            maps = [(_ordering_map(e, i, self.config.by), _why_not(e, i)) for e in explanations]
            sheets.append(_Sheet(self, record.example_id, batch.inputs[i], maps))
        targets = [int(explanations[0].target[i]) for i in rows]
        regions = self._evaluate([s.regions for s in sheets], targets, self.config.region, self.config.score)
        pixels = self._evaluate([s.pixels for s in sheets], targets, 1, "softmax")
        for n, sheet in enumerate(sheets):
            yield [
                ({} if reason else sheet.curves(m, regions[n], pixels[n]), reason)
                for m, (_, reason) in enumerate(sheet.maps)
            ]

    def _evaluate(
        self, plans: Sequence[_Plan], targets: Sequence[int], side: int, score: str
    ) -> list[np.ndarray]:
        """The score of the target for every row of every image's plan; all images share full batches."""
        if not any(len(p.rows) for p in plans):
            return [np.zeros(0) for _ in plans]
        most_pictures, most_orders = plans[0].limits
        # as many images at a time as fit a batch: next to no padding, and bounded memory
        fitting = MOST_BYTES // (most_pictures * plans[0].pictures[0].nbytes)
        size = int(np.clip(fitting, 1, self.evaluator.batch_size))
        table = np.array([(n, *row) for n, p in enumerate(plans) for row in p.rows], np.int64)
        out = np.empty(len(table))
        for start in range(0, len(plans), size):
            group = plans[start : start + size]
            here = np.flatnonzero((table[:, 0] >= start) & (table[:, 0] < start + size))
            n, under, over, order, count = table[here].T
            n = n - start
            whole = order == WHOLE
            rows = Variants(
                pictures=_stack([p.pictures for p in group], size, most_pictures, plans[0].pictures[0]),
                ranks=_stack([p.orders for p in group], size, most_orders, plans[0].blank),
                under=n * most_pictures + under,
                over=n * most_pictures + over,
                order=np.where(whole, 0, n * most_orders + order),
                count=count,
                side=side,
            )
            logits = self.evaluator.variants(rows).astype(np.float64)
            values = logits if score == "logit" else probabilities(logits, self.card.output)
            out[here] = values[np.arange(len(here)), np.asarray(targets)[start:][n]]
        return np.split(out, np.cumsum([len(p.rows) for p in plans])[:-1])


@dataclass
class _Plan:
    """The distinct variants of one image: (under, over, order, count), indices into its own stacks.

    ``limits``: the most pictures and orders that an image can have with this configuration.
    """

    grid: Grid
    pictures: list[np.ndarray]
    limits: tuple[int, int]
    orders: list[np.ndarray] = field(default_factory=list)
    rows: list[tuple[int, int, int, int]] = field(default_factory=list)
    _place: dict[tuple[int, int, int, int], int] = field(default_factory=dict)
    _known: dict[bytes, int] = field(default_factory=dict)

    @property
    def blank(self) -> np.ndarray:
        """An order of nothing, for its shape."""
        return np.zeros(self.grid.shape, np.int32)

    def order(self, ranks: np.ndarray) -> int:
        """Index of an order; equal orders (of two methods, of two repeats) are one."""
        key = ranks.tobytes()
        if key not in self._known:
            self._known[key] = len(self.orders)
            self.orders.append(ranks.reshape(self.grid.shape))
        return self._known[key]

    def curve(self, under: int, over: int, ranks: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Indices of the rows of a curve; a variant that exists already is not asked for again."""
        order = self.order(ranks)
        return np.array([self._row(under, over, order, int(k)) for k in counts])

    def _row(self, under: int, over: int, order: int, count: int) -> int:
        key = (under, over, order, count)
        if count == 0:
            key = (under, under, WHOLE, 0)
        elif count == self.grid.count:
            # all of it replaced: the other picture itself
            key = (over, over, WHOLE, 0)
        if key not in self._place:
            self._place[key] = len(self.rows)
            self.rows.append(key)
        return self._place[key]


class _Sheet:
    """One image: its plans, and where in them each curve of each method lies."""

    def __init__(
        self,
        perturber: Perturber,
        example_id: str,
        image: np.ndarray,
        maps: Sequence[tuple[np.ndarray, str | None]],
    ) -> None:
        config, card = perturber.config, perturber.card
        self.maps = maps
        self._lines: dict[tuple[int, CurveOrder], list[np.ndarray]] = {}

        def rng(purpose: ImagePurpose, repeat: int | None = None) -> np.random.Generator:
            return generator(perturber.seed, example_id, purpose, repeat)

        span = (card.low, card.high)
        # one fill per repeat whatever the order and method (common random numbers); a fill that is not random
        # is the same in every repeat
        fills = config.repeats if config.fill == "uniform" else 1
        pictures = [
            image,
            *(fill_picture(config.fill, image, span, rng(ImagePurpose.FILL, r)) for r in range(fills)),
        ]
        limits = 1 + fills, config.repeats * (1 + 2 * len(maps))
        self.regions = _Plan(Grid(card.height, card.width, config.region), pictures, limits)
        counts = np.arange(min(config.steps, self.regions.grid.count) + 1)
        for r in range(config.repeats):
            breaks = rng(ImagePurpose.TIES, r).permutation(self.regions.grid.count)
            chance = rng(ImagePurpose.RANDOM_ORDER, r).permutation(self.regions.grid.count).astype(np.int32)
            for m, (values, reason) in enumerate(maps):
                scores = None if reason else self.regions.grid.scores(values[None])[0]
                for order in (o for o in config.orders if not o.by_pixel and scores is not None):
                    assert scores is not None
                    ranks = (
                        chance
                        if order == CurveOrder.RANDOM
                        else rank_regions(scores, breaks, order == CurveOrder.MORF)
                    )
                    line = self.regions.curve(0, 1 + r % fills, ranks, counts)
                    self._lines.setdefault((m, order), []).append(line)
        self._plan_pixels(config, image, span, rng(ImagePurpose.PIXEL_TIES))

    def _plan_pixels(
        self, config: PerturbationConfig, image: np.ndarray, span: Any, rng: np.random.Generator
    ) -> None:
        """Deletion towards 0, insertion into a blurred picture, pixel by pixel (RISE's protocol)."""
        orders = [o for o in config.orders if o.by_pixel]
        grid = Grid(image.shape[0], image.shape[1], 1)
        zero, blur = (
            (fill_picture(kind, image, span, rng) for kind in ("zero", "blur")) if orders else (image, image)
        )
        self.pixels = _Plan(grid, [image, zero, blur], (3, len(self.maps)))
        counts = np.rint(np.linspace(0, grid.count, config.auc_steps + 1))
        breaks = rng.permutation(grid.count) if orders else None
        for m, (values, reason) in enumerate(self.maps):
            for order in orders if reason is None else ():
                assert breaks is not None
                ranks = rank_regions(np.asarray(values, np.float64).ravel(), breaks, True)
                under, over = (0, 1) if order == CurveOrder.DELETION else (2, 0)
                self._lines[m, order] = [self.pixels.curve(under, over, ranks, counts)]

    def curves(self, method: int, regions: np.ndarray, pixels: np.ndarray) -> dict[CurveOrder, np.ndarray]:
        """Order -> values (L + 1,), mean over the repeats."""
        return {
            order: np.mean([(pixels if order.by_pixel else regions)[line] for line in lines], axis=0)
            for (m, order), lines in self._lines.items()
            if m == method
        }


def open_perturber(config: Config, dataset: Dataset, model: LoadedModel) -> Perturber | None:
    """What ``[perturbation]`` asks for; None where the configuration has no such section."""
    if config.perturbation is None:
        return None
    return Perturber(
        evaluator=Evaluator(model.model, config.execution.batch_size),
        card=model.card,
        config=config.perturbation,
        seed=config.audit.seed,
        chosen=choose_images(dataset, config.perturbation.budget, config.audit.seed),
    )


def choose_images(dataset: Dataset, budget: int, seed: int) -> frozenset[str] | None:
    """Ids of ``budget`` images per class, None for all: those with the smallest seeded hash of their id.

    A stratified choice that depends neither on shards nor on order. Reads the records once, decoding nothing.
    """
    if budget == 0:
        return None
    info = dataset.info
    kept: dict[int, list[tuple[int, str]]] = {}
    for record in dataset.read(Shard(info.name, info.split, 0, info.n_examples, "all")):
        if record.error is None:
            entry = (-ImageChoice.CURVES.rank(seed, record.example_id), record.example_id)
            heap = kept.setdefault(record.label, [])
            if len(heap) < budget:
                heapq.heappush(heap, entry)
            else:
                heapq.heappushpop(heap, entry)
    return frozenset(example_id for heap in kept.values() for _, example_id in heap)


def _ordering_map(explanation: Explanation, row: int, by: str) -> np.ndarray:
    """(h, w): the map whose regions are ordered."""
    one = explanation.relevance[row : row + 1]
    if by == "signed":
        return channel_sum(one)[0]
    return pool(one, "abs_sum" if by == "absolute" else "positive")[0]


def _why_not(explanation: Explanation, row: int) -> str | None:
    if explanation.reason[row]:
        return explanation.reason[row]
    values = explanation.relevance[row]
    if not np.isfinite(values).all():
        return NOT_FINITE
    return None if values.any() else ZERO_MAP


def _stack(lists: Sequence[Sequence[np.ndarray]], size: int, most: int, like: np.ndarray) -> np.ndarray:
    """Entry j of list i at ``i * most + j`` of a stack of constant shape: one compiled program."""
    out = np.zeros((size * most, *like.shape), like.dtype)
    for i, parts in enumerate(lists):
        for j, part in enumerate(parts):
            out[i * most + j] = part
    return out
