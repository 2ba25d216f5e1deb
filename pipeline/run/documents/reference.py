"""Which network a run was compared with, and on how many of its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pipeline.run import folder
from pipeline.run.documents.base import Document


@dataclass(frozen=True)
class ReferenceDocument(Document):
    """The reference network of a run; what it shows of every image is the table beside this.

    Attributes:
        source: what was named: a model, or the folder of a run.
        name, model_sha256, card: of the network, as the manifest of its run has them.
        of_run: id of its run; method: whose maps its lift is of; run_method: whose the audited network's is.
        classes, n_classes: of the run's classes with images, those that the reference has, too; all of them.
        images, n_images: of the run's images, those that the reference explains for their own class; all.
        edited: images that both networks were shown edited alike.
        accuracy, reference_accuracy: share of the images with both predictions that each has right.
        windows: images whose pasted window both networks were shown alike.
        notes: in what the two runs differ, and what that means for the comparison, a sentence each.
    """

    FILE: ClassVar[str] = folder.REFERENCE
    MADE_BY: ClassVar[str] = "hansaudit run"
    TABLE: ClassVar[str] = folder.REFERENCE_TABLE

    source: str
    name: str
    model_sha256: str
    card: dict[str, Any]
    of_run: str
    method: str
    run_method: str
    classes: int
    n_classes: int
    images: int
    n_images: int
    edited: int
    accuracy: float | None
    reference_accuracy: float | None
    notes: tuple[str, ...]
    windows: int = 0  # none in documents of before they were compared
