"""Perturbation curves of a batch: which variants are needed, each evaluated once, and their table rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from explainers import Explanation
from pipeline.config import Config
from pipeline.config_sections import PerturbationConfig
from pipeline.inputs.batches import Batch
from pipeline.inputs.card import ModelCard
from pipeline.inputs.datasets import Dataset, Record
from pipeline.inputs.models import LoadedModel
from pipeline.measure.curve_images import choose_images
from pipeline.measure.curve_metrics import metrics_of
from pipeline.measure.evaluate import Evaluator, Variants
from pipeline.measure.metrics import NOT_FINITE, ZERO_MAP, channel_sum, pool
from pipeline.measure.metrics.perturbation import Grid, fill_picture, rank_regions
from pipeline.measure.rows import probabilities
from pipeline.schema import CURVES, SCORES
from pipeline.seeds import ImagePurpose, generator
from pipeline.terms import CurveOrder

MOST_BYTES = 1 << 28  # pictures held at once
WHOLE = -1  # in place of an order: everything is replaced, so the order does not matter


@dataclass(frozen=True)
class Explained:
    """One image with what its curves are drawn from.

    Attributes:
        image: (h, w, c) float32, as the network takes it; target: the explained class.
        maps: per method the (h, w) map whose regions are ordered, and why there is none.
    """

    example_id: str
    image: np.ndarray
    target: int
    maps: tuple[tuple[np.ndarray, str | None], ...]


@dataclass(frozen=True)
class Perturber:
    """Draws the curves that ``config`` asks for.

    Attributes:
        chosen: ids of the images that get curves; None: all.
        spent: seconds for curves in this process so far, under "curves".
        seed: the run's.
    """

    evaluator: Evaluator
    card: ModelCard
    config: PerturbationConfig
    seed: int
    chosen: frozenset[str] | None = None
    spent: dict[str, float] = field(default_factory=dict, compare=False)

    @property
    def side(self) -> int:
        """Side of a region, pixel."""
        return self.config.region_side(self.card.height, self.card.width)

    def tables(
        self, batch: Batch, explanations: Sequence[Explanation], methods: Sequence[str]
    ) -> dict[str, pa.Table]:
        """Rows of ``curves`` and ``scores`` of the chosen images of a batch, one explanation per method."""
        return self.draw(self.choose(batch, explanations), methods)

    def choose(self, batch: Batch, explanations: Sequence[Explanation]) -> list[Explained]:
        """The images of a batch that get curves: what is needed of them, without the batch."""
        return [
            Explained(
                example_id=record.example_id,
                image=batch.inputs[i].copy(),
                target=int(explanations[0].target[i]),
                maps=tuple((_ordering_map(e, i, self.config.by), _why_not(e, i)) for e in explanations),
            )
            for i, record in enumerate(batch.records)
            if record is not None and batch.valid[i] and self._has(record)
        ]

    def draw(self, images: Sequence[Explained], methods: Sequence[str]) -> dict[str, pa.Table]:
        """Rows of ``curves`` and ``scores`` of ``images``, which may come from many batches: the network is
        asked in full ones."""
        curves: list[dict[str, Any]] = []
        scores: list[dict[str, Any]] = []
        for image, drawn in zip(images, self._draw(images), strict=True):
            for method, (values, reason) in zip(methods, drawn, strict=True):
                key = {"example_id": image.example_id, "method": method, "reason": reason}
                curves += [key | {"order": o, "values": values.get(o)} for o in self.config.orders]
                scores += [
                    key | {"metric": m.name, "value": m(values) if values else None}
                    for m in metrics_of(self.config.orders)
                ]
        return {
            "curves": pa.Table.from_pylist(curves, schema=CURVES),
            "scores": pa.Table.from_pylist(scores, schema=SCORES),
        }

    def _has(self, record: Record) -> bool:
        return self.chosen is None or record.example_id in self.chosen

    def _draw(
        self, images: Sequence[Explained]
    ) -> Iterator[list[tuple[dict[CurveOrder, np.ndarray], str | None]]]:
        """Per image and method: curve of every order, and why there is none."""
        sheets = [_Sheet(self, image) for image in images]
        targets = [image.target for image in images]
        regions = self._evaluate([s.regions for s in sheets], targets, self.side, self.config.score)
        pixels = self._evaluate([s.pixels for s in sheets], targets, 1, "softmax")
        for n, sheet in enumerate(sheets):
            yield [
                ({} if reason else sheet.curves(m, regions[n], pixels[n]), reason)
                for m, (_, reason) in enumerate(images[n].maps)
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

    def __init__(self, perturber: Perturber, explained: Explained) -> None:
        config, card = perturber.config, perturber.card
        image, maps, example_id = explained.image, explained.maps, explained.example_id
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
        self.regions = _Plan(Grid(card.height, card.width, perturber.side), pictures, limits)
        counts = replaced(config, self.regions.grid.count)
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


def replaced(config: PerturbationConfig, regions: int) -> np.ndarray:
    """How many of a picture's ``regions`` are replaced at each point of a curve (points + 1,), from 0 on.

    Equally spaced up to ``steps``; ``points = 0`` asks the network after every single region.
    """
    last = min(config.steps, regions)
    return np.rint(np.linspace(0, last, min(config.points or last, last) + 1)).astype(int)


def passes_per_image(config: PerturbationConfig, regions: int, methods: int) -> int:
    """Most variants of an image of so many ``regions`` that its curves need, for that many methods.

    The unperturbed picture once; per repeat (with its own fill) every point of every order of every method,
    the random order and a fully replaced picture once for all of them. Pixel by pixel: both ends of the
    curves once, and what lies between for every order and method.
    """
    counts = replaced(config, regions)
    inner = int(((counts > 0) & (counts < regions)).sum())
    by_pixel = sum(order.by_pixel for order in config.orders)
    chance = CurveOrder.RANDOM in config.orders
    by_map = len(config.orders) - by_pixel - chance
    passes = 0
    if by_map or chance:
        passes += 1 + config.repeats * (inner * (by_map * methods + chance) + int(counts[-1] == regions))
    if by_pixel:
        passes += by_pixel * methods * (config.auc_steps - 1) + by_pixel + 1
    return passes


def open_perturber(config: Config, dataset: Dataset, model: LoadedModel) -> Perturber | None:
    """What ``[perturbation]`` asks for; None where the configuration has no such section."""
    if config.perturbation is None:
        return None
    return Perturber(
        evaluator=Evaluator(model.model, config.execution.batch_size),
        card=model.card,
        config=config.perturbation,
        seed=config.audit.seed,
        chosen=choose_images(dataset, config.perturbation, config.audit.seed),
    )


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
