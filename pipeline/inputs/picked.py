"""A few examples from anywhere in a dataset, for what looks at a sample or again at some images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.inputs.datasets import Dataset, DatasetInfo, Record
from pipeline.inputs.shards import Shard


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
        wanted = np.array(self.chosen[shard.start : shard.stop])
        for part in np.split(wanted, np.flatnonzero(np.diff(wanted) > 1) + 1):
            start, stop = int(part[0]), int(part[-1]) + 1
            yield from self.dataset.read(Shard(shard.dataset, shard.split, start, stop, f"{start}-{stop}"))
