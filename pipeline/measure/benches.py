"""The bench that a process works at: opened, its method chosen where nobody named one, compiled; kept."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from explainers.engine import backend
from pipeline.config import Config
from pipeline.config_sections import FOUND
from pipeline.errors import InputError
from pipeline.inputs.datasets import Dataset, open_dataset
from pipeline.inputs.models import load_model
from pipeline.measure.batching import warm_up, with_batch_size
from pipeline.measure.bench import Bench, open_bench
from pipeline.measure.check import look
from pipeline.measure.choice import choose
from pipeline.run import start_up
from pipeline.run.provenance import engine_of, replaced
from pipeline.run.store import Store
from pipeline.trust import NOTHING, Trust

_lock = threading.Lock()
_kept: dict[str, Bench] = {}


def bench_for(
    config: Config, trust: Trust = NOTHING, dataset: Dataset | None = None, looks: bool = False
) -> Bench:
    """The bench of ``config``, opened and compiled by the first call in a process.

    ``dataset``: that of ``config``, where it is open already. ``looks``: a few images are looked at
    meanwhile, see :func:`pipeline.measure.check.look`. One bench is kept at a time: a second model
    would only hold memory. One whose method was chosen, or its batch size found, is also that of the
    configuration with these.

    Raises:
        InputError, ConfigError, ExplainError: as :func:`open_bench`, :func:`choose` and :func:`look` do.
    """
    with _lock:
        if (key := _key(config, trust)) not in _kept:
            _kept.clear()
            started = time.perf_counter()
            bench = open_bench(config, trust, dataset)
            if config.execution.batch_size == FOUND:
                bench = with_batch_size(bench)
            bench = _seen_and_compiled(bench) if looks else _compiled(bench)
            bench = replace(bench, seconds=time.perf_counter() - started)
            _kept.update({key: bench, _key(bench.config, trust): bench})
        return _kept[key]


def _compiled(bench: Bench) -> Bench:
    """With its method chosen, if nobody named one, and compiled."""
    if bench.config.automatic:
        bench = choose(bench)
        start_up.reached(start_up.CHOSEN)
    began = time.perf_counter()
    warm_up(bench)
    start_up.reached(start_up.COMPILED)
    return replace(bench, fit_seconds=bench.fit_seconds + time.perf_counter() - began)


def _seen_and_compiled(bench: Bench) -> Bench:
    """The same, with a look at a few images in another thread: compiling keeps one processor busy."""
    with ThreadPoolExecutor(1, "look") as beside:
        size = bench.config.execution.batch_size
        seen = beside.submit(look, bench.dataset, bench.model, batch_size=size)
        bench = _compiled(bench)
        bench = replace(bench, seen=seen.result())
    start_up.reached(start_up.LOOK)
    return bench


def bench_without_methods(config: Config, trust: Trust = NOTHING) -> Bench:
    """The bench of ``config`` for what asks the network, not for maps: the kept one, or one without methods.

    Raises:
        InputError, ConfigError: dataset or model cannot be used.
    """
    key = _key(config, trust)
    with _lock:
        for kept in (key, f"no methods {key}"):
            if kept in _kept:
                return _kept[kept]
        _kept.clear()
        dataset = open_dataset(config.dataset)
        bench = Bench(config, dataset, load_model(config.model, dataset, trust), {})
        _kept[f"no methods {key}"] = bench
        return bench


def refuse_other_bench(run: Store, bench: Bench) -> None:
    """Refuse work for ``run`` where a file of the same name holds something else, on another machine maybe.

    Raises:
        InputError: the weights, the data or the framework here are not those that the run was begun with.
    """
    manifest, data = run.manifest, bench.dataset.info
    if replaced(manifest, bench.config.dataset.path, data.versions):
        raise InputError(
            f"{bench.config.dataset.path}: objects were replaced since the run was begun; put the old ones "
            "back, or audit the new ones into another folder"
        )
    for what, here, there in (
        ("weights", bench.model.sha256, manifest["model"].get("sha256")),
        ("data", data.fingerprint, manifest["dataset"].get("fingerprint")),
    ):
        if there is not None and here != there:
            raise InputError(
                f"worker on {socket.gethostname()}: its {what} are not the run's ({here[:12]} instead of "
                f"{there[:12]}); give every worker the same files"
            )
    if backend() != (begun_by := engine_of(manifest)):
        raise InputError(
            f"worker on {socket.gethostname()}: Keras runs on {backend()} there, the run was begun on "
            f"{begun_by}; start every worker with the same KERAS_BACKEND"
        )


def keep(bench: Bench, trust: Trust = NOTHING) -> None:
    """Make ``bench`` the one that :func:`bench_for` returns for its configuration."""
    with _lock:
        _kept.clear()
        _kept[_key(bench.config, trust)] = bench


def _key(config: Config, trust: Trust) -> str:
    return f"{trust} {config.model_dump_json()}"
