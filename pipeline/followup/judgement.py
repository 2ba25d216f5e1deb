"""What the interventions did to a class, with intervals, and the verdict. Numbers in, numbers out.

Two contrasts decide. Both compare an image edited in one way with *the same image cut in the same way* whose
background comes from another class, so what the cutting itself does to the network cancels:

- ``sufficiency``: probability of the class without the object, on backgrounds of its own class minus on
  backgrounds of other classes. Above 0: the background alone says the class.
- ``necessity``: the same with the object in its place. Above 0: the object alone is not enough.

Where backgrounds say nothing about the class both are 0 on average, whatever the network does with holes,
seams and the shape of boxes. The others are reported beside them: how much the probability drops when the box
is removed, when an equally large box beside the object is removed, when the background is replaced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.measure.interventions.kinds import FULL, all_contrasts, all_interventions
from pipeline.statistics.decision import Criterion
from pipeline.statistics.resampling import bca_intervals, images_needed
from pipeline.verdicts import InterventionVerdict

DECIDING = tuple(contrast.name for contrast in all_contrasts().values() if contrast.decides)
RELEVANT = 0.1  # probability: what a background must contribute, beyond the control classes, to matter
LEVEL = 0.05
DRAWS = 2000
FEWEST_ORDINARY = 3


@dataclass(frozen=True)
class Effect:
    """Mean over the images of a class with its BCa interval; nan where undefined (``n`` images have it)."""

    n: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassEffects:
    """What was measured on one class.

    Attributes:
        values: effect -> (n,) one value per image, nan where an edit was not possible. See
            :func:`effects_of`.
        attribution: the ranking calls the class suspicious or unfocused.
    """

    label: int
    attribution: bool
    values: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Judgement:
    """Verdict of one class.

    ``strength``: the larger of the two deciding contrasts, minus the median of the other classes; ``low``:
    its lower limit; ``needed``: images needed for a statement, None where there are enough.
    """

    verdict: InterventionVerdict
    strength: float
    low: float
    needed: int | None
    effects: Mapping[str, Effect]


def effects_of(responses: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Per-image effects (n,) from the responses (n,) to the edits: probability of the class, or hit (0 or 1).

    ``responses``: by name of the edit, see :mod:`pipeline.measure.interventions.kinds`; the variants
    of a kind are averaged where they are defined.
    """

    def mean(name: str) -> np.ndarray:
        variants = np.stack([v for k, v in responses.items() if k.partition(":")[0] == name])
        count = np.isfinite(variants).sum(axis=0)
        return np.where(count > 0, np.nansum(variants, axis=0) / np.maximum(count, 1), np.nan)

    effects = {FULL: responses[FULL]}
    effects |= {c.name: mean(c.of) - mean(c.less) for c in all_contrasts().values()}
    for intervention in all_interventions():
        for name, values in responses.items():
            if name.partition(":")[0] in intervention.single:
                effects[f"drop_{name}"] = responses[FULL] - values
    return effects


def both_effects(responses: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Effect -> (n,), from the responses (n, 2) to the edits of one class.

    The effects on the probability keep their names, those on the accuracy get the prefix ``hit ``.
    """
    effects: dict[str, np.ndarray] = {}
    for column, prefix in enumerate(("", "hit ")):
        by_edit = {name: responses[name][:, column] for name in sorted(responses)}
        effects |= {prefix + name: values for name, values in effects_of(by_edit).items()}
    return effects


def summarise(values: np.ndarray, seed: int, level: float = LEVEL) -> Effect:
    """Mean and BCa interval of the finite values."""
    values = values[np.isfinite(values)]
    n = len(values)
    if n == 0:
        return Effect(0, np.nan, np.nan, np.nan)
    low, high = bca_intervals(values, np.array([0, n]), DRAWS, seed, level)
    mean = float(values.mean())
    if n > 1 and np.ptp(values) == 0:  # all alike: the bootstrap has no spread to show
        return Effect(n, mean, mean, mean)
    return Effect(n, mean, float(low[0]), float(high[0]))


def depends_on_background(relevant: float = RELEVANT) -> Criterion:
    """What a class that depends on its background fulfils; ``low`` is that of its :class:`Judgement`."""
    return Criterion("low", ">", relevant)


def judge(classes: Sequence[ClassEffects], n_min: int = 5, seed: int = 0) -> list[Judgement]:
    """The verdict of each class, in the light of the others.

    A class *depends on its background* iff the lower limit of ``sufficiency`` or of ``necessity`` (two
    contrasts: each at half the level) exceeds ``RELEVANT`` + the median of that contrast over the other
    classes that the ranking does not suspect (over all others where these are fewer than 3), if that is above
    0. What ordinary classes share, natural context or a leak of the edit, is therefore no finding.
    """
    level = dict.fromkeys(DECIDING, LEVEL / len(DECIDING))
    effects = [{k: summarise(v, seed, level.get(k, LEVEL)) for k, v in c.values.items()} for c in classes]
    ordinary = [i for i, c in enumerate(classes) if not c.attribution]
    judged = []
    for i, measured in enumerate(classes):
        rest = [j for j in ordinary if j != i]
        rest = rest if len(rest) >= FEWEST_ORDINARY else [j for j in range(len(classes)) if j != i]
        judged.append(_judge_class(measured, effects[i], [effects[j] for j in rest], n_min))
    return judged


def _judge_class(
    measured: ClassEffects, effects: Mapping[str, Effect], others: Sequence[Mapping[str, Effect]], n_min: int
) -> Judgement:
    enough = {k: effects[k] for k in DECIDING if effects[k].n >= n_min}
    if not enough:
        spread = np.nanvar(measured.values["sufficiency"]) if effects["sufficiency"].n > 1 else 0.25
        needed = int(images_needed(np.array([max(spread, 0.01)]), n_min, RELEVANT)[0])
        return Judgement(InterventionVerdict.UNDECIDED, np.nan, np.nan, needed, effects)
    margin, low = {}, {}
    for name, effect in enough.items():
        typical = [o[name].mean for o in others if o[name].n]
        base = max(0.0, float(np.median(typical))) if typical else 0.0
        margin[name], low[name] = effect.mean - base, effect.low - base
    depends = depends_on_background().holds(max(low.values()))
    verdict = {
        (True, True): InterventionVerdict.CONFIRMED,
        (True, False): InterventionVerdict.ATTRIBUTION_ONLY,
        (False, True): InterventionVerdict.HIDDEN,
        (False, False): InterventionVerdict.CLEAN,
    }[measured.attribution, depends]
    return Judgement(verdict, max(margin.values()), max(low.values()), None, effects)
