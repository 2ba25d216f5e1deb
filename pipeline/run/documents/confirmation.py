"""What the interventions said of the classes whose images were edited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pipeline.run import folder
from pipeline.run.documents.base import Document
from pipeline.verdicts import InterventionVerdict, MapVerdict

Role = Literal["top", "control"]


@dataclass(frozen=True)
class EditEffect:
    """Mean over ``n`` images with its interval; None where it is not defined."""

    n: int
    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class EditedClass:
    """A class whose images were edited: verdict of the edits, and of the maps (``attribution``)."""

    label: int
    class_name: str
    role: Role
    verdict: InterventionVerdict
    attribution: MapVerdict
    strength: float | None
    low: float | None
    n_needed: int | None
    effects: dict[str, EditEffect]


@dataclass(frozen=True)
class ConfirmationDocument(Document):
    """What the interventions said.

    Attributes:
        plan: how much was asked for.
        relevant: effect from which on it counts; passes: forward passes needed.
        n_shards: finished shards of the run at that time; counts: classes by verdict.
    """

    FILE: ClassVar[str] = folder.CONFIRMATION
    MADE_BY: ClassVar[str] = "hansaudit confirm"
    TABLE: ClassVar[str] = folder.CONFIRMATION_TABLE

    method: str
    plan: dict[str, int]
    relevant: float
    passes: int
    n_shards: int
    counts: dict[str, int]
    classes: tuple[EditedClass, ...]
