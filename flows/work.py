"""What one process needs for its tasks, made once: dataset, model, compiled methods."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from flows.settings import load_tensorflow
from pipeline.config import Config
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.measure.audit import Bench
    from pipeline.run.store import Provenance

_lock = threading.Lock()
_benches: dict[str, Bench] = {}


def bench_for(config: Config) -> Bench:
    """The bench of ``config``: the model is loaded and compiled by the first call in a process."""
    key = config.model_dump_json()
    with _lock:
        if key not in _benches:
            load_tensorflow()
            from pipeline.measure.audit import open_bench, warm_up

            _benches.clear()  # one model at a time: a second one would only hold memory
            bench = open_bench(config)
            warm_up(bench)
            _benches[key] = bench
        return _benches[key]


def provenance_of(bench: Bench, shard_size: int) -> Provenance:
    """What the manifest says about this bench. Class names are in the order of the network's outputs."""
    from pipeline.inputs.batches import map_classes
    from pipeline.run.provenance import versions
    from pipeline.run.store import Provenance

    info, model = bench.dataset.info, bench.model
    if info.n_examples == 0:
        raise InputError(f"dataset {info.name!r}, split {info.split!r}: it is empty")
    classes = map_classes(info, model.card)
    dataset = info.to_dict() | {"class_names": list(classes.names), "class_ids": list(classes.ids)}
    card = {k: v for k, v in model.card.to_dict().items() if k not in ("class_names", "class_ids")}
    return Provenance(
        dataset=dataset,
        model={"name": model.name, "sha256": model.sha256, "card": card},
        versions=versions(),
        shards=tuple(shard.key for shard in plan(bench, shard_size)),
    )


def plan(bench: Bench, shard_size: int) -> tuple:
    """The shards of the bench's dataset."""
    from pipeline.inputs.shards import plan_shards

    info = bench.dataset.info
    return plan_shards(info.name, info.split, info.n_examples, shard_size)


class Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start
