"""Single images whose label or box may be wrong: candidates for a person, apart from what classes are accused
of.

A wrong label looks like a network that is surely wrong; a wrong box like a network that looks beside the
object. Clever Hans is a habit of a class: what sets an image apart here is that its class does otherwise.

Labels by confident learning (Northcutt, Jiang and Chuang 2021, J. Artif. Intell. Res. 70, section 3.1), with
the two probabilities that a run stores of an image. Boxes by robust outliers inside a class (the
modified z score of Iglewicz and Hoaglin 1993); edited pictures, where there are some, agree or acquit.
`python -m benchmarks.triage RUN` measures both on labels and boxes that are made wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from pipeline.measure.interventions.kinds import FULL
from pipeline.run.documents import BoxCandidate, LabelCandidate, TriageDocument, records
from pipeline.run.documents.triage import FIRST, Evidence, candidates_csv
from pipeline.run.edited_parts import read_edited
from pipeline.run.scores import read_scores
from pipeline.run.store import Store
from pipeline.statistics.answers import read_answers
from pipeline.statistics.arrays import Flags, Floats
from pipeline.statistics.frames import image_frame, of_images
from pipeline.statistics.ranking import Ranking
from pipeline.verdicts import ACCUSED

SURE: Final = 0.5  # of the other class at least: more than of all the rest together
TIMES: Final = 10.0  # and so many times as sure as of the label
OUTLYING: Final = 3.0  # robust standard deviations below the class's median
KEPT: Final = (
    0.5  # share of the probability that what is left of a picture must keep to say that it is in there
)
_AT_ONCE: Final = 1 << 13
_MAD: Final = 1.4826  # median absolute deviation -> standard deviation, of normal values
_OBJECT, _BACKGROUND = "other_object:0", "same:0"  # the box on a foreign background; the rest without the box
_COLUMNS = (
    "example_id",
    "index",
    "file_name",
    "label",
    "prediction",
    "confidence",
    "label_probability",
    "correct",
)


@dataclass(frozen=True)
class Triage:
    """The candidates of a run: ``document`` holds the first, ``csv`` (its table) all of them."""

    document: TriageDocument
    csv: str


def triage(store: Store, ranking: Ranking) -> Triage:
    """The candidates of a run, by its ranking's method.

    Raises :class:`InputError` for parts that cannot be read.
    """
    images = read_images(store, ranking)
    names = [str(name) for name in store.manifest["dataset"].get("class_names") or []]
    n_min = ranking.settings.n_min
    labels = label_candidates(images, n_min)
    spread = box_spread(images, n_min)
    boxes = box_candidates(images.join(spread))
    accused = set(ranking.table.loc[ranking.table["verdict"].isin(ACCUSED), "label"])
    document = TriageDocument(
        method=ranking.method,
        n_labels=int(images["prediction"].notna().sum()),
        n_boxes=int(spread["z"].notna().sum()),
        n_min=n_min,
        n_mirrored=int((spread["z"] >= OUTLYING).sum()),
        limits={"sure": SURE, "times": TIMES, "outlying": OUTLYING, "kept": KEPT},
        labels=tuple(_label(row, names, accused) for row in records(labels.head(FIRST))),
        boxes=tuple(_box(row, names, accused) for row in records(boxes.head(FIRST))),
        label_candidates=len(labels),
        box_candidates=len(boxes),
    )
    table = candidates_csv(
        (_label(row, names, accused) for row in _each(labels)),
        (_box(row, names, accused) for row in _each(boxes)),
    )
    return Triage(document, table)


def _each(candidates: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The rows, a few thousand of them as objects at a time: a run of millions has hundreds of thousands."""
    for start in range(0, len(candidates), _AT_ONCE):
        yield from records(candidates.iloc[start : start + _AT_ONCE])


def label_candidates(images: pd.DataFrame, n_min: int) -> pd.DataFrame:
    """The images that are surely of another class than their label, surest first; adds ``threshold``.

    With ``t_k`` the mean probability of class ``k`` over the images labelled ``k`` (n >= ``n_min``), an image
    labelled ``y`` and predicted ``k != y`` is one where ``p_k >= max(t_k, SURE)`` and ``p_k >= TIMES p_y``.

    ``images``: label, prediction (nan where there is none), confidence, label_probability, a row per image.
    """
    numbers = images[["label", "prediction", "confidence", "label_probability"]]
    known = numbers[(numbers["label"] >= 0) & numbers["prediction"].notna()]
    of_class = known.groupby("label")["label_probability"]
    usual = of_class.mean()[of_class.count() >= n_min]
    threshold = known["prediction"].map(usual)
    sure = known["confidence"] >= np.maximum(threshold, SURE)  # nan where too few images: not sure
    other = known["prediction"] != known["label"]
    clear = known["confidence"] >= TIMES * known["label_probability"]
    clearly_other = known.index[other & sure & clear]
    chosen = images.loc[clearly_other].assign(threshold=threshold.loc[clearly_other])
    margin = chosen["label_probability"] - chosen["confidence"]
    return chosen.loc[margin.sort_values(kind="stable").index]


