"""What a look at a few images says before the first one is audited, and what was decided without being asked.

Stored in the manifest under :data:`KEY`. The words are here too: terminal, JSON and report say the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from pipeline import schema
from pipeline.errors import InputError

KEY: Final = "preflight"  # in the manifest


@dataclass(frozen=True)
class Sample:
    """``images`` that were read, of ``of``: how many have which status, and the commonest reasons."""

    images: int
    of: int
    status: dict[str, int]
    reasons: dict[str, int]


@dataclass(frozen=True)
class BoxesSeen:
    """Images of the sample with a stored box, with one the network sees, with one around everything it sees,
    with one that was left out as impossible; and the boxes in all."""

    stored: int
    visible: int
    covering: int
    faulty: int
    boxes: int


@dataclass(frozen=True)
class SizesSeen:
    """Width and height of the smallest and largest picture (by area); of how many the annotations state a
    size, and how many pictures have it."""

    smallest: tuple[int, int] | None
    largest: tuple[int, int] | None
    stated: int
    fitting: int


@dataclass(frozen=True)
class Names:
    """How many, and the first few of them."""

    count: int
    first: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassMatch:
    """Classes of the dataset and outputs of the network, matched ``by`` id, name or position.

    Attributes:
        pairs: the first few: class of the dataset, number of the output, what the card calls it ("" nothing).
        without_output: classes that the network does not have; without_class: outputs without a class.
    """

    classes: int
    outputs: int
    by: str
    pairs: tuple[tuple[str, int, str], ...]
    without_output: Names
    without_class: Names


@dataclass(frozen=True)
class NetworkFacts:
    """The network: its input (height, width, channels), the type of the input and that it computes with, the
    input for black and for white per channel, and what its outputs are."""

    name: str
    shape: tuple[int, int, int]
    dtype: str
    computes: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    output: str


@dataclass(frozen=True)
class Accuracy:
    """Top-1 accuracy on ``n`` images, its 95 % interval (Wilson 1927), and what knows nothing reaches.

    ``chance``: 1 / outputs; ``majority``: share of the commonest class of the sample, ``commonest``.
    """

    n: int
    right: int
    low: float
    high: float
    chance: float
    majority: float
    commonest: str

    def __str__(self) -> str:
        interval = f"95 % interval {_percent(self.low)} to {_percent(self.high)}"
        return f"{self.right} of {self.n} ({interval})"


@dataclass(frozen=True)
class Preflight:
    """A dataset and a network, looked at together.

    Attributes:
        accuracy: None where no image of the sample could be used.
        decisions: what was decided by position, by default or by guess; warnings: what looks wrong or could
            not be told. A sentence each.
    """

    sample: Sample
    boxes: BoxesSeen
    sizes: SizesSeen
    classes: ClassMatch
    network: NetworkFacts
    accuracy: Accuracy | None
    decisions: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return json.loads(json.dumps(asdict(self)))

    @property
    def summary(self) -> str:
        """One line."""
        looked, match = self.sample, self.classes
        right = f"accuracy {self.accuracy}" if self.accuracy else "accuracy unknown"
        return f"looked at {looked.images} of {looked.of} images: {right}; classes matched by {match.by}"

    def rows(self) -> list[tuple[str, str]]:
        """What was looked at and what came out, in words."""
        return [
            ("images", _sample(self.sample)),
            ("boxes", _boxes(self.boxes, self.sample.images)),
            ("sizes", _sizes(self.sizes)),
            ("classes", _classes(self.classes)),
            ("network", _network(self.network)),
            ("accuracy", _accuracy(self.accuracy)),
        ]


def read_preflight(manifest: Mapping[str, Any], where: str) -> Preflight | None:
    """That of a run; None where it has none. Raises :class:`InputError` for a faulty one."""
    if manifest.get(KEY) is None:
        return None
    try:
        return TypeAdapter(Preflight).validate_json(json.dumps(manifest[KEY]), strict=True)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, (KEY, *fault["loc"])))
        raise InputError(f"{where}: {place}: {fault['msg']}; was it edited?") from None


def _sample(sample: Sample) -> str:
    ordered = [f"{count} {name}" for name in schema.STATUSES if (count := sample.status.get(name))]
    looked = f"all {sample.of}" if sample.images == sample.of else f"{sample.images} of {sample.of}"
    told = [f"{count} x {reason}" for reason, count in sample.reasons.items()]
    return "; ".join([f"{looked} looked at: {', '.join(ordered)}", *told])


def _boxes(seen: BoxesSeen, images: int) -> str:
    parts = [f"{seen.boxes} boxes on {seen.stored} of {images} images", f"{seen.visible} show one"]
    parts += [f"{seen.covering} nothing else"] * bool(seen.covering)
    parts += [f"{seen.faulty} have impossible ones"] * bool(seen.faulty)
    return ", ".join(parts)


def _sizes(seen: SizesSeen) -> str:
    if seen.smallest is None or seen.largest is None:
        return "no picture could be read"
    least, most = (f"{w} x {h}" for w, h in (seen.smallest, seen.largest))
    pictures = least if least == most else f"{least} to {most}"
    return pictures + (
        f"; {seen.fitting} of {seen.stated} have the size that the annotations state"
        if seen.stated
        else "; the annotations state none"
    )


def _classes(match: ClassMatch) -> str:
    pairs = ", ".join(
        f"{_short(name)} = output {output}" + (f" ({_short(theirs)})" if theirs and theirs != name else "")
        for name, output, theirs in match.pairs
    )
    matched = match.classes - match.without_output.count
    parts = [f"{matched} of {match.classes} matched by {match.by} to {match.outputs} outputs: {pairs}"]
    if match.without_output.count:
        parts.append(f"the network does not have {_names(match.without_output)}")
    if match.without_class.count:
        parts.append(f"the dataset does not have {_names(match.without_class)}")
    return "; ".join(parts)


def _short(name: str) -> str:
    """The first of its synonyms."""
    return name.split(",")[0]


def _names(names: Names) -> str:
    more = names.count - len(names.first)
    return ", ".join(map(_short, names.first)) + (f" and {more} more" if more else "")


def _network(facts: NetworkFacts) -> str:
    shape = " x ".join(map(str, facts.shape))
    low, high = (" ".join(f"{v:.4g}" for v in values) for values in (facts.low, facts.high))
    types = facts.dtype if facts.dtype == facts.computes else f"{facts.dtype}, computes in {facts.computes}"
    return f"{facts.name}: {shape} {types}; black is {low}, white {high}; output: {facts.output}"


def _accuracy(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return "no image of the sample can be used"
    least = f"chance {_percent(accuracy.chance)}"
    return f"{accuracy}; {least}, always {accuracy.commonest!r} {_percent(accuracy.majority)}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
