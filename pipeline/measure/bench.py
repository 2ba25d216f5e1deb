"""What one process needs for its audits, made once: dataset, model, compiled methods."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from explainers import Fitted, engine
from pipeline.config import Config
from pipeline.errors import InputError
from pipeline.inputs.datasets import Dataset, open_dataset, reopen_dataset
from pipeline.inputs.models import LoadedModel, load_model
from pipeline.inputs.shards import Shard, plan_shards
from pipeline.measure.beforehand import Moved, glance_run
from pipeline.measure.curves import Perturber, open_perturber
from pipeline.measure.fitting import check, create, fit_methods, reference_batches
from pipeline.measure.metrics import get_metric
from pipeline.run import start_up
from pipeline.run.documents import ChoiceDocument
from pipeline.run.preflight import Preflight
from pipeline.run.provenance import replaced
from pipeline.run.store import Store
from pipeline.trust import NOTHING, Trust


@dataclass
class Room:
    """How many ``images`` at once the device's memory turned out to hold; 0: all that were asked for."""

    images: int = 0


@dataclass(frozen=True)
class Bench:
    """Everything that a worker needs and that is made once per process.

    Attributes:
        methods: fitted analyzers by method key, in the order of the configuration; none where the
            configuration leaves the choice to ``auto``, see :func:`pipeline.measure.choice.choose`.
        choice: how the method was chosen; None where it was named.
        tried: images per second by batch size, where the configuration leaves that to be found.
        room: how many images were explained at once in the end.
        perturber: draws perturbation curves, where the configuration asks for them.
        seen: what a look at a few images said, where it was asked for.
        seconds: what opening, loading, fitting and compiling took; fit_seconds: fitting and compiling alone.
    """

    config: Config
    dataset: Dataset
    model: LoadedModel
    methods: Mapping[str, Fitted]
    perturber: Perturber | None = None
    seconds: float = 0.0
    fit_seconds: float = 0.0
    choice: ChoiceDocument | None = None
    tried: Mapping[int, float] = field(default_factory=dict)
    room: Room = field(default_factory=Room)
    seen: Preflight | None = None

    @property
    def at_once(self) -> int:
        """Images that are explained at once: as configured, or what memory turned out to hold."""
        return self.room.images or self.config.execution.batch_size

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The dataset, cut as the configuration says. A run that was begun before keeps its own cut."""
        info = self.dataset.info
        return plan_shards(info.name, info.split, info.n_examples, self.config.execution.shard_size)


def open_bench(config: Config, trust: Trust = NOTHING, dataset: Dataset | None = None) -> Bench:
    """Open the dataset (unless it is given), load the model (running code for it as far as ``trust`` goes),
    fit the methods that are named.

    Raises:
        InputError, ConfigError, ExplainError: something that the user named cannot be used.
    """
    if config.audit.xla and engine.backend() != "tensorflow":
        raise InputError(
            f"audit.xla: it is TensorFlow's, and Keras runs on {engine.backend()} (JAX always compiles by "
            "XLA, PyTorch has none); leave it out"
        )
    for name in config.audit.metrics:
        get_metric(name)
    named = () if config.automatic else config.methods
    for method in named:
        check(method)
    dataset = dataset or open_dataset(config.dataset)
    model = load_model(config.model, dataset, trust)
    start_up.reached(start_up.MODEL)
    began = time.perf_counter()
    fitted = fit_methods(named, model, lambda: reference_batches(dataset, model.card))
    fit_seconds = time.perf_counter() - began
    perturber = open_perturber(config, dataset, model)
    start_up.reached(start_up.METHODS)
    return Bench(config, dataset, model, fitted, perturber, fit_seconds=fit_seconds)


def reopen(run: Store, trust: Trust = NOTHING, config: Config | None = None) -> Bench:
    """Dataset and model of a finished run, without its methods: for what asks the network, not for maps.

    ``config``: the run's, as :func:`glance_run` returns it, where that was asked already. The run folder may
    be a stranger's: what it names is read, never made, and runs no code beyond ``trust``.

    Raises:
        InputError, ConfigError: they cannot be opened, or are not those of the run any more.
    """
    manifest = run.manifest
    config = config or glance_run(run, trust, Moved())
    dataset = reopen_dataset(config.dataset)
    now, then = dataset.info.fingerprint, str(manifest["dataset"]["fingerprint"])
    if now != then:
        raise InputError(
            f"{run.path}: the dataset is not the run's any more ({now[:12]} instead of {then[:12]}); put "
            "the old one back, or audit the new one first"
        )
    if replaced(manifest, config.dataset.path, dataset.info.versions):
        raise InputError(
            f"{run.path}: objects of the dataset at {config.dataset.path} were replaced since; put the old "
            "ones back, or audit the new ones first"
        )
    model = load_model(config.model, dataset, trust, str(manifest["model"]["sha256"]))
    return Bench(config, dataset, model, {})


def rebudgeted(bench: Bench, config: Config) -> Bench:
    """``bench`` for a configuration that differs in its numbers of images alone: nothing is loaded again.

    Methods that estimate from images of the dataset are fitted anew, to those that are left of it.
    """
    dataset, model = open_dataset(config.dataset), bench.model
    methods = bench.methods
    if any(create(method, model.card).estimates for method in config.methods):
        methods = fit_methods(config.methods, model, lambda: reference_batches(dataset, model.card))
    perturber = open_perturber(config, dataset, model)
    return replace(bench, config=config, dataset=dataset, methods=methods, perturber=perturber, seen=None)
