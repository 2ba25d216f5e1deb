"""What an audit will cost, from what a few batches cost: arithmetic, no clock.

One function per stage; a stage that is added later is one function more in :data:`STAGES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.config import Config
from pipeline.measure import curves
from pipeline.measure.beforehand import given_run
from pipeline.measure.interventions.plan import passes_needed, passes_per_image
from pipeline.measure.metrics.perturbation import Grid
from pipeline.measure.sanity import STAGES as SHUFFLED
from pipeline.measure.sanity import images_checked
from pipeline.measure.transfer.moved import PASSES as MOVED
from pipeline.measure.transfer.plan import images_per_class
from pipeline.measure.transfer.plan import passes_needed as windows_passes
from pipeline.run.costs import Forecast, StageCost

BLENDING = 1.04  # variants of a picture / plain forward passes: python -m benchmarks.perturbation
EDIT_BYTES = 20  # of a row of the table of interventions, compressed
PASTED_BYTES = 120  # of a row of the table of pasted windows, compressed, with the pictures of the best
CURVE_BYTES = 6  # of a stored value of a curve or a score, compressed


@dataclass(frozen=True)
class Work:
    """What there is to do.

    Attributes:
        images, classes: of the dataset.
        height, width: of the network's input, pixel.
    """

    images: int
    classes: int
    height: int
    width: int


@dataclass(frozen=True)
class Speeds:
    """What it costs here, measured: seconds, or bytes.

    Attributes:
        image: one image through the whole loop: read, explained by all methods, measured.
        explanation: the maps of one image by all methods alone.
        forward: one forward pass, in full batches.
        fit: fitting and compiling all methods once more.
        edit: making one edited picture.
        bytes: of one image in the tables; part: of a shard beyond its images.
    """

    image: float
    explanation: float
    forward: float
    fit: float
    bytes: float
    part: float = 0.0
    edit: float = 0.0


def forecast(config: Config, work: Work, speeds: Speeds) -> Forecast:
    """The costs of the stages that ``config`` asks for."""
    costs = (stage(config, work, speeds) for stage in STAGES)
    return Forecast(tuple(cost for cost in costs if cost is not None))


def _audit(config: Config, work: Work, speeds: Speeds) -> StageCost:
    """Every image: ``n image`` seconds, whatever is overlapped; ``n bytes + shards part``."""
    shards = -(-work.images // config.execution.shard_size)
    passes = work.images * max(speeds.explanation / speeds.forward, 1.0)
    stored = work.images * speeds.bytes + shards * speeds.part
    return StageCost("audit", work.images, round(passes), work.images * speeds.image, round(stored))


def _curves(config: Config, work: Work, speeds: Speeds) -> StageCost | None:
    """The chosen images, each with all its variants."""
    asked = config.perturbation
    if asked is None:
        return None
    grid = Grid(work.height, work.width, asked.region_side(work.height, work.width))
    methods = len(config.methods)
    images = asked.most_images(work.images)
    if asked.budget:
        images = min(images, asked.budget * work.classes)
    passes = images * curves.passes_per_image(asked, grid.count, methods)
    values = images * methods * len(asked.orders) * ((asked.points or asked.steps) + 3)
    return StageCost("curves", images, passes, BLENDING * passes * speeds.forward, values * CURVE_BYTES)


def _sanity(config: Config, work: Work, speeds: Speeds) -> StageCost | None:
    """Two explanations of the sample and one more for every stage of shuffled weights, by a program that is
    compiled once for all of them."""
    if config.sanity.images == 0:
        return None
    images = min(images_checked(config.sanity.images, work.images), config.execution.batch_size)
    explained = (2 + len(SHUFFLED)) * images
    passes = explained * max(speeds.explanation / speeds.forward, 1.0)
    seconds = speeds.fit + explained * speeds.explanation
    return StageCost("sanity", images, round(passes), seconds)


def _interventions(config: Config, work: Work, speeds: Speeds) -> StageCost | None:
    """The first look at every class, up to what undecided classes get: each edited picture is made and shown.

    Which images are classified correctly is not known beforehand: all count.
    """
    settings = config.interventions
    if settings.images == 0 or work.classes < 2:
        return None
    per_class = [work.images // work.classes] * work.classes
    first, most = passes_needed(per_class, settings, work.images)
    each = speeds.forward + speeds.edit
    images = first // passes_per_image(settings.pairs)
    return StageCost("interventions", images, first, first * each, first * EDIT_BYTES, most * each)


def _transfer(config: Config, work: Work, speeds: Speeds) -> StageCost | None:
    """Windows of every class, each with its control on every recipient, and the recipients as they are; up to
    the best of every class at other places, too."""
    settings = config.transfer
    if settings.images == 0 or config.audit.maps == 0 or work.classes < 2:
        return None
    per_class = [work.images // work.classes] * work.classes
    n = images_per_class(per_class, settings, work.images)
    passes = windows_passes(per_class, settings, work.images)
    images = sum(min(n, count) for count in per_class)
    stored = 2 * settings.recipients * images * PASTED_BYTES
    each = speeds.forward + speeds.edit
    most = (passes + MOVED * work.classes) * each
    return StageCost("transfer", images, passes, passes * each, stored, most)


def _reference(config: Config, work: Work, speeds: Speeds) -> StageCost | None:
    """One method on every image, and the same edits and windows again, at the audited network's speed: the
    reference is opened after the audit, so its own is not known. Nothing where a finished run is named.
    """
    if not config.reference.source or given_run(config.reference) is not None:
        return None
    one_method = speeds.explanation / max(1, len(config.methods))
    passes = work.images * max(one_method / speeds.forward, 1.0)
    seconds = work.images * (speeds.image - speeds.explanation + one_method)
    most = seconds
    for stage in (_interventions, _transfer):
        if cost := stage(config, work, speeds):
            passes, seconds = passes + cost.passes, seconds + cost.seconds
            # the best windows are not pasted at other places again
            most += cost.seconds if stage is _transfer else max(cost.most, cost.seconds)
    return StageCost("reference", work.images, round(passes), seconds, most=most)


STAGES: tuple[Callable[[Config, Work, Speeds], StageCost | None], ...] = (
    _audit,
    _curves,
    _sanity,
    _interventions,
    _transfer,
    _reference,
)
