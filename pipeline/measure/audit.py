"""The audit of one shard: batches, explanations, metrics, rows. THE loop is here, once.

Nothing here touches disk; the tables that come out are what :mod:`pipeline.run.store` writes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from explainers import Explanation, analyze_many
from pipeline.config import Config
from pipeline.inputs.batches import Batch, iter_batches
from pipeline.inputs.datasets import Dataset, open_dataset
from pipeline.inputs.models import LoadedModel, load_model
from pipeline.inputs.shards import Shard
from pipeline.measure.curves import Perturber, open_perturber
from pipeline.measure.fitting import check, fit_methods, reference_batches
from pipeline.measure.metrics import get_metric
from pipeline.measure.rows import Recipe, batch_tables
from pipeline.schema import TABLES

_PENDING = 2  # batches whose metrics may still be under way while the next one is explained


@dataclass(frozen=True)
class Bench:
    """Everything that a worker needs and that is made once per process.

    Attributes:
        methods: fitted analyzers by method key, in the order of the configuration.
        perturber: draws perturbation curves, where the configuration asks for them.
    """

    config: Config
    dataset: Dataset
    model: LoadedModel
    methods: Mapping[str, Any]
    perturber: Perturber | None = None


def open_bench(config: Config) -> Bench:
    """Open the dataset, load the model, fit the methods.

    Raises:
        InputError, ConfigError, ExplainError: something that the user named cannot be used.
    """
    for name in config.audit.metrics:
        get_metric(name)
    for method in config.methods:
        check(method)
    dataset = open_dataset(config.dataset)
    model = load_model(config.model, dataset)
    fitted = fit_methods(config.methods, model, lambda: reference_batches(dataset, model.card))
    return Bench(config, dataset, model, fitted, open_perturber(config, dataset, model))


def audit_shard(
    shard: Shard, bench: Bench, on_batch: Callable[[int], None] | None = None
) -> dict[str, pa.Table]:
    """Explain and measure every image of ``shard``: table name to table, as in :mod:`pipeline.schema`.

    The metrics of a batch are computed in a second thread while the next batch is explained. ``on_batch`` is
    called with the number of images that became finished.
    """
    recipe = _recipe(shard, bench)
    batches = iter_batches(bench.dataset, shard, bench.model.card, bench.config.execution.batch_size)
    pieces: list[dict[str, pa.Table]] = []
    pending: deque[Future[dict[str, pa.Table]]] = deque()
    curves: list[dict[str, pa.Table]] = []

    def collect() -> None:
        pieces.append(pending.popleft().result())
        if on_batch:
            on_batch(pieces[-1]["examples"].num_rows)

    with ThreadPoolExecutor(1, "measure") as measuring:
        for batch in batches:
            explanations = explain(batch, bench)
            pending.append(measuring.submit(batch_tables, batch, explanations, recipe))
            if bench.perturber:
                curves.append(bench.perturber.tables(batch, explanations, recipe.methods))
            while len(pending) > _PENDING:
                collect()
        while pending:
            collect()
    return _joined([*pieces, *curves], (*recipe.tables, *(("curves",) if bench.perturber else ())))


def explain(batch: Batch, bench: Bench) -> list[Explanation]:
    """One explanation per method, sharing the forward pass where the methods can."""
    target = None
    if bench.config.audit.target == "label":
        # -1 stands for a label that the network does not know, or for padding: such rows have failed anyway
        target = batch.labels.clip(0)
    return analyze_many(list(bench.methods.values()), batch.inputs, target)


def warm_up(bench: Bench) -> None:
    """Compile by explaining one batch of zeros, so that the first shard takes no longer than the others.

    Methods that evaluate the network hundreds of times per image compile on the way, in no time beside that.
    """
    import numpy as np

    from explainers.sampling.analyzer import SamplingFitted

    card = bench.model.card
    shape = (bench.config.execution.batch_size, card.height, card.width, card.channels)
    quick = [method for method in bench.methods.values() if not isinstance(method, SamplingFitted)]
    if quick:
        analyze_many(quick, np.zeros(shape, np.float32), None)


def _recipe(shard: Shard, bench: Bench) -> Recipe:
    audit, info = bench.config.audit, bench.dataset.info
    return Recipe(
        shard=shard.key,
        class_ids=info.class_ids,
        class_names=info.class_names,
        methods=tuple(bench.methods),
        output=bench.model.card.output,
        audit=audit,
    )


def _joined(pieces: Sequence[Mapping[str, pa.Table]], names: Sequence[str]) -> dict[str, pa.Table]:
    """The batches' tables one below the other, each as one piece of memory."""
    return {
        name: pa.concat_tables([TABLES[name].empty_table(), *(p[name] for p in pieces if name in p)])
        .unify_dictionaries()
        .combine_chunks()
        for name in names
    }
