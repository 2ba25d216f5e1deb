"""What the network said to the edited images of a class, and the effects of the edits on each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.measure.interventions.kinds import all_contrasts
from pipeline.seeds import ImagePurpose, generator
from pipeline.statistics.arrays import Flags, Floats, Ints

RIM_DROP = "rim_drop"  # what a wider hole takes from `sufficiency`
GAP = "background_gap"  # ImageNet-9: accuracy on Mixed-Same minus that on Mixed-Rand (Xiao et al. 2020)
_GAP_OF, _GAP_LESS = "same_object", "other_object"
_ALONE, _WITH_OBJECT = "other", "other_object"  # a foreign background without the object, and with it


@dataclass(frozen=True)
class Answers:
    """The edited images of one class, n of them, sorted by their id.

    Attributes:
        probability: edit -> (n,) of the class; nan where the edit was not possible.
        hit: edit -> (n,) 1.0 where the class is the network's first answer, else 0.0; nan as above.
        donors: edit -> (n,) ids of the images whose background it got, "" for none.
        pulled: edit -> (n,) whether the network sees the donor's class in that foreign background alone.
    """

    example_id: tuple[str, ...]
    probability: Mapping[str, Floats]
    hit: Mapping[str, Floats]
    donors: Mapping[str, Sequence[str]]
    pulled: Mapping[str, Flags] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Images."""
        return len(self.example_id)


def read_answers(table: pa.Table, classes: int = 0) -> dict[int, Answers]:
    """Label -> answers, from rows of the table ``interventions`` in any order; a row counts once.

    With two classes no background is :attr:`Answers.pulled`: what does not speak for the one speaks for the
    other, so leaving it out would leave out what is asked for. ``classes``: of the dataset, of which the
    table may hold fewer (only two have boxes, say).
    """
    columns = ["example_id", "label", "edit", "donor", "probability", "predicted"]
    rows = table.select(columns).to_pandas().drop_duplicates(["label", "example_id", "edit"])
    rows["edit"] = rows["edit"].astype(str)
    rows["hit"] = (rows["predicted"] == rows["label"]).astype(float)
    rows["donor"] = rows["donor"].fillna("")
    rows["pulled"] = _pulled(rows) if max(classes, rows["label"].nunique()) > 2 else False
    return {int(label): _answers(of_class) for label, of_class in rows.groupby("label", sort=True)}


def _pulled(rows: pd.DataFrame) -> pd.Series:
    """Rows of an object on a foreign background that alone gets its donor's class as the answer."""
    kind, variant = (rows["edit"].str.partition(":")[k] for k in (0, 2))
    of_donor = rows["donor"].map(dict(zip(rows["example_id"], rows["label"], strict=True)))
    seen = (kind == _ALONE) & (rows["predicted"] == of_donor)
    pair = rows["example_id"] + "\0" + variant
    return (kind == _WITH_OBJECT) & pair.isin(pair[seen])


def _answers(rows: pd.DataFrame) -> Answers:
    values = ["probability", "hit", "donor", "pulled"]
    wide = rows.pivot(index="example_id", columns="edit", values=values).sort_index()

    def numbers(name: str) -> dict[str, Floats]:
        return {str(k): v.to_numpy(dtype=float) for k, v in wide[name].items()}

    donors = {str(k): v.fillna("").tolist() for k, v in wide["donor"].items() if (v.fillna("") != "").any()}
    pulled = {str(k): (v == True).to_numpy() for k, v in wide["pulled"].items() if (v == True).any()}  # noqa: E712
    return Answers(tuple(wide.index), numbers("probability"), numbers("hit"), donors, pulled)


def effects_of(answers: Answers) -> dict[str, Floats]:
    """Effect -> (n,), nan where an edit was not possible; the variants of an edit are averaged.

    The contrasts of :mod:`pipeline.measure.interventions.kinds` on the probability, ``rim_drop``, and
    ``background_gap`` on the accuracy. An object on a foreign background in which the network sees that
    background's own class counts in no contrast: it would lose there to the other class, whatever its own
    background does for it. The background gap is the literature's, and leaves out none.
    """
    probability = _unpulled(answers)
    effects: dict[str, Floats] = {
        c.name: _mean(probability, c.of, answers.n) - _mean(probability, c.less, answers.n)
        for c in all_contrasts().values()
    }
    effects[RIM_DROP] = effects["sufficiency"] - effects["wide_sufficiency"]
    effects[GAP] = _mean(answers.hit, _GAP_OF, answers.n) - _mean(answers.hit, _GAP_LESS, answers.n)
    return effects


def null_effects(answers: Answers) -> dict[str, Floats]:
    """The deciding contrasts (n,) as they are where backgrounds hold no class: their true mean is 0.

    Between two *foreign* backgrounds of the same image, with a sign that a coin decides for each image (the
    two differ in how their hole is filled); where an image has only one, between it and an own one.
    """
    signs = np.array([_coin(example_id) for example_id in answers.example_id])
    probability = _unpulled(answers)
    return {
        c.name: signs * _foreign_difference(probability, c.of, c.less, answers.n)
        for c in all_contrasts().values()
        if c.decides
    }


def _unpulled(answers: Answers) -> dict[str, Floats]:
    return {
        edit: np.where(answers.pulled[edit], np.nan, values) if edit in answers.pulled else values
        for edit, values in answers.probability.items()
    }


def _foreign_difference(values: Mapping[str, Floats], own: str, other: str, n: int) -> Floats:
    undefined = np.full(n, np.nan)
    first, second = (values.get(f"{other}:{k}", undefined) for k in (0, 1))
    both = first - second
    return np.where(np.isfinite(both), both, _mean(values, own, n) - _mean(values, other, n))


def _coin(example_id: str) -> float:
    return float(generator(0, example_id, ImagePurpose.NULL_SIGN).choice((-1.0, 1.0)))


def _mean(values: Mapping[str, Floats], kind: str, n: int) -> Floats:
    """Mean (n,) over the variants of an edit, as far as they are defined."""
    variants = np.array([v for k, v in values.items() if k.partition(":")[0] == kind]).reshape(-1, n)
    count = np.isfinite(variants).sum(axis=0)
    return np.where(count > 0, np.nansum(variants, axis=0) / np.maximum(count, 1), np.nan)


def shared_backgrounds(answers: Answers) -> Ints:
    """Group (n,) of every image: images that got the same background are in one, by whichever edit.

    Images with the same background have more in common than their class. Almost always every image has donors
    of its own, and every group one image.
    """
    group = list(range(answers.n))

    def root(i: int) -> int:
        while group[i] != i:
            i = group[i]
        return i

    first: dict[tuple[str, str], int] = {}
    for edit, donors in answers.donors.items():
        kind = edit.partition(":")[0]
        for i, donor in enumerate(donors):
            if donor:
                group[root(i)] = root(first.setdefault((kind, donor), i))
    return np.array([root(i) for i in range(answers.n)], dtype=np.int64)


def units(values: Floats, groups: Ints) -> Floats:
    """One value (m,) per group: the mean of its defined ones."""
    defined = np.isfinite(values)
    _, place = np.unique(groups[defined], return_inverse=True)
    return np.bincount(place, values[defined]) / np.maximum(np.bincount(place), 1)
