"""A few examples from anywhere in a dataset, for what looks at a sample or again at some images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.inputs.datasets import Dataset, DatasetInfo, Record
from pipeline.inputs.objects.ahead import in_order
from pipeline.inputs.shards import Shard

_TOGETHER = 4  # neighbours in an object store that are asked for together


@dataclass(frozen=True)
class Picked:
    """The examples at the ascending positions ``chosen``, as a dataset; neighbours are read together."""

    dataset: Dataset
    chosen: tuple[int, ...]

    @property
    def info(self) -> DatasetInfo:
        return self.dataset.info

    @property
    def shard(self) -> Shard:
        """All of them."""
        info = self.dataset.info
        return Shard(info.name, info.split, 0, len(self.chosen), f"{info.split}-picked")

    def read(self, shard: Shard) -> Iterator[Record]:
        chosen = np.array(self.chosen[shard.start : shard.stop])
        parts = np.split(chosen, np.flatnonzero(np.diff(chosen) > 1) + 1)
        if self.info.versions:  # in an object store: one after the other would be one wait after the other
            few = (part[i : i + _TOGETHER] for part in parts for i in range(0, len(part), _TOGETHER))
            for records in in_order(lambda part: list(self._part(part)), few):
                yield from records
            return
        for part in parts:
            yield from self._part(part)

    def _part(self, neighbours: np.ndarray) -> Iterator[Record]:
        """The examples at positions that follow each other."""
        info, start, stop = self.dataset.info, int(neighbours[0]), int(neighbours[-1]) + 1
        return self.dataset.read(Shard(info.name, info.split, start, stop, f"{start}-{stop}"))
