"""What the network wants to see of some classes: activation maximisation, as the report shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pipeline.run import folder
from pipeline.run.documents.base import Document


@dataclass(frozen=True)
class VisualizedClass:
    """One class; ``before``, ``after``: its logit on the noise and on the pictures, mean over these."""

    label: int
    class_name: str
    before: float
    after: float


@dataclass(frozen=True)
class VisualizedDocument(Document):
    """The classes that were drawn, each from ``pictures`` seeded noises in ``steps`` steps.

    The pictures are in the table. They are of the model alone, so that other parts do not outdate them.
    """

    FILE: ClassVar[str] = folder.VISUALIZED
    MADE_BY: ClassVar[str] = "hansaudit report --visualize"
    TABLE: ClassVar[str] = folder.VISUALIZED_TABLE
    OF_SHARDS: ClassVar[bool] = False

    steps: int
    seed: int
    pictures: int
    classes: tuple[VisualizedClass, ...]
