"""Two runs on the same images compared class by class: the audited network against its baseline.

The change of a class's lift is that of its images, adjusted as the lift itself is: minus what is usual for
boxes of that size and place among the other classes (:mod:`pipeline.statistics.adjust`), so a method or a
network that changes every class alike changes none. The change of its effect is that of the two deciding
contrasts on images that both runs edited.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pipeline.config_sections import RankingConfig
from pipeline.errors import InputError
from pipeline.run.images import Images, read_images
from pipeline.run.ranking_settings import own_settings, ranking_method
from pipeline.run.store import Store
from pipeline.statistics.adjust import adjust, leave_one_out_median
from pipeline.statistics.arrays import Flags, Floats, Ints
from pipeline.statistics.differences import (
    RELEVANT_LIFT,
    MeasuredChange,
    Pairs,
    changes,
    measure_change,
)
from pipeline.statistics.edited_pairs import effect_changes
from pipeline.statistics.resampling import class_means
from pipeline.verdicts import Change

# settings that decide what a stored figure means, in the manifest -> what it is called
_SAME: Final[Mapping[str, str]] = {
    "schema_version": "version of the tables",
    "dataset.fingerprint": "images or labels",
    "dataset.split": "split",
    "dataset.n_examples": "number of images",
    "dataset.class_ids": "classes",
    "model.card.height": "input height",
    "model.card.width": "input width",
    "model.card.resize": "resize",
    "model.card.shorter_side": "shorter side",
    "config.audit.target": "class explained (audit.target)",
    "config.audit.pooling": "audit.pooling",
    "config.ranking.images": "images that count (ranking.images)",
}
_LONGEST: Final = 80


@dataclass(frozen=True)
class ClassChange:
    """What became of one class.

    Attributes:
        change: the word; q: false discovery rate at which it is said; None where nothing was compared.
        before, after: verdict of the audit in the baseline and in the run; empty where it has none.
        n: images compared by their maps; lift, lift_low, lift_high: change of the adjusted lift.
        n_edited: images compared by their edits; effect ...: change of the deciding contrast that changed
            most surely.
    """

    label: int
    class_id: str
    class_name: str
    change: Change
    before: str
    after: str
    q: float | None = None
    n: int = 0
    lift: float | None = None
    lift_low: float | None = None
    lift_high: float | None = None
    n_edited: int = 0
    effect: float | None = None
    effect_low: float | None = None
    effect_high: float | None = None


@dataclass(frozen=True)
class Comparison:
    """A run against its baseline.

    Attributes:
        methods: keys of the methods, of the baseline and of the run.
        classes: every class of the dataset that either run ranks, worst first.
        n_images: images compared; accuracy: of the baseline and of the run, over images that both predicted.
        lift: mean change of the lift over the images compared, which the classes' changes leave out.
    """

    run: str
    baseline: str
    methods: tuple[str, str]
    classes: tuple[ClassChange, ...]
    n_images: int
    accuracy: tuple[float | None, float | None]
    lift: float | None

    def count(self, change: Change) -> int:
        """Classes of which this is said."""
        return sum(c.change is change for c in self.classes)


def compare(
    run: Store,
    baseline: Store,
    verdicts: tuple[Mapping[int, str], Mapping[int, str]],
    methods: tuple[str, str] | None = None,
) -> Comparison:
    """Compare ``run`` with ``baseline``.

    ``verdicts``: label -> verdict, of the baseline and of the run; ``methods``: the same for the methods, by
    default the one that each ranks by, which then must be the same.

    Raises:
        InputError: the runs are not of the same images, geometry, method or settings: what differs is said.
    """
    settings = own_settings(run.manifest)
    if methods is None:
        methods = (ranking_method(baseline.manifest), ranking_method(run.manifest))
        refuse_incomparable(run, baseline, methods)
    else:
        refuse_incomparable(run, baseline, None)
    old, new = (read_images(*of, metrics=("lift",)) for of in ((baseline, methods[0]), (run, methods[1])))
    both = _Both.of(old, new, settings)
    measures = {"lift": _lift_change(both, settings)} | effect_changes(run, baseline, settings.n_min)
    made = changes(list(measures.values()), *verdicts)
    rows = _rows(run.manifest["dataset"], made.label, made.change, made.q, measures, verdicts)
    return Comparison(
        run=run.path,
        baseline=baseline.path,
        methods=methods,
        classes=tuple(sorted(rows, key=_place)),
        n_images=len(both.label),
        accuracy=both.accuracy,
        lift=float(both.lift.mean()) if len(both.lift) else None,
    )


def refuse_incomparable(run: Store, baseline: Store, methods: tuple[str, str] | None) -> None:
    """Raises :class:`InputError` that says in what two runs differ, if they cannot be compared."""
    differences = list(_differences(baseline.manifest, run.manifest))
    if methods is not None and methods[0] != methods[1]:
        differences.append(f"method: {methods[0]} there, {methods[1]} here")
    if differences:
        raise InputError(
            f"{run.path} cannot be compared with {baseline.path}: {'; '.join(differences)}; compare runs on "
            "the same images, with the same geometry and method"
        )


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name, words in _SAME.items():
        there, here = _value(old, name), _value(new, name)
        if there != here:
            yield f"{words}: {_short(there)} there, {_short(here)} here"


def _value(manifest: Mapping[str, Any], name: str) -> Any:
    value: Any = manifest
    for level in name.split("."):
        value = value.get(level) if isinstance(value, Mapping) else None
    return value


def _short(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} of them"
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


@dataclass(frozen=True)
class _Both:
    """The images that both runs rank (n,), by class: change of the lift, area and distance of the box."""

    label: Ints
    lift: Floats
    area: Floats
    distance: Floats
    accuracy: tuple[float | None, float | None]

    @classmethod
    def of(cls, old: Images, new: Images, settings: RankingConfig) -> _Both:
        _, i, j = np.intersect1d(old.index, new.index, assume_unique=True, return_indices=True)
        order = np.argsort(new.label[j], kind="stable")
        i, j = i[order], j[order]
        predicted = old.predicted[i] & new.predicted[j]
        used = _used(old, settings)[i] & _used(new, settings)[j]
        shares = tuple(
            float(of.correct[k][predicted].mean()) if predicted.any() else None
            for of, k in ((old, i), (new, j))
        )
        i, j = i[used], j[used]
        return cls(
            label=new.label[j],
            lift=new.scores["lift"][j] - old.scores["lift"][i],
            area=new.area[j].astype(float),
            distance=new.distance[j].astype(float),
            accuracy=(shares[0], shares[1]),
        )


def _used(images: Images, settings: RankingConfig) -> Flags:
    used = images.ok & (images.label >= 0)
    return used & images.correct if settings.images == "correct" else used


def _lift_change(both: _Both, settings: RankingConfig) -> MeasuredChange:
    """Change of the adjusted lift per class; of the lift itself where there is no second class."""
    label, first = np.unique(both.label, return_index=True)
    if len(label) < 2:
        return measure_change(Pairs(both.label, both.lift, RELEVANT_LIFT, -1), settings.n_min)
    bounds = np.concatenate([first, [len(both.label)]]).astype(np.int64)
    adjusted = adjust(both.lift, both.area, both.distance, bounds)
    if adjusted.fit.scale == 0:  # most images did not change at all, or alike: there is no curve to fit
        sizes = np.diff(bounds)
        usual = leave_one_out_median(class_means(both.lift, bounds), sizes.astype(float))
        alike = Pairs(both.label, both.lift - np.repeat(usual, sizes), RELEVANT_LIFT, -1)
        return measure_change(alike, settings.n_min)
    pairs = Pairs(both.label, adjusted.residual, RELEVANT_LIFT, -1, adjusted.curve_variance)
    return measure_change(pairs, settings.n_min)


def _rows(
    dataset: Mapping[str, Any],
    label: Ints,
    words: Sequence[Change],
    q: Floats,
    measures: Mapping[str, MeasuredChange],
    verdicts: tuple[Mapping[int, str], Mapping[int, str]],
) -> list[ClassChange]:
    before, after = verdicts
    names = dataset["class_names"]
    ids = dataset.get("class_ids") or names
    place = {int(k): i for i, k in enumerate(label)}
    rows = []
    for k in sorted({*before, *after, *place}):
        figures = _figures("lift", "n", [measures["lift"]], k)
        figures |= _figures("effect", "n_edited", [m for name, m in measures.items() if name != "lift"], k)
        if k in place:
            figures["q"] = _number(q[place[k]])
        rows.append(
            ClassChange(
                label=k,
                class_id=str(ids[k]),
                class_name=str(names[k]),
                change=words[place[k]] if k in place else Change.UNDECIDED,
                before=before.get(k, ""),
                after=after.get(k, ""),
                **figures,
            )
        )
    return rows


def _figures(name: str, count: str, measures: Sequence[MeasuredChange], label: int) -> dict[str, Any]:
    """The fields of :class:`ClassChange` that the surest of these measures fills for a class."""
    places = [(m, int(i)) for m in measures for i in np.flatnonzero(m.label == label)]
    if not places:
        return {}
    of, i = min(places, key=lambda place: np.nan_to_num(place[0].smallest[place[1]], nan=1.0))
    ends = {f"{name}_low": of.low[i], f"{name}_high": of.high[i]}
    numbers = {name: of.mean[i]} | ends
    return {count: int(of.n[i])} | {key: _number(value) for key, value in numbers.items()}


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _place(row: ClassChange) -> tuple[int, float, int]:
    """Worst first: by word, then by how much the effect rose or the lift fell."""
    harm = max(row.effect or 0.0, -(row.lift or 0.0), key=abs) if row.effect is not None else -(row.lift or 0)
    return list(Change).index(row.change), -harm, row.label
