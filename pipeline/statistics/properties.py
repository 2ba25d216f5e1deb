"""How well single properties of the files tell the classes: no network, no maps.

Per class and property the area under the ROC curve of that property alone, the class against all others; per
property the bits that it says of the class. Both are compared with what shuffled labels reach in *any* class
and property (maximum statistic, Westfall and Young 1993), so that one false alarm in twenty runs is the most
that chance can do, however many classes and properties there are. What is no chance need not matter: only
what also reaches a limit stands out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy import optimize, stats

from pipeline.config_sections import RankingConfig
from pipeline.run.documents import PropertiesDocument, ToldClass, ToldProperty
from pipeline.run.inventory import ShardsSeen
from pipeline.run.store import Store
from pipeline.schema import EXAMPLES
from pipeline.seeds import Purpose
from pipeline.statistics.arrays import Flags, Floats, Ints
from pipeline.terms import FileProperty

# What stands out: an AUC whose interval begins here, or so many bits. On photographs without any planted
# shortcut (Tiny ImageNet, 200 classes) colours and sizes of boxes say 0.3 bits: natural context.
RELEVANT_AUC: Final = 0.75
RELEVANT_BITS: Final = 0.4
DRAWS: Final = 400
_BINS: Final = 8
_LISTED: Final = 12  # classes and properties that a document lists even where they do not stand out
_MOST: Final = 200  # and at most
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_Z = 1.959964


def check_properties(store: Store, settings: RankingConfig) -> PropertiesDocument | None:
    """The property check of a run; None where it has no such table, or not two classes of ``n_min`` images.

    Raises :class:`InputError` for parts that cannot be read.
    """
    manifest = store.manifest
    names = manifest["dataset"].get("class_names") or []
    checked = check_images(read_properties(store), names, settings)
    return checked and replace(checked, run_id=manifest["run_id"], shards=ShardsSeen.of(store))


def check_images(
    images: pd.DataFrame, names: Sequence[str], settings: RankingConfig
) -> PropertiesDocument | None:
    """:func:`check_properties` of ``images`` as :func:`read_properties` has them; ``names`` by label."""
    counts = images["label"].value_counts()
    tested = np.sort(counts.index[counts >= settings.n_min].to_numpy(np.int64))
    if len(tested) < 2:
        return None
    table = Table.of(images)
    null = shuffled(table, tested, settings)
    scores = _scored(table, tested, null, settings)
    return PropertiesDocument(
        images=len(images),
        classes_tested=len(tested),
        n_min=settings.n_min,
        limits={"auc": RELEVANT_AUC, "information": RELEVANT_BITS},
        properties=tuple(_told_properties(table, null, settings.level)),
        classes=tuple(_told_class(table, scores, place, names) for place in _listed(table, scores)),
        n_standing_out=int(scores.loud.sum()),
    )


def read_properties(store: Store) -> pd.DataFrame:
    """A row per sampled image with a class: label and every :class:`FileProperty`, nan where undefined."""
    measured = store.read("properties").to_pandas().set_index("example_id")
    ids = pc.field("example_id").isin(list(measured.index))
    columns = ["example_id", "label", "width", "height", "boxes", "box_area"]
    none = pa.schema([EXAMPLES.field(name) for name in columns]).empty_table()
    examples = store.read("examples", columns, ids) if len(measured) else none
    frame = examples.drop_columns(["boxes"]).to_pandas().set_index("example_id")
    frame["boxes"] = pc.list_value_length(examples["boxes"]).fill_null(0).to_numpy()
    frame["aspect"] = frame["width"] / frame["height"]
    frame = frame.join(measured)
    return frame[frame["label"] >= 0][["label", *FileProperty]]


@dataclass(frozen=True)
class Table:
    """The properties as ranks and as bins, so that a shuffling costs a count.

    Attributes:
        label: (n,). Per property: values (n,), has (n,) where it is defined, ranks of these (mid-ranks), bins
            of these, ties ``sum t^3 - t`` over tied values.
    """

    names: tuple[FileProperty, ...]
    label: Ints
    values: list[Floats]
    has: list[Flags]
    ranks: list[Floats]
    bins: list[Ints]
    ties: list[float]

    @classmethod
    def of(cls, images: pd.DataFrame) -> Table:
        """``images``: as :func:`read_properties` returns them."""
        names = tuple(name for name in FileProperty if images[name].notna().any())
        values = [images[name].to_numpy(float) for name in names]
        has = [np.isfinite(v) for v in values]
        kept = [v[h] for v, h in zip(values, has, strict=True)]
        tied = [np.unique(v, return_counts=True)[1].astype(float) for v in kept]
        return cls(
            names=names,
            label=images["label"].to_numpy(np.int64),
            values=values,
            has=has,
            ranks=[stats.rankdata(v) for v in kept],
            bins=[_binned(v) for v in kept],
            ties=[float((t**3 - t).sum()) for t in tied],
        )


def _binned(values: Floats) -> Ints:
    """Bins of about equal counts; values that are few enough stay apart."""
    distinct = np.unique(values)
    if len(distinct) > _BINS:
        distinct = np.unique(np.quantile(values, np.arange(1, _BINS) / _BINS, method="lower"))
    return np.searchsorted(distinct, values, side="left").astype(np.int64)


def areas(table: Table, k: int, label: Ints, tested: Ints, n_min: int) -> tuple[Floats, Floats, Ints]:
    """Of property ``k``: AUC (C,) of each ``tested`` class, its z score, images of the class that have it.

    ``U = R_c - n_c (n_c + 1) / 2`` with the class's sum of mid-ranks, ``AUC = U / (n_c n_r)``; under
    exchangeability ``var U = n_c n_r / 12 (N + 1 - ties / (N (N - 1)))`` (Lehmann 1975). nan where the class
    or the rest has fewer than ``n_min`` images with the property, or all values are equal.
    """
    own = label[table.has[k]]
    size = int(max(label.max(), tested.max())) + 1
    n = np.bincount(own, minlength=size)[tested]
    total = len(own)
    rest = total - n
    rank_sum = np.bincount(own, table.ranks[k], minlength=size)[tested]
    spread = (total + 1 - table.ties[k] / max(total * (total - 1), 1)) / 12
    with np.errstate(invalid="ignore", divide="ignore"):
        u = rank_sum - n * (n + 1) / 2
        area, z = u / (n * rest), (u - n * rest / 2) / np.sqrt(n * rest * spread)
    undefined = (n < n_min) | (rest < n_min) | (spread <= 1e-9)
    return np.where(undefined, np.nan, area), np.where(undefined, np.nan, z), n


def bits(bins: Ints, label: Ints) -> float:
    """Mutual information of two discrete variables, bits, as counted (biased upwards)."""
    columns = int(bins.max()) + 1
    joint = np.bincount(label * columns + bins, minlength=(int(label.max()) + 1) * columns)
    share = joint.reshape(-1, columns) / len(bins)
    expected = share.sum(axis=1, keepdims=True) * share.sum(axis=0, keepdims=True)
    filled = share > 0
    return float((share[filled] * np.log2(share[filled] / expected[filled])).sum())


@dataclass(frozen=True)
class Shuffled:
    """What ``draws`` shufflings of the labels reach.

    Attributes:
        largest: (draws,) largest absolute z score of all classes and properties.
        bits: (draws, P) mutual information of every property.
    """

    largest: Floats
    bits: Floats


def shuffled(table: Table, tested: Ints, settings: RankingConfig) -> Shuffled:
    """The null: images keep their properties, labels change places."""
    rng = Purpose.SHUFFLED_LABELS.rng(settings.seed)
    largest: Floats = np.zeros(DRAWS)
    information = np.zeros((DRAWS, len(table.names)))
    classes = _tested_once(table, tested)
    for draw in range(DRAWS):
        label = rng.permutation(table.label)
        for k in range(len(table.names)):
            z = areas(table, k, label, classes, settings.n_min)[1]
            largest[draw] = max(float(largest[draw]), float(np.nan_to_num(np.abs(z)).max(initial=0.0)))
            information[draw, k] = bits(table.bins[k], label[table.has[k]])
    return Shuffled(largest, information)


def _tested_once(table: Table, tested: Ints) -> Ints:
    """With two classes one is the other's mirror image: only the second is tested."""
    return tested[1:] if len(np.unique(table.label)) == 2 else tested


