"""What an audit costs on this machine, measured on a few batches in seconds: see :class:`forecast.Speeds`.

The programs are those that the audit uses, so next to nothing is compiled for it alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from explainers.network import network
from pipeline.busy import EXPLAIN, Busy
from pipeline.inputs.picked import Picked
from pipeline.inputs.spread import spread
from pipeline.measure.audit import audit_shard
from pipeline.measure.bench import Bench
from pipeline.measure.forecast import Speeds, Work
from pipeline.measure.interventions.kinds import Donor, Subject, all_interventions
from pipeline.measure.interventions.scenes import read_scenes
from pipeline.run.store import parquet_bytes
from pipeline.seeds import ImagePurpose, Purpose, generator

BATCHES = 4  # timed together, beside one that is timed alone
SHARE = 20  # no more than one image in so many is looked at, but a batch
SLOW = 2.0  # seconds: when a batch takes longer than that, it is the only one
_SCENES = 6  # pictures that are edited
REPEATS = 3  # forward passes of a batch that are timed, at most
ENOUGH = 0.5  # seconds of them, after which no more are

Clock = Callable[[], float]


def work_of(bench: Bench) -> Work:
    """What there is to do for a bench."""
    info, card = bench.dataset.info, bench.model.card
    return Work(info.n_examples, len(info.class_names), card.height, card.width)


def calibrate(bench: Bench, clock: Clock = time.perf_counter) -> Speeds:
    """Read, explain and measure a few batches of the dataset, spread over it.

    Methods that evaluate the network hundreds of times per image are measured on single images. ``clock``:
    seconds, from any start.
    """
    slow = any(method.head is None for method in bench.methods.values())
    sample = _Sample(bench, 1 if slow else bench.config.execution.batch_size, clock)
    first = sample.audit(1)
    several = first
    if sample.batches > 1 and first.seconds < SLOW:
        first = sample.audit(1)  # the one before may have compiled
        several = sample.audit(sample.batches)
    explanation = min(first.explanation, several.explanation)
    image = max(slope((first.images, first.seconds), (several.images, several.seconds)), explanation)
    part = sum(_size(table.slice(0, 0)) for table in several.tables.values())
    stored = sum(map(_size, several.tables.values())) - part
    return Speeds(
        image=image,
        explanation=explanation,
        forward=sample.forward(),
        fit=bench.fit_seconds,
        bytes=stored / several.images,
        part=part,
        edit=sample.edits(),
    )


def slope(first: tuple[int, float], several: tuple[int, float]) -> float:
    """Seconds per further image, of (images, seconds) of a short and a longer stretch.

    What a loop takes to get going is part of its start, not of every image. Where the two are the same
    stretch, or the longer one took no longer, it is the longer one's mean.
    """
    images, seconds = several[0] - first[0], several[1] - first[1]
    return seconds / images if images > 0 and seconds > 0 else several[1] / several[0]


@dataclass(frozen=True)
class _Stretch:
    """Some images that went through the loop of the audit; ``explanation``: seconds of one's maps alone."""

    images: int
    seconds: float
    explanation: float
    tables: Mapping[str, pa.Table]


class _Sample:
    """A few batches of ``size`` images of the dataset of a bench."""

    def __init__(self, bench: Bench, size: int, clock: Clock) -> None:
        execution = bench.config.execution.model_copy(update={"batch_size": size})
        config = bench.config.model_copy(update={"execution": execution})
        n = bench.dataset.info.n_examples
        self.batches = min(BATCHES, max(1, n // SHARE // size))
        chosen = spread(n, self.batches * size, Purpose.PREFLIGHT_SAMPLE, 1)
        self.picked = Picked(bench.dataset, chosen)
        self.bench = replace(bench, config=config, dataset=self.picked, perturber=None)
        self.size, self.clock = size, clock

    def audit(self, batches: int) -> _Stretch:
        """Read, explain and measure the first few batches."""
        whole = self.picked.shard
        stop = min(len(whole), batches * self.size)
        busy, began = Busy(clock=self.clock), self.clock()
        tables = audit_shard(replace(whole, stop=stop), self.bench, busy=busy)
        seconds = self.clock() - began
        return _Stretch(stop, seconds, busy.seconds[EXPLAIN] / (batches * self.size), tables)

    def forward(self) -> float:
        """Seconds of a forward pass: the smallest of a few."""
        card = self.bench.model.card
        x = np.zeros((self.size, card.height, card.width, card.channels), np.float32)
        net = network(self.bench.model.model)
        return min(self._timed(lambda: net.logits((x,)))) / self.size

    def edits(self) -> float:
        """Seconds of making an edited picture; 0 where there are too few with a box to make one."""
        read = read_scenes(self.bench, tuple(range(min(_SCENES, len(self.picked.shard)))))
        scenes = [scene for of_class in read.values() for scene in of_class.values()]
        rng, made = generator(0, "calibration", ImagePurpose.EDITS), 0
        began = self.clock()
        for own, same, other in zip(scenes, scenes[1:], scenes[2:], strict=False):
            subject = Subject(own, Donor("", same), (Donor("", other),))
            made += sum(1 for i in all_interventions() for _ in i.edits(subject, rng))
        return (self.clock() - began) / made if made else 0.0

    def _timed(self, action: Callable[[], object]) -> Iterator[float]:
        """Seconds of a few calls, after one that may compile; of fewer where that is slow."""
        spent = 0.0
        for number in range(1 + REPEATS):
            began = self.clock()
            action()
            seconds = self.clock() - began
            if number or seconds >= SLOW:
                spent += seconds
                yield seconds
            if spent >= ENOUGH:
                return


def _size(table: pa.Table) -> int:
    return len(parquet_bytes(table))
