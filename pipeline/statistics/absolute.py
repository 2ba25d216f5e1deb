"""The absolute test: does the map find the object at all?

The statistic of a class is the mean over its images of ``share of the map inside the boxes - area``. Two
nulls, both computed on the stored pooled maps, streamed shard by shard:

*exchange*: every image gets the boxes of a random image with boxes of similar area. A map that only knows
where objects usually are (the centre) does as well with those. *shift*: the image's own boxes move around the
torus by a random step. A map with a structure of its own, wherever the object is, does as well with those.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import special, stats

from pipeline.config_sections import RankingConfig
from pipeline.errors import InputError
from pipeline.run.parts import shard_pieces, shard_tables
from pipeline.run.store import Store
from pipeline.seeds import Purpose
from pipeline.statistics.arrays import Floats, Ints
from pipeline.statistics.boxes import Masks, concatenate, draw, inside, masks_from, tiled_sums

PARTNERS = 32  # exchanged masks, and shifts, per image; every draw takes one of them per image
AT_ONCE = 512  # maps that are looked at together: some 250 kB each while they are
OVERLAPS = 8  # of them that tell how far the boxes overlap
NEIGHBOURS = (
    10,
    500,
)  # partners come from at least/at most so many images with smaller and with larger boxes
STRATUM, MAX_STRATA = 50, 20  # images per stratum of box area, at least; strata, at most
TAIL = 20  # fewer exceedances than this among the draws: the tail is computed, not counted
SEES = 3.0  # standard errors of a sign test by which the maps of a run find objects at all


@dataclass(frozen=True)
class Absolute:
    """Results per class, each (C,): p of both nulls, chance of seeing a relevant lift, images with a map."""

    p_exchange: Floats
    p_shift: Floats
    power: Floats
    n_maps: Ints

    @property
    def p(self) -> Floats:
        """Both nulls must be rejected, so the larger p (intersection-union test, Berger 1982)."""
        return np.maximum(self.p_exchange, self.p_shift)


def area_strata(area: Floats) -> Ints:
    """Stratum of every image (n,): up to 20 of similar numbers of images, by box area.

    Equal areas share a stratum: were ties cut apart in the order of the rows, strata would follow the
    classes.
    """
    count = int(np.clip(len(area) // STRATUM, 1, MAX_STRATA))
    cuts = np.sort(area)[np.arange(1, count) * len(area) // count]
    return np.unique(np.searchsorted(cuts, area, side="right"), return_inverse=True)[1]


@dataclass(frozen=True)
class Used:
    """The images that are ranked: ``index`` in the split, class position (0..C-1), area of the boxes."""

    index: Ints
    group: Ints
    area: Floats
    n_groups: int


def absolute_test(store: Store, method: str, used: Used, config: RankingConfig) -> Absolute | None:
    """Both nulls for every class, or None where the run stores no maps of ``method``.

    p is ``(b + 1) / (draws + 1)``, b the draws at or above the observed; where ``b < 20``, the tail of a
    Pearson III distribution with the null's own mean, variance and skewness (each a sum over the images).
    """
    if "maps" not in store.tables or len(used.index) == 0:
        return None
    nulls = [_Null(used, config.draws), _Null(used, config.draws)]
    masks: Masks | None = None
    order = _Order.of(used, config.seed)
    for maps, place in _maps(store, method, order.index):
        if masks is None:
            masks = _all_masks(store, order.index, maps.shape[1:])
        image = order.image[place]
        index, group = used.index[image], used.group[image]
        table = tiled_sums(maps / maps.sum(axis=(1, 2), keepdims=True))
        corners, owner = masks.take(place)
        drawn = draw(corners, owner, maps.shape)
        own_area = drawn.mean(axis=(1, 2))
        drawn_table = tiled_sums(drawn / drawn.sum(axis=(1, 2), keepdims=True))
        observed = _excess(table, masks, place[:, None])[:, 0]
        gain = special.expit(special.logit(own_area) - config.relevant_effect) - own_area
        picks = Purpose.DRAWN_PARTNERS.numbers(config.seed, index, config.draws) % PARTNERS
        step = Purpose.SHIFTED_BOXES.numbers(config.seed, index, PARTNERS)
        own = np.repeat(place[:, None], PARTNERS, axis=1)
        for null, which, move in ((nulls[0], order.similar(place, config.seed), None), (nulls[1], own, step)):
            values = _excess(table, masks, which, move)
            null.add(group, observed, values, picks)
            null.contrast[image] = observed - values.mean(axis=1)
            few = which[:, :OVERLAPS], None if move is None else move[:, :OVERLAPS]
            same = _excess(drawn_table, masks, *few).mean(axis=1) / (1 - own_area)
            null.gain[image] = gain * (1 - same)
    if masks is None:
        return None
    p, q = nulls[0].p(), nulls[1].p()
    return Absolute(p, q, np.minimum(*(_power(n, used, config.level) for n in nulls)), nulls[0].n)


def _power(null: _Null, used: Used, level: float) -> Floats:
    """Chance (C,) of rejecting at p <= ``level`` if the maps of the class found their objects.

    A map of the relevant lift has ``g = sigmoid(logit A + lift) - A`` more of its relevance inside the boxes
    M than a uniform one, and ``g c`` more inside other boxes M', where
    ``c = (|M and M'| / |M| - |M'|) / (1 - |M|)``: large boxes overlap whatever is done, and what they share
    cannot tell them apart. So the statistic would gain ``g (1 - mean c)``, but no more than is typical (the
    median) of images with boxes of similar size in this run: maps that peak in the middle of large objects
    find them and yet cannot show it. Only where the maps of the run as a whole find nothing, the first alone
    decides: all classes may be unfocused.
    """
    there = np.isfinite(null.contrast)
    gain = np.where(there, null.gain, 0.0)
    above = np.count_nonzero(null.contrast[there] > 0)
    if 2 * above - there.sum() > SEES * np.sqrt(there.sum()):
        strata = area_strata(used.area)
        for s in range(int(strata.max()) + 1):
            own = there & (strata == s)
            if own.any():
                gain[own] = np.minimum(gain[own], max(float(np.median(null.contrast[own])), 0.0))
    total = np.bincount(used.group, gain, minlength=used.n_groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = total / np.sqrt(null.moments[:, 1])
    return stats.norm.sf(stats.norm.isf(level) - z)


class _Null:
    """Running totals of one null per class: observed, ``draws`` simulated sums and three moments."""

    def __init__(self, used: Used, draws: int) -> None:
        self.n = np.zeros(used.n_groups, dtype=np.int64)
        self.observed = np.zeros(used.n_groups)
        self.simulated = np.zeros((used.n_groups, draws))
        self.moments = np.zeros((used.n_groups, 3))  # mean, variance, third central moment of the sum
        # per image, nan without a map: statistic over its mean under the null, and what a relevant lift adds
        self.contrast = np.full(len(used.index), np.nan)
        self.gain = np.full(len(used.index), np.nan)

    def add(self, group: Ints, own: Floats, values: Floats, picks: Ints) -> None:
        """Add images: their statistic (b,), its values under the null (b, K), the value each draw takes."""
        np.add.at(self.n, group, 1)
        np.add.at(self.observed, group, own)
        np.add.at(self.simulated, group, np.take_along_axis(values, picks, axis=1))
        mean = values.mean(axis=1)
        deviation = values - mean[:, None]
        unbiased = values.shape[1] / (values.shape[1] - 1)
        moments = [mean, (deviation**2).mean(axis=1) * unbiased, (deviation**3).mean(axis=1)]
        np.add.at(self.moments, group, np.stack(moments, axis=1))

    def p(self) -> Floats:
        """Upper-tail p per class; nan without images."""
        draws = self.simulated.shape[1]
        slack = 1e-9 * (1 + np.abs(self.observed))
        exceed = (self.simulated >= (self.observed - slack)[:, None]).sum(axis=1)
        p = (exceed + 1) / (draws + 1)
        mean, variance, third = self.moments.T
        for c in np.flatnonzero((exceed < TAIL) & (variance > 0)):
            z = (self.observed[c] - mean[c]) / np.sqrt(variance[c])
            tail = float(stats.pearson3.sf(z, third[c] / variance[c] ** 1.5))
            p[c] = max(tail, float(PARTNERS) ** -float(self.n[c]))
        return np.where(self.n > 0, p, np.nan)


@dataclass(frozen=True)
class _Order:
    """The ranked images in order of the index: a *place* is a position in that order, as in the masks.

    image: place -> image; rank: place -> rank by area; by_area: rank -> place.
    """

    index: Ints
    image: Ints
    rank: Ints
    by_area: Ints

    @classmethod
    def of(cls, used: Used, seed: int) -> _Order:
        image = np.argsort(used.index)
        index = used.index[image]
        by_area = np.lexsort((Purpose.TIED_AREAS.numbers(seed, index, 1)[:, 0], used.area[image]))
        return cls(index, image, np.argsort(by_area), by_area)

    def similar(self, place: Ints, seed: int) -> Ints:
        """Places (b, PARTNERS) of random images near those at ``place`` (b,) in order of box area."""
        n = len(self.index)
        reach = int(np.clip(n // 40, *NEIGHBOURS))
        size = min(n, 2 * reach + 1)
        low = np.clip(self.rank[place] - reach, 0, n - size)
        drawn = Purpose.EXCHANGED_BOXES.numbers(seed, self.index[place], PARTNERS)
        return self.by_area[low[:, None] + drawn % size]


def _maps(store: Store, method: str, index: Ints) -> Iterator[tuple[Floats, Ints]]:
    """A few at a time: maps (b, H, W) of the images that are used, and their places (b,) in ``index``."""
    columns = ("example_id", "method", "height", "width", "values")
    sides: set[tuple[int, int]] = set()  # of all maps so far: one, if they are what the audit wrote
    for key, examples, pieces in shard_pieces(store, ("example_id", "index"), "maps", columns, AT_ONCE):
        ids, positions = examples["example_id"].combine_chunks(), examples["index"].to_numpy()
        for piece in pieces:
            maps = piece.filter(pc.equal(piece["method"].cast(pa.string()), method))
            row = pc.index_in(maps["example_id"], ids)
            in_shard = pc.is_valid(row)
            maps = maps.filter(in_shard)
            split = positions[row.filter(in_shard).to_numpy(zero_copy_only=False)]
            place = np.searchsorted(index, split)
            ranked = (place < len(index)) & (index[np.minimum(place, len(index) - 1)] == split)
            maps = maps.filter(pa.array(ranked))
            if len(maps) == 0:
                continue
            sides |= set(zip(maps["height"].to_pylist(), maps["width"].to_pylist(), strict=True))
            values = _grid(maps, sides, f"{store.path}: maps of shard {key}")
            positive = values.sum(axis=(1, 2)) > 0
            yield values[positive], place[ranked][positive]


def _grid(maps: pa.RecordBatch, sides: set[tuple[int, int]], what: str) -> Floats:
    h, w = next(iter(sides))
    flat = maps["values"].flatten().to_numpy(zero_copy_only=False).astype(float)
    if len(sides) > 1 or flat.size != len(maps) * h * w:
        raise InputError(f"{what} have different or wrong sizes; remove it and run again")
    return flat.reshape(len(maps), h, w)


def _all_masks(store: Store, index: Ints, shape: tuple[int, ...]) -> Masks:
    """Masks of the images with these ascending indices, in this order, on a grid of ``shape`` cells."""
    card = store.manifest["model"]["card"]
    scale_x, scale_y = shape[1] / card["width"], shape[0] / card["height"]
    parts, order = [], []
    for _, examples, _ in shard_tables(store, ("index", "boxes_model")):
        split = examples["index"].to_numpy()
        keep = np.isin(split, index)
        boxes = examples["boxes_model"].combine_chunks().filter(pa.array(keep))
        parts.append(masks_from(boxes, scale_x, scale_y))
        order.append(split[keep])
    joined, split = concatenate(parts), np.concatenate(order)
    if np.all(split[1:] > split[:-1]):
        return joined
    corners, owner = joined.take(np.argsort(split))
    count = np.bincount(owner, minlength=len(split))
    return Masks(corners.astype(np.float32), np.concatenate([[0], np.cumsum(count)]))


def _excess(table: Floats, masks: Masks, which: Ints, step: Ints | None = None) -> Floats:
    """Share of map b inside mask ``which[b, k]`` minus the mask's area, (b, k); ``step``: random shifts."""
    b, k = which.shape
    h, w = (table.shape[1] - 1) // 2, (table.shape[2] - 1) // 2
    corners, owner = masks.take(which.reshape(-1))
    area = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1]) / (h * w)
    if step is not None:
        down, right = np.divmod(step.reshape(-1)[owner] % (h * w), w)
        corners = corners + np.stack([right, down, right, down], axis=1)
    share = inside(table, owner // k, corners)
    return np.bincount(owner, share - area, minlength=b * k).reshape(b, k).astype(float)
