"""Images whose label or box may be wrong, beside the ranking: candidates, no part of any verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, Final

from pipeline.csv_text import csv_line
from pipeline.run import folder
from pipeline.run.documents.base import Document
from pipeline.terms import Term

FIRST: Final = 1000  # candidates of a kind in the document: more than a person looks through


class Evidence(Term):
    """What speaks against a box."""

    MAP = "map", "the map alone: the picture was not edited, or its edits say nothing"
    MAP_AND_EDITS = (
        "map_and_edits",
        "the map and the edits: what is inside the box does not carry the class, what is outside does",
    )


@dataclass(frozen=True)
class LabelCandidate:
    """An image that the network is sure is of another class.

    Attributes:
        confidence: of ``prediction``; threshold: mean of what images labelled so get.
        label_probability: of the label.
        accused: the predicted class is confirmed or suspected itself: its mark may be in the picture.
    """

    example_id: str
    file_name: str
    label: int
    class_name: str
    prediction: int
    predicted_name: str
    confidence: float
    threshold: float
    label_probability: float
    accused: bool


@dataclass(frozen=True)
class BoxCandidate:
    """An image whose map misses its box as no other of its class does.

    Attributes:
        adjusted_lift, class_median: of the image, and of the ranked images of its class.
        z: how far it lies below, in robust standard deviations (negative).
        object_keeps, background_keeps: share of the probability that the box on a foreign background, and
            the rest without the box, keep; None where not edited.
        accused: its class is confirmed or suspected: that may be the reason as well.
    """

    example_id: str
    file_name: str
    label: int
    class_name: str
    adjusted_lift: float
    class_median: float
    z: float
    object_keeps: float | None
    background_keeps: float | None
    evidence: Evidence
    accused: bool


@dataclass(frozen=True)
class TriageDocument(Document):
    """The candidates of a run: how many there are, and the first ones. All of them are in its table.

    Attributes:
        method: whose maps; n_labels, n_boxes: images that were looked at for either; n_min: images from which
            on a class has a threshold or a median.
        n_mirrored: images that lie as far above the median of their class as candidates lie below.
        limits: of the rules (:mod:`pipeline.statistics.triage`).
        labels, boxes: the first :data:`FIRST` candidates of each kind, those with the most to be said for
            them first; label_candidates, box_candidates: how many there are, None in a document of an earlier
            version, which holds all.
    """

    FILE: ClassVar[str] = folder.TRIAGE
    MADE_BY: ClassVar[str] = "hansaudit rank"
    TABLE: ClassVar[str] = folder.TRIAGE_TABLE

    method: str
    n_labels: int
    n_boxes: int
    n_min: int
    n_mirrored: int
    limits: dict[str, float]
    labels: tuple[LabelCandidate, ...]
    boxes: tuple[BoxCandidate, ...]
    label_candidates: int | None = None
    box_candidates: int | None = None

    @property
    def counts(self) -> tuple[int, int]:
        """How many images may have a wrong label, and how many a wrong box."""
        labels, boxes = self.label_candidates, self.box_candidates
        return (
            len(self.labels) if labels is None else labels,
            len(self.boxes) if boxes is None else boxes,
        )


_COLUMNS = (
    *("candidate", "example_id", "file_name", "label", "class_name", "class_accused"),
    *("prediction", "predicted_name", "confidence", "threshold", "label_probability"),
    *("adjusted_lift", "class_median", "z", "object_keeps", "background_keeps", "evidence"),
)


def candidates_csv(labels: Iterable[LabelCandidate], boxes: Iterable[BoxCandidate]) -> str:
    """The table beside the document: a row per candidate, labels first; what does not apply is empty."""
    cells = chain([_COLUMNS], map(_label_cells, labels), map(_box_cells, boxes))
    return "".join(map(csv_line, cells))


def _label_cells(one: LabelCandidate) -> tuple[object, ...]:
    head = ("label", one.example_id, one.file_name, one.label, one.class_name, one.accused)
    seen = (one.prediction, one.predicted_name, one.confidence, one.threshold, one.label_probability)
    return (*head, *seen, *6 * (None,))


def _box_cells(box: BoxCandidate) -> tuple[object, ...]:
    head = ("box", box.example_id, box.file_name, box.label, box.class_name, box.accused)
    lift = (box.adjusted_lift, box.class_median, box.z)
    return (*head, *5 * (None,), *lift, box.object_keeps, box.background_keeps, box.evidence.value)
