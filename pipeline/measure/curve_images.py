"""Which images of a dataset get perturbation curves."""

from __future__ import annotations

import heapq

from pipeline.config_sections import PerturbationConfig
from pipeline.inputs.datasets import Dataset
from pipeline.inputs.picked import Picked
from pipeline.inputs.spread import spread
from pipeline.seeds import ImageChoice, Purpose

_CANDIDATES = 1000  # images among which a few are chosen, at least


def choose_images(dataset: Dataset, config: PerturbationConfig, seed: int) -> frozenset[str] | None:
    """Ids of the images that get curves, None for all: a seeded choice, spread over the classes.

    ``config.budget`` images per class, or ``config.most_images`` in all: of every class its first, then of
    every class its second, and so on; inside a class, and among classes, the smallest seeded hash of the id
    comes first. Neither shards nor workers change it. For a few images in all, a sample of the dataset spread
    over it is read instead of all of it; nothing is decoded.
    """
    info = dataset.info
    most = config.most_images(info.n_examples)
    if most == info.n_examples and config.budget == 0:
        return None
    looked_at = info.n_examples if config.budget else max(_CANDIDATES, 4 * most)
    picked = Picked(dataset, spread(info.n_examples, looked_at, Purpose.CURVE_CANDIDATES, seed))
    kept: dict[int, list[tuple[int, str]]] = {}
    for record in picked.read(picked.shard):
        if record.error is None:
            entry = (-ImageChoice.CURVES.rank(seed, record.example_id), record.example_id)
            heap = kept.setdefault(record.label, [])
            if len(heap) < (config.budget or most):
                heapq.heappush(heap, entry)
            else:
                heapq.heappushpop(heap, entry)
    ranked = [
        (place, -rank, example_id)
        for heap in kept.values()
        for place, (rank, example_id) in enumerate(sorted(heap, reverse=True))
    ]
    return frozenset(example_id for _, _, example_id in heapq.nsmallest(most, ranked))