def box_spread(images: pd.DataFrame, n_min: int) -> pd.DataFrame:
    """How far each image lies from its class: ``median`` of the class and ``z``, nan where not ranked.

    ``z = (lift - median of the class) / s``, with ``s`` the scaled median absolute deviation of all images
    from the medians of their classes: one class has too few images for a spread of its own. Classes of fewer
    than ``n_min`` ranked images have none. ``images``: label, adjusted_lift (nan where not ranked).
    """
    lift = images["adjusted_lift"].where(images["label"] >= 0)
    grouped = lift.groupby(images["label"])
    median = grouped.transform("median").where(grouped.transform("count") >= n_min)
    off = lift - median
    scale = _MAD * float(off.abs().median())
    z = off / scale if scale > 0 else off * np.nan
    return pd.DataFrame({"median": median, "z": z}, index=images.index)


def box_candidates(images: pd.DataFrame) -> pd.DataFrame:
    """The images whose map misses the box as no other of their class does; adds ``evidence``.

    ``z <= -OUTLYING``, the map finds the box worse than chance (lift < 0), and its strongest point does not
    lie inside (pointing 0, or undefined where several are strongest). Where the picture was edited, the box
    on another background and the rest without the box keep shares ``object_keeps`` and ``background_keeps``
    of the probability: an image whose box keeps it is acquitted; where the rest keeps it and the box does
    not, the edits agree, and it comes first.
    """
    outlying = (images["z"] <= -OUTLYING) & (images["lift"] < 0) & (images["pointing"] != 1)
    acquitted = images["object_keeps"] >= KEPT  # nan where not edited: not acquitted
    chosen = images[outlying & ~acquitted]
    agrees = (chosen["background_keeps"] >= KEPT) & chosen["object_keeps"].notna()
    evidence = pd.Series(np.where(agrees, Evidence.MAP_AND_EDITS, Evidence.MAP), index=chosen.index)
    order = chosen.assign(evidence=evidence, agrees=agrees)
    return order.sort_values(["agrees", "z"], ascending=[False, True], kind="stable")


def read_images(store: Store, ranking: Ranking) -> pd.DataFrame:
    """A row per image: the columns of the rules above."""
    asked = [(ranking.method, metric) for metric in ("lift", "pointing")]
    scores = read_scores(store, _COLUMNS, asked)
    ids, (lift, pointing) = scores.examples["example_id"], scores.values.T
    keeps = _kept(store)
    return image_frame(scores.examples).assign(
        lift=lift,
        pointing=pointing,
        adjusted_lift=ranking.adjusted_lift(scores.examples["index"].to_numpy()),
        object_keeps=of_images(ids, keeps[_OBJECT]),
        background_keeps=of_images(ids, keeps[_BACKGROUND]),
    )


def _kept(store: Store) -> Mapping[str, pd.Series]:
    """Edit -> share of the probability that the edited picture keeps, by example id."""
    table = read_edited(store)
    kept: dict[str, dict[str, float]] = {_OBJECT: {}, _BACKGROUND: {}}
    answers = read_answers(table) if table is not None else {}
    for of_class in answers.values():
        for edit, known in kept.items():
            if edit in of_class.probability and FULL in of_class.probability:
                share = _share(of_class.probability[edit], of_class.probability[FULL])
                known |= {
                    key: float(value)
                    for key, value in zip(of_class.example_id, share, strict=True)
                    if np.isfinite(value)
                }
    return {edit: pd.Series(known, dtype=float) for edit, known in kept.items()}


def _share(edited: Floats, full: Floats) -> Floats:
    usable: Flags = full > 0
    return np.divide(edited, full, out=np.full_like(full, np.nan), where=usable)


def _label(row: Mapping[str, Any], names: list[str], accused: set[int]) -> LabelCandidate:
    return LabelCandidate(
        example_id=row["example_id"],
        file_name=row["file_name"] or "",
        label=row["label"],
        class_name=_name(names, row["label"]),
        prediction=int(row["prediction"]),
        predicted_name=_name(names, int(row["prediction"])),
        confidence=row["confidence"],
        threshold=row["threshold"],
        label_probability=row["label_probability"],
        accused=int(row["prediction"]) in accused,
    )


def _box(row: Mapping[str, Any], names: list[str], accused: set[int]) -> BoxCandidate:
    return BoxCandidate(
        example_id=row["example_id"],
        file_name=row["file_name"] or "",
        label=row["label"],
        class_name=_name(names, row["label"]),
        adjusted_lift=row["adjusted_lift"],
        class_median=row["median"],
        z=row["z"],
        object_keeps=row["object_keeps"],
        background_keeps=row["background_keeps"],
        evidence=Evidence(row["evidence"]),
        accused=row["label"] in accused,
    )


def _name(names: list[str], label: int) -> str:
    return names[label] if 0 <= label < len(names) else f"class {label}"
