"""What a canary found of the marks that it planted: one network (a trial), and all of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from pipeline.run import folder
from pipeline.run.documents.base import Document
from pipeline.verdicts import ACCUSED, SHOWED, InterventionVerdict, MapVerdict, Tested, Verdict, verdict

Figures = dict[str, dict[str, float | None]]  # order of the classes -> figure -> value


@dataclass(frozen=True)
class PlantedCell:
    """A planted mark, and what was said of its class.

    Attributes:
        kind, probability, size, inside: the mark (:class:`pipeline.inputs.datasets.planted.Artefact`).
        added: probability of the class that the mark adds; used: that is enough to be caught with.
        rank: of the class in the ranking; verdict: what its heat maps say; test: what its edited images
            showed, None where there were none.
        carried: share of the images that really carry it, where that is not ``probability``.
    """

    kind: str
    probability: float
    size: float
    inside: bool
    class_name: str
    visible: bool
    added: float
    used: bool
    rank: int
    verdict: MapVerdict
    test: Tested | InterventionVerdict | None
    carried: float | None = None

    @property
    def said(self) -> Verdict:
        """What the audit says of the class in the end."""
        return verdict(self.verdict, None if self.test is None else Tested(SHOWED.get(self.test, self.test)))

    @property
    def found(self) -> bool:
        """Whether the audit points at the class."""
        return self.said in ACCUSED

    def content(self) -> dict[str, Any]:
        """JSON-ready; ``carried`` only where it is known."""
        return {name: value for name, value in asdict(self).items() if (name, value) != ("carried", None)}


@dataclass(frozen=True)
class TrialDocument(Document):
    """One network.

    Attributes:
        figures: of each order of the classes as a detector; recall: at k = 1, 2, ...
        classes_clean: classes without a mark; false_suspicious, false_confirmed, false_hidden: of these.
    """

    FILE: ClassVar[str] = folder.TRIAL
    MADE_BY: ClassVar[str] = "hansaudit canary"
    OF_SHARDS: ClassVar[bool] = False

    seed: int
    accuracy: float
    cells: tuple[PlantedCell, ...]
    figures: Figures
    recall: dict[str, list[float]]
    classes_clean: int
    false_suspicious: int
    false_confirmed: int
    false_hidden: int

    def content(self) -> dict[str, Any]:
        return super().content() | {"cells": [c.content() for c in self.cells]}


@dataclass(frozen=True)
class FalseAlarms:
    """Classes without a mark, and how many of them were called suspicious, confirmed, hidden."""

    classes: int
    suspicious: int
    confirmed: int
    hidden: int


@dataclass(frozen=True)
class CanaryDocument(Document):
    """The power of a set-up from all its trials; ``line`` says it in a sentence, ``about`` what it is."""

    FILE: ClassVar[str] = folder.CANARY
    MADE_BY: ClassVar[str] = "hansaudit canary --attach"
    OF_SHARDS: ClassVar[bool] = False  # of a canary's own runs

    about: str
    networks: int
    accuracy: float
    figures: Figures
    cells: tuple[PlantedCell, ...]
    false_alarms: FalseAlarms
    line: str

    def content(self) -> dict[str, Any]:
        return super().content() | {"cells": [c.content() for c in self.cells]}
