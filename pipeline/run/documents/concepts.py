"""Which channels of a layer speak for a class, where they look, and whether the network needs them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from pipeline.run import folder
from pipeline.run.documents.base import Document


@dataclass(frozen=True)
class ChannelEvidence:
    """One channel of the layer, of those with most relevance for the class.

    Intervals are 95 % BCa over images; None where one image or none has the value.

    Attributes:
        channel: number within the layer, from 0.
        share, share_low, share_high: its relevance over that of all channels (sum of their sizes), mean.
        outside, outside_low, outside_high: share of the positive relevance of its own map outside the boxes,
            mean over the images with a box; None where there is none.
        fall, fall_low, fall_high: by how much the class's log odds fall when the channel is replaced.
        comparable: channels whose relevance for the class is nearest to its own, the yardstick.
        comparable_share: mean of theirs.
        expected_fall: their mean fall, times the channel's share over theirs.
        beyond, beyond_low, beyond_high: fall minus the expected one, image by image.
    """

    channel: int
    share: float
    share_low: float | None
    share_high: float | None
    outside: float | None
    outside_low: float | None
    outside_high: float | None
    fall: float
    fall_low: float | None
    fall_high: float | None
    comparable: tuple[int, ...]
    comparable_share: float | None
    expected_fall: float | None
    beyond: float | None
    beyond_low: float | None
    beyond_high: float | None

    @property
    def falls(self) -> bool:
        """The class falls without it, for certain."""
        return self.fall_low is not None and self.fall_low > 0

    @property
    def needed(self) -> bool | None:
        """Whether the class falls further than its relevance lets expect, by other channels.

        None: it has more than twice the relevance of any that it could be compared with.
        """
        if self.comparable_share is None or self.share > 2 * self.comparable_share:
            return None
        return self.falls and self.beyond_low is not None and self.beyond_low > 0

    @property
    def said(self) -> str:
        """What its replacement shows of the class, in words."""
        if not self.falls:
            return "does not surely fall"
        if self.needed is None:
            return "falls; none compares"
        return "falls beyond its share" if self.needed else "falls as its share"


@dataclass(frozen=True)
class ClassConcepts:
    """The channels of one layer for one class.

    Attributes:
        label, class_name, method, layer: what was asked; n_channels: channels of the layer.
        n, n_boxed: images that were explained, and those of them with a usable box.
        outside_area: mean share of the picture outside the boxes: what a map that knows nothing puts there.
        replaced_by: ``mean`` (over images of other classes) or ``zero``; n_other: images of that mean.
    """

    label: int
    class_name: str
    method: str
    layer: str
    n_channels: int
    n: int
    n_boxed: int
    outside_area: float | None
    replaced_by: str
    n_other: int
    channels: tuple[ChannelEvidence, ...]

    @property
    def replaced(self) -> str:
        """What channels were replaced by, in words."""
        if self.replaced_by == "zero":
            return "0"
        if not self.n_other:
            return "their mean over the images of the class (the run has no other)"
        return f"their mean over {self.n_other} images of other classes"


@dataclass(frozen=True)
class ConceptsDocument(Document):
    """The channels of the classes that were looked into, by class and layer."""

    FILE: ClassVar[str] = folder.CONCEPTS
    MADE_BY: ClassVar[str] = "hansaudit concepts"
    TABLE: ClassVar[str] = folder.CONCEPTS_TABLE

    classes: tuple[ClassConcepts, ...]

    def content(self) -> dict[str, Any]:
        return super().content() | {"classes": [asdict(c) for c in self.classes]}
