"""The images that are edited, read again."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.inputs.batches import iter_batches
from pipeline.inputs.picked import Picked
from pipeline.measure.bench import Bench
from pipeline.measure.interventions.pictures import Scene
from pipeline.schema import STATUS_OK

Scenes = Mapping[int, Mapping[str, Scene]]  # label -> example id -> scene


def read_scenes(bench: Bench, indices: tuple[int, ...]) -> Scenes:
    """The images at ``indices`` of the split that still have a visible box."""
    picked = Picked(bench.dataset, indices)
    scenes: dict[int, dict[str, Scene]] = {}
    for batch in iter_batches(picked, picked.shard, bench.model.card, bench.config.execution.batch_size):
        for i, record in enumerate(batch.records):
            if record is not None and batch.status[i] == STATUS_OK:
                scene = Scene(batch.pictures[i].copy(), batch.masks[i].copy())
                scenes.setdefault(int(batch.labels[i]), {})[record.example_id] = scene
    return scenes