@dataclass(frozen=True)
class _Scores:
    """Areas, p and numbers of images, each (C, P), of the ``classes`` (C,); ``level``: of p."""

    classes: Ints
    area: Floats
    p: Floats
    n: Ints
    n_rest: Ints
    level: float

    @property
    def strength(self) -> Floats:
        return np.fmax(self.area, 1 - self.area)

    @cached_property
    def loud(self) -> Flags:
        """What stands out (C, P)."""
        loud = (self.p <= self.level) & (self.strength >= RELEVANT_AUC)
        for place in zip(*np.nonzero(loud), strict=True):
            low, high = auc_interval(float(self.area[place]), int(self.n[place]), int(self.n_rest[place]))
            loud[place] = max(low, 1 - high) >= RELEVANT_AUC
        return loud


def _scored(table: Table, tested: Ints, null: Shuffled, settings: RankingConfig) -> _Scores:
    classes = _tested_once(table, tested)
    each = [areas(table, k, table.label, classes, settings.n_min) for k in range(len(table.names))]
    z: Floats = np.stack([row[1] for row in each], axis=1)
    p = np.where(np.isfinite(z), familywise(np.abs(z), null.largest), np.nan)
    area: Floats = np.stack([row[0] for row in each], axis=1)
    n: Ints = np.stack([row[2] for row in each], axis=1)
    total = np.array([int(has.sum()) for has in table.has])
    return _Scores(classes, area, p, n, total - n, settings.level)


