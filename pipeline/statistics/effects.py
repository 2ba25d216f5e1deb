"""What the edited images of a run say of its classes: effects with intervals, tests, judgements.

Two contrasts decide. Both compare an image edited in one way with *the same image cut in the same way* whose
background comes from another class, so what the cutting itself does to the network cancels:

- ``sufficiency``: probability of the class without the object, on a background of its own class minus on one
  of another class. Above 0: the background alone says the class.
- ``necessity``: the same with the object in its place. Above 0: the object alone is not enough.

Where backgrounds say nothing about the class, own and foreign ones are exchangeable and both are 0 on
average, whatever the network does with holes, seams and the shape of boxes. The footing is therefore
absolute: what other classes do matters only where their background alone was shown to say nothing
(:mod:`~pipeline.statistics.ordinary`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy import stats

from pipeline.config_sections import RankingConfig
from pipeline.run.edited_parts import read_edited
from pipeline.run.store import Store
from pipeline.statistics.answers import GAP, RIM_DROP, Answers, effects_of, null_effects, read_answers
from pipeline.statistics.arrays import Flags, Floats, Ints
from pipeline.statistics.bounded import expected_worst, mean_exceeds, rates_of_asked
from pipeline.statistics.decision import Criterion
from pipeline.statistics.ordinary import RELEVANT, usual_effects
from pipeline.statistics.resampling import between_variance, images_needed, shrink
from pipeline.statistics.samples import DECIDING, LEVEL, Bounds, Effect, Samples
from pipeline.verdicts import Tested

WIDE = "wide_sufficiency"


@dataclass(frozen=True)
class Judgement:
    """What the edited images say of one class; undefined numbers are nan.

    Attributes:
        n: images edited.
        strength: the larger deciding contrast, minus what ordinary classes show; low, high: its interval.
        shrunk: ``strength`` shrunk by its uncertainty, by which classes are ordered.
        q: of the test that a deciding contrast exceeds :data:`RELEVANT`, false discovery rate controlled.
        n_needed: images that a statement would take, of undecided classes.
        effects: by name of the contrast; ``rim_drop``, ``background_gap``.
    """

    n: int
    tested: Tested
    strength: float
    low: float
    high: float
    shrunk: float
    q: float
    n_needed: int | None
    effects: Mapping[str, Effect]


@dataclass(frozen=True)
class Evidence:
    """What the edited images of a run say.

    Attributes:
        judgements: by label.
        null_depends: classes of which the same rule says that they depend on their background when foreign
            backgrounds stand for the own ones: should be 0.
        background_gap: of the run, mean over its classes; ``n``: images.
    """

    judgements: Mapping[int, Judgement]
    null_depends: int
    background_gap: Effect


def depends_on_background(relevant: float = RELEVANT) -> Criterion:
    """What a class that depends on its background fulfils; ``low`` is that of its :class:`Judgement`."""
    return Criterion("low", ">", relevant)


def judgements(store: Store, config: RankingConfig) -> dict[int, Judgement]:
    """Label -> what its edited images say; empty where a run has none.

    Raises:
        InputError: a part of the table cannot be used.
    """
    found = evidence(store, config)
    return {} if found is None else dict(found.judgements)


def evidence(store: Store, config: RankingConfig) -> Evidence | None:
    """What the edited images of a run say; None where it has none.

    Raises:
        InputError: a part of the table cannot be used.
    """
    table = read_edited(store)
    if table is None:
        return None
    return judge(read_answers(table, len(store.manifest["dataset"]["class_names"])), config)


def undecided_classes(table: pa.Table) -> tuple[int, ...]:
    """Labels whose edited images do not yet exclude that they depend on their background, strongest first.

    For spending further images where they decide. It stops early only what cannot matter any more: nothing
    that is called dependent later was chosen by its own success.
    """
    return open_classes(read_answers(table))


def open_classes(answers: Mapping[int, Answers]) -> tuple[int, ...]:
    """:func:`undecided_classes` of answers.

    *Excluded*: the rule of :func:`judge`, at a third of its level, since there are three looks.
    """
    samples = Samples.of(answers, effects_of)
    bounds = {name: samples.bounds(name) for name in DECIDING}
    usual = usual_effects(bounds)
    excluded = np.logical_and.reduce([bounds[name].early < RELEVANT + usual[name] for name in DECIDING])
    left = np.flatnonzero(~excluded)
    strength = np.fmax.reduce([bounds[name].mean - usual[name] for name in DECIDING])[left]
    order = np.argsort(-np.nan_to_num(strength, nan=-1.0), kind="stable")
    return tuple(np.array(samples.labels)[left[order]].tolist())


def judge(answers: Mapping[int, Answers], config: RankingConfig) -> Evidence:
    """The judgement of every class, in the light of the others.

    A class *depends on its background* iff q <= ``config.level`` for the test that ``sufficiency`` or
    ``necessity`` exceeds :data:`RELEVANT` and what ordinary classes show, and the lower limit of one of them
    does as well. It is *independent* iff the one-sided upper limits of both lie below that. It is a matter of
    the *rim* iff ``sufficiency`` is among what decides and, with the hole widened, its upper limit lies below
    :data:`RELEVANT` and it dropped beyond chance (the interval of the difference, image by image, lies above
    0).
    """
    samples = Samples.of(answers, effects_of)
    if not answers:
        return Evidence({}, 0, Effect(0, np.nan, np.nan, np.nan))
    decision, needed = _decide(samples, config), _needed(samples, config)
    bounds = {name: samples.bounds(name) for name in samples.values}
    vanishes = _vanishes_with_the_rim(samples, decision)
    tested = np.select(
        [decision.depends & vanishes, decision.depends, decision.independent],
        [Tested.RIM, Tested.DEPENDS, Tested.INDEPENDENT],
        default=Tested.UNDECIDED,
    )
    null = _decide(Samples.of(answers, null_effects), config)
    return Evidence(
        judgements={
            label: Judgement(
                n=answers[label].n,
                tested=Tested(tested[i]),
                strength=float(decision.strength[i]),
                low=float(decision.low[i]),
                high=float(decision.high[i]),
                shrunk=float(decision.shrunk[i]),
                q=float(decision.q[i]),
                n_needed=max(int(needed[i]), answers[label].n + 1) if tested[i] == Tested.UNDECIDED else None,
                effects={name: of_all.effect(i) for name, of_all in bounds.items()},
            )
            for i, label in enumerate(samples.labels)
        },
        null_depends=int(null.depends.sum()),
        background_gap=_mean_over_classes(bounds[GAP]),
    )


@dataclass(frozen=True)
class _Decision:
    """What the deciding contrasts say of all classes, arrays (C,): as in :class:`Judgement`.

    ``by``: deciding contrast -> classes whose lower limit exceeds :data:`RELEVANT` and what is usual.
    """

    depends: Flags
    independent: Flags
    by: Mapping[str, Flags]
    strength: Floats
    low: Floats
    high: Floats
    shrunk: Floats
    q: Floats


def _decide(samples: Samples, config: RankingConfig) -> _Decision:
    bounds = {name: samples.bounds(name) for name in DECIDING}
    usual = usual_effects(bounds)
    beyond = np.stack([bounds[name].mean - usual[name] for name in DECIDING])
    low = np.stack([bounds[name].low - usual[name] for name in DECIDING])
    high = np.stack([bounds[name].high - usual[name] for name in DECIDING])
    enough = bounds[DECIDING[0]].n >= config.n_min
    q = rates_of_asked(_p_values(samples, usual), enough, config.fdr)
    by = {name: enough & depends_on_background().holds(low[k]) for k, name in enumerate(DECIDING)}
    excluded = [bounds[name].ceiling < RELEVANT + usual[name] for name in DECIDING]
    strength = beyond.max(axis=0)
    error = np.where(beyond[0] >= beyond[1], bounds[DECIDING[0]].error, bounds[DECIDING[1]].error)
    return _Decision(
        depends=(q <= config.level) & np.logical_or.reduce(list(by.values())),
        independent=enough & np.logical_and.reduce(excluded),
        by=by,
        strength=strength,
        low=low.max(axis=0),
        high=high.max(axis=0),
        shrunk=_shrunk(strength, error),
        q=q,
    )


def _p_values(samples: Samples, usual: Mapping[str, Floats]) -> Floats:
    """p (C,) that a deciding contrast exceeds :data:`RELEVANT` and its ``usual``: of both together (Simes
    1986); nan where none is defined."""
    p = np.full((len(DECIDING), len(samples.labels)), np.nan)
    for k, name in enumerate(DECIDING):
        values = samples.values[name]
        defined = np.isfinite(values)
        exceeds = mean_exceeds(values, RELEVANT + usual[name], expected_worst(values[defined]))
        p[k] = np.where(defined.any(axis=1), exceeds, np.nan)
    place = np.arange(1, len(DECIDING) + 1)[:, None]
    simes = np.min(len(DECIDING) * np.sort(np.where(np.isnan(p), 1.0, p), axis=0) / place, axis=0)
    return np.where(np.isnan(p).all(axis=0), np.nan, simes)


def _shrunk(strength: Floats, error: Floats) -> Floats:
    """The strengths (C,) as :func:`~.resampling.shrink` shrinks them towards their median."""
    known = np.isfinite(strength)
    out = np.full(len(strength), np.nan)
    if known.any():
        centre = float(np.median(strength[known]))
        off, errors = strength[known] - centre, np.maximum(error[known], 1e-9)
        out[known] = centre + shrink(off, errors, between_variance(off, errors))
    return out


def _vanishes_with_the_rim(samples: Samples, decision: _Decision) -> Flags:
    wide, drop = samples.bounds(WIDE), samples.bounds(RIM_DROP)
    return decision.by["sufficiency"] & (wide.ceiling < RELEVANT) & (drop.low > 0)


def _needed(samples: Samples, config: RankingConfig) -> Ints:
    """Images (C,) that a statement takes, by the contrast that varies most."""
    variance = np.max([samples.variance(name) for name in DECIDING], axis=0)
    return images_needed(variance, config.n_min, RELEVANT, config.level)


def _mean_over_classes(bounds: Bounds) -> Effect:
    """The mean of the classes' means, each class alike, with its interval."""
    some = bounds.n > 0
    if not some.any():
        return Effect(0, np.nan, np.nan, np.nan)
    mean = float(bounds.mean[some].mean())
    half = float(stats.norm.ppf(1 - LEVEL / 2) * np.sqrt((bounds.error[some] ** 2).sum()) / some.sum())
    return Effect(int(bounds.n.sum()), mean, mean - half, mean + half)
