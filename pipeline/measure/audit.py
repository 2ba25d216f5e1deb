"""The audit of a run, and of one shard of it: batches, explanations, metrics, rows. THE loop is here, once.

:func:`audit_shard` touches no disk; :func:`audit_part` writes what comes out of it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pyarrow as pa

from explainers import Explanation
from explainers.engine import backend
from pipeline.busy import CURVES, EXPLAIN, MEASURE, WRITE, Busy
from pipeline.config import AUTO
from pipeline.config_sections import AuditConfig
from pipeline.errors import InputError
from pipeline.inputs.batches import Batch, iter_batches, map_classes
from pipeline.inputs.shards import Shard, parse_key
from pipeline.measure.batching import explain_inputs
from pipeline.measure.bench import Bench
from pipeline.measure.check import look
from pipeline.measure.curves import Explained
from pipeline.measure.properties import sampled_share
from pipeline.measure.rows import Recipe, batch_tables
from pipeline.measure.sanity import check_run
from pipeline.run import start_up
from pipeline.run.costs import CHOICE, clocked
from pipeline.run.documents import ChoiceDocument
from pipeline.run.preflight import KEY, Preflight
from pipeline.run.provenance import Provenance, versions
from pipeline.run.store import Session, Store
from pipeline.schema import TABLES

_PENDING = 2  # batches whose metrics may still be under way while the next one is explained


Auditor = Callable[[Sequence[str]], int]  # finishes the shards of these keys; returns how many images
Told = Callable[[Preflight], None]


def audit_run(
    run: Store,
    bench: Bench,
    audit: Auditor | None = None,
    told: Told | None = None,
    forecast: Sequence[dict[str, Any]] = (),
) -> Session:
    """Begin ``run`` or go on with it: look, finish what is missing, check its methods, note the session.

    Nobody else may write the run meanwhile. ``audit``: how the missing shards are finished; without it in
    this process, one after the other. ``told`` gets what the look before the first image said, once per run.
    ``forecast``: what its stages are expected to cost, noted with the session.

    Raises:
        InputError: another process writes the run, the folder holds something else, the dataset is empty,
            none of the images that are looked at can be used, or there is no space.
    """
    with run.lock():
        session, keys = _begin(run, bench, told, forecast)
        started = time.perf_counter()
        try:
            session.images = audit(keys) if audit else sum(audit_part(run, bench, key) for key in keys)
        finally:
            session.seconds = round(time.perf_counter() - started, 3)
            session.start_up = start_up.end()
            run.end(session)
        if session.images:
            _note_spent(session, bench)
            run.record(session)
        with clocked(session.spent, "sanity"):
            check_run(run, bench)
        run.record(session)
    return session


def _begin(
    run: Store, bench: Bench, told: Told | None, forecast: Sequence[dict[str, Any]]
) -> tuple[Session, tuple[str, ...]]:
    """Look, write the manifest, note the session; returns it and the keys of the shards that are missing."""
    began = time.perf_counter()
    provenance, seen = provenance_of(bench), _look_first(run, bench)
    if bench.choice is not None and not run.exists:
        replace(bench.choice, run_id=bench.config.run_id).write(run)
    run.open_or_create(bench.config, provenance)
    if seen is not None:
        run.note(seen)
        if told:
            told(seen)
    keys = run.missing()
    session = Session(
        setup_seconds=round(bench.seconds + time.perf_counter() - began, 3),
        forecast=list(forecast),
        finished_before=bench.dataset.info.n_examples - sum(len(parse_key("", key)) for key in keys),
        spent={} if bench.choice is None else {CHOICE: bench.choice.seconds},
    )
    run.record(session)
    return session, keys


def _note_spent(session: Session, bench: Bench) -> None:
    """What the images of this session took; curves apart, where they were drawn in this process."""
    curves = bench.perturber.spent.pop("curves", 0.0) if bench.perturber else 0.0
    session.spent["audit"] = round(session.seconds - curves, 3)
    if curves:
        session.spent["curves"] = curves


def _look_first(run: Store, bench: Bench) -> Preflight | None:
    """What a look at a few images says; None where it was said before, or no image is left to audit."""
    if run.exists and (KEY in run.manifest or not run.missing()):
        return None
    size = bench.config.execution.batch_size
    seen = bench.seen or look(bench.dataset, bench.model, batch_size=size)
    start_up.reached(start_up.LOOK)
    doubts = () if bench.choice is None or bench.choice.passed else (_doubt(bench.choice),)
    return replace(
        seen,
        decisions=(*seen.decisions, *_by_default(bench)),
        warnings=(*seen.warnings, *doubts),
    )


def _by_default(bench: Bench) -> Iterator[str]:
    """What of the configuration is as it would be if nobody had said anything, as far as it matters."""
    if bench.choice is not None:
        yield (
            f"method: {bench.choice.method}, chosen by {AUTO} among {len(bench.choice.candidates)} "
            f"candidates on {bench.choice.chosen.images} images"
        )
    if bench.tried:
        tried = ", ".join(f"{size}: {rate:.0f}" for size, rate in bench.tried.items())
        size = bench.config.execution.batch_size
        yield f"batch size {size}, found by trying (images per second by size: {tried})"
    if bench.config.audit.target == AuditConfig().target:
        yield f"explained is the {bench.config.audit.target} class (the default)"


def _doubt(choice: ChoiceDocument) -> str:
    return (
        f"no candidate passes the checks that {AUTO} asks for; {choice.method} is {choice.chosen.verdict}: "
        "its maps alone make no class suspicious"
    )


def audit_part(
    run: Store,
    bench: Bench,
    key: str,
    on_batch: Callable[[int], None] | None = None,
    busy: Busy | None = None,
) -> int:
    """Audit the shard of ``key`` and write its parts; returns its number of images.

    ``busy`` gets the seconds by kind of work.
    """
    busy = busy or Busy()
    tables = audit_shard(parse_key(bench.dataset.info.name, key), bench, on_batch, busy)
    with busy.at(WRITE):
        run.write_shard(key, tables)
    return tables["examples"].num_rows


def provenance_of(bench: Bench) -> Provenance:
    """What the manifest says about this bench. Class names are in the order of the network's outputs.

    Raises:
        InputError: the dataset is empty, its classes are not the network's, or no method is chosen yet.
    """
    if bench.config.automatic:
        raise InputError(f"method {AUTO} has to be chosen first: pipeline.measure.benches.bench_for does it")
    info, model = bench.dataset.info, bench.model
    if info.n_examples == 0:
        raise InputError(f"dataset {info.name!r}, split {info.split!r}: it is empty")
    classes = map_classes(info, model.card)
    dataset = info.to_dict() | {"class_names": list(classes.names), "class_ids": list(classes.ids)}
    card = {k: v for k, v in model.card.to_dict().items() if k not in ("class_names", "class_ids")}
    return Provenance(
        dataset=dataset,
        model={"name": model.name, "sha256": model.sha256, "card": card},
        versions=versions(backend()),
        shards=tuple(shard.key for shard in bench.shards),
        methods_by="" if bench.choice is None else AUTO,
    )


def audit_shard(
    shard: Shard, bench: Bench, on_batch: Callable[[int], None] | None = None, busy: Busy | None = None
) -> dict[str, pa.Table]:
    """Explain and measure every image of ``shard``: table name to table, as in :mod:`pipeline.schema`.

    The metrics of a batch are computed in a second thread while the next batch is explained. ``on_batch`` is
    called there with the number of images that became finished; ``busy`` gets the seconds by kind of work.
    """
    busy = busy or Busy()
    batches = iter_batches(bench.dataset, shard, bench.model.card, bench.config.execution.batch_size, busy)
    return audit_batches(batches, shard, bench, on_batch, busy)


def audit_batches(
    batches: Iterable[Batch],
    shard: Shard,
    bench: Bench,
    on_batch: Callable[[int], None] | None,
    busy: Busy,
) -> dict[str, pa.Table]:
    """As :func:`audit_shard`, of images of ``shard`` that are decoded already."""
    recipe = _recipe(shard, bench)
    pieces: list[dict[str, pa.Table]] = []
    pending: deque[Future[dict[str, pa.Table]]] = deque()
    curves: list[dict[str, pa.Table]] = []
    waiting: list[Explained] = []  # for curves, until they fill a batch

    def measured(batch: Batch, explanations: Sequence[Explanation]) -> dict[str, pa.Table]:
        with busy.at(MEASURE):
            tables = batch_tables(batch, explanations, recipe)
        if on_batch:  # here, not where it is collected: that is a few batches later
            on_batch(tables["examples"].num_rows)
        return tables

    def collect() -> None:
        pieces.append(pending.popleft().result())

    with ThreadPoolExecutor(1, "measure") as measuring:
        for batch in batches:
            with busy.at(EXPLAIN):
                explanations = explain(batch, bench)
            pending.append(measuring.submit(measured, batch, explanations))
            if bench.perturber:
                waiting += bench.perturber.choose(batch, explanations)
                if len(waiting) >= bench.config.execution.batch_size:
                    curves.append(_curves(bench, waiting, busy))
            while len(pending) > _PENDING:
                collect()
        if waiting:
            curves.append(_curves(bench, waiting, busy))
        while pending:
            collect()
    return _joined([*pieces, *curves], (*recipe.tables, *(("curves",) if bench.perturber else ())))


def _curves(bench: Bench, waiting: list[Explained], busy: Busy) -> dict[str, pa.Table]:
    """Rows of the images that wait for their curves; nobody waits any more."""
    assert bench.perturber is not None
    with clocked(bench.perturber.spent, "curves"), busy.at(CURVES):
        tables = bench.perturber.draw(waiting, tuple(bench.methods))
    waiting.clear()
    return tables


def explain(batch: Batch, bench: Bench) -> list[Explanation]:
    """One explanation per method, sharing the forward pass where the methods can."""
    target = None
    if bench.config.audit.target == "label":
        # -1 stands for a label that the network does not know, or for padding: such rows have failed anyway
        target = batch.labels.clip(0)
    return explain_inputs(bench, batch.inputs, target, list(bench.methods.values()))


def _recipe(shard: Shard, bench: Bench) -> Recipe:
    audit, info = bench.config.audit, bench.dataset.info
    return Recipe(
        shard=shard.key,
        class_ids=info.class_ids,
        class_names=info.class_names,
        methods=tuple(bench.methods),
        card=bench.model.card,
        audit=audit,
        sampled=sampled_share(info.n_examples, len(info.class_names)),
    )


def _joined(pieces: Sequence[Mapping[str, pa.Table]], names: Sequence[str]) -> dict[str, pa.Table]:
    """The batches' tables one below the other, each as one piece of memory."""
    return {
        name: pa.concat_tables([TABLES[name].empty_table(), *(p[name] for p in pieces if name in p)])
        .unify_dictionaries()
        .combine_chunks()
        for name in names
    }