def familywise(statistic: Floats, largest: Floats) -> Floats:
    """p of each ``statistic``: share of the null's ``largest`` (draws,) that reach it, itself counted."""
    ordered = np.sort(largest)
    reached = len(ordered) - np.searchsorted(ordered, statistic - 1e-9)
    return np.asarray((1 + reached) / (1 + len(ordered)))


def _listed(table: Table, scores: _Scores) -> list[tuple[int, int]]:
    """Places (class, property) of what stands out, then of the next ones up to a dozen, strongest first.

    What lies in the files is said before what lies in pictures and boxes, which may belong to the class.
    """
    loud = scores.loud
    later = loud & np.array([name.origin != "file" for name in table.names])
    chance = scores.p > scores.level
    order = np.lexsort(tuple(key.ravel() for key in (-np.nan_to_num(scores.strength), chance, later, ~loud)))
    order = order[np.isfinite(scores.p.ravel()[order])]
    most = min(max(int(loud.sum()), _LISTED), _MOST)
    return [divmod(int(place), scores.p.shape[1]) for place in order[:most]]


def _told_class(table: Table, scores: _Scores, place: tuple[int, int], names: Sequence[str]) -> ToldClass:
    i, k = place
    label, values = int(scores.classes[i]), table.values[k]
    own = table.has[k] & (table.label == label)
    rest = table.has[k] & (table.label != label)
    area, n, n_rest = float(scores.area[place]), int(scores.n[place]), int(scores.n_rest[place])
    low, high = auc_interval(area, n, n_rest)
    return ToldClass(
        label=label,
        class_name=names[label] if label < len(names) else f"class {label}",
        name=table.names[k],
        n=n,
        n_rest=n_rest,
        auc=area,
        low=low,
        high=high,
        p=float(scores.p[place]),
        stands_out=bool(scores.loud[place]),
        quantiles=tuple(np.quantile(values[own], _QUANTILES).tolist()),
        quantiles_rest=tuple(np.quantile(values[rest], _QUANTILES).tolist()),
    )


def _told_properties(table: Table, null: Shuffled, level: float) -> list[ToldProperty]:
    """Every property, the most telling first."""
    seen = np.array([bits(table.bins[k], table.label[table.has[k]]) for k in range(len(table.names))])
    mean, spread = null.bits.mean(axis=0), null.bits.std(axis=0)
    spread = np.where(spread > 1e-12, spread, np.inf)  # a property that is the same everywhere says nothing
    p = familywise((seen - mean) / spread, ((null.bits - mean) / spread).max(axis=1))
    beyond = np.maximum(seen - mean, 0.0)
    return [
        ToldProperty(
            name=table.names[k],
            n=int(table.has[k].sum()),
            information=float(beyond[k]),
            p=float(p[k]),
            stands_out=bool(p[k] <= level and beyond[k] >= RELEVANT_BITS),
        )
        for k in np.argsort(-beyond, kind="stable")
    ]


def auc_interval(area: float, n: int, n_rest: int) -> tuple[float, float]:
    """95 % interval of an area under the curve of ``n`` and ``n_rest`` images.

    Newcombe (2006), method 5: the areas ``t`` with ``|area - t| <= z sqrt(t (1 - t) (1 + (m - 1) ((1 - t) /
    (2 - t) + t / (1 + t))) / (n n_rest))``, ``m = (n + n_rest) / 2``. It has a width at 0 and 1, too.
    """
    m = (n + n_rest) / 2

    def beyond(t: float) -> float:
        variance = t * (1 - t) * (1 + (m - 1) * ((1 - t) / (2 - t) + t / (1 + t))) / (n * n_rest)
        return abs(area - t) - _Z * float(np.sqrt(variance))

    edge = 1e-9  # at 0 and 1 themselves the equation holds, and is not meant
    low = 0.0 if area <= edge else float(optimize.brentq(beyond, 0.0, min(area, 1 - edge)))
    high = 1.0 if area >= 1 - edge else float(optimize.brentq(beyond, max(area, edge), 1.0))
    return low, high
