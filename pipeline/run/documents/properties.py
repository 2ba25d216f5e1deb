"""What the files of a run say of their classes without any network: shortcuts that lie in the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pipeline.run import folder
from pipeline.run.documents.base import Document
from pipeline.terms import FileProperty


@dataclass(frozen=True)
class ToldProperty:
    """How much one property says of the class, over all classes.

    Attributes:
        n: images that have it.
        information: bits that it says of the class, beyond what chance would.
        p: share of shuffled labels that say as much in any property (familywise).
        stands_out: p is at most the level, and ``information`` reaches the limit.
    """

    name: FileProperty
    n: int
    information: float
    p: float
    stands_out: bool


@dataclass(frozen=True)
class ToldClass:
    """How well one property alone tells one class from the rest.

    Attributes:
        name: of the property; n, n_rest: images of the class and of all others that have the property.
        auc: probability that an image of the class has the larger value than another one, ties half; ``low``,
            ``high``: 95 % interval. Below 0.5 the class has the smaller values.
        p: share of shuffled labels that lie as far from 0.5 in any class and property (familywise).
        stands_out: p is at most the level, and the interval of the strength begins at the limit or above.
        quantiles, quantiles_rest: 5, 25, 50, 75 and 95 % of the class's values, and of the others'.
    """

    label: int
    class_name: str
    name: FileProperty
    n: int
    n_rest: int
    auc: float
    low: float
    high: float
    p: float
    stands_out: bool
    quantiles: tuple[float, ...]
    quantiles_rest: tuple[float, ...]

    @property
    def strength(self) -> float:
        """The area under the curve, whichever way round."""
        return max(self.auc, 1 - self.auc)


@dataclass(frozen=True)
class PropertiesDocument(Document):
    """The property check of a run.

    Attributes:
        images: sampled ones with a class; classes_tested: those of which enough are among them, at least
            ``n_min``.
        limits: where the interval of an ``auc`` must begin, and which ``information`` must be reached, for a
            figure that is no chance to stand out.
        properties: the most telling first. classes: what stands out, of the files first, then the next ones.
        n_standing_out: classes and properties that stand out, listed or not.
    """

    FILE: ClassVar[str] = folder.PROPERTIES
    MADE_BY: ClassVar[str] = "hansaudit rank"

    images: int
    classes_tested: int
    n_min: int
    limits: dict[str, float]
    properties: tuple[ToldProperty, ...]
    classes: tuple[ToldClass, ...]
    n_standing_out: int
