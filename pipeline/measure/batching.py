"""How many images are explained at once: what was asked for, what is fastest here, what memory holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import numpy as np

from explainers import Explanation, Fitted, analyze_many, create_analyzer, engine
from explainers.analyzer import Target
from pipeline.config_sections import AuditConfig
from pipeline.errors import InputError, reason
from pipeline.measure.bench import Bench
from pipeline.measure.curves import open_perturber
from pipeline.measure.explain import first, joined

SIZES = (8, 16, 32, 64, 128, 256)
GAIN = 1.05  # a batch of twice the size that is not this much faster ends the search
REPEATS = 2
USUAL = AuditConfig()


def explain_inputs(
    bench: Bench, inputs: np.ndarray, target: Target, methods: Sequence[Fitted], most: int = 0
) -> list[Explanation]:
    """One explanation of ``inputs`` (n, h, w, c) per method, in the batches and the precision that the
    configuration names; the forward pass is shared where the methods can. ``target``: None, or one per image.
    ``most``: images at once, where a few do not fill a batch of the audit: the rest of it would be
    explained for nothing.

    Where the device's memory does not suffice, half as many images at once from then on.

    Raises:
        InputError: it does not suffice for one image.
    """
    while True:
        at_once = min(most or bench.at_once, bench.at_once)
        try:
            return in_batches(methods, inputs, target, at_once, bench.config.audit)
        except Exception as error:
            if not engine.is_exhausted(error):
                raise
            if at_once == 1:
                raise InputError(
                    "the device's memory does not suffice to explain one image; name fewer methods at once, "
                    "or run on another device (CUDA_VISIBLE_DEVICES=-1: the CPU)"
                ) from None
        bench.room.images = at_once // 2


def in_batches(
    fitted: Sequence[Fitted], x: np.ndarray, target: Target, size: int, audit: AuditConfig = USUAL
) -> list[Explanation]:
    """:func:`analyze_many` in calls of ``size`` images: the shape for which the audit compiles its programs.

    ``target``: None, or a class per image; of ``audit`` counts how passes are computed.

    Raises:
        InputError: XLA was asked for and has no way to compute one of the operations.
    """
    parts = []
    with _computed(audit):
        for start in range(0, len(x), size):
            rows = np.minimum(np.arange(start, start + size), len(x) - 1)
            classes = None if target is None else np.asarray(target)[rows]
            parts.append([first(e, len(x) - start) for e in analyze_many(fitted, x[rows], classes)])
    return [joined(of_one) for of_one in zip(*parts, strict=True)]


@contextmanager
def _computed(audit: AuditConfig) -> Iterator[None]:
    """Context of passes in the precision that was chosen, by XLA where it was asked for."""
    precision = engine.precision(audit.precision) if audit.precision else nullcontext()
    try:
        with precision, engine.xla() if audit.xla else nullcontext():
            yield
    except Exception as error:
        if not (audit.xla and engine.is_uncompilable(error)):
            raise
        raise InputError(
            f"audit.xla: XLA has no way to compute an operation of this network ({reason(error)}); leave it "
            "out"
        ) from None


def warm_up(bench: Bench) -> None:
    """Compile by explaining one batch of zeros, so that the first shard takes no longer than the others.

    Methods that evaluate the network hundreds of times per image compile on the way, in no time beside that.
    """
    if quick := _quick(bench):
        explain_inputs(bench, _zeros(bench, bench.config.execution.batch_size), None, quick)


def _quick(bench: Bench) -> list[Fitted]:
    """Those of its methods that are one backward pass."""
    return [method for method in bench.methods.values() if method.head is not None]


def _zeros(bench: Bench, size: int) -> np.ndarray:
    card = bench.model.card
    return np.zeros((size, card.height, card.width, card.channels), np.float32)


def with_batch_size(bench: Bench, clock: Callable[[], float] = time.perf_counter) -> Bench:
    """``bench`` with the batch size that explains most images per second here, and what was tried for it.

    A smaller one that is nearly as fast is preferred. Methods that are more than one backward pass, or not
    chosen yet, are stood for by the gradient.
    """
    methods = _quick(bench) or [create_analyzer("gradient").fit(bench.model.model)]
    most = max(bench.dataset.info.n_examples, SIZES[0])
    rates: dict[int, float] = {}
    for size in SIZES:
        if size > most or (rate := _rate(bench, methods, size, clock)) is None:
            break
        before = max(rates.values(), default=0.0)
        rates[size] = rate
        if rate < GAIN * before:
            break
    if not rates:
        raise InputError(
            f"the device's memory does not suffice for {SIZES[0]} images at once; name a batch_size below"
        )
    best = min(size for size, rate in rates.items() if GAIN * rate >= max(rates.values()))
    execution = bench.config.execution.model_copy(update={"batch_size": best})
    config = bench.config.model_copy(update={"execution": execution})
    perturber = open_perturber(config, bench.dataset, bench.model)
    return replace(bench, config=config, perturber=perturber, tried=rates)


def _rate(bench: Bench, methods: Sequence[Fitted], size: int, clock: Callable[[], float]) -> float | None:
    """Images per second of batches of ``size``, compiled; None where the memory does not suffice."""
    x, seconds = _zeros(bench, size), []
    try:
        for _ in range(1 + REPEATS):
            began = clock()
            in_batches(methods, x, None, size, bench.config.audit)
            seconds.append(clock() - began)
    except Exception as error:
        if engine.is_exhausted(error):
            return None
        raise
    return size / max(min(seconds[1:]), 1e-9)
