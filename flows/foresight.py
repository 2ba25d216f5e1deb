"""What a run will cost, said before its first image; budgets that fit a given time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.inputs.shards import parse_key
from pipeline.run.costs import CHOICE, Forecast, StageCost

if TYPE_CHECKING:
    from explainers import Fitted
    from pipeline.config import Config
    from pipeline.measure.bench import Bench
    from pipeline.measure.budgets import Budget
    from pipeline.measure.forecast import Speeds
    from pipeline.run.store import Store

_measured: tuple[Mapping[str, Fitted], Speeds] | None = None  # the last calibration, and of what


def speeds_of(bench: Bench) -> Speeds:
    """What things cost with these methods on this machine; measured once, in a few seconds."""
    global _measured
    from pipeline.measure.calibration import calibrate

    if _measured is None or _measured[0] is not bench.methods:
        _measured = bench.methods, calibrate(bench)
    return _measured[1]


def foresee(run: Store | None, bench: Bench) -> Forecast | None:
    """What ``run`` will cost, or what is left of it; None where nothing is left to do.

    Where the method was chosen for the bench, that is its first stage, as measured: it is over by then.
    """
    from pipeline.measure.calibration import work_of
    from pipeline.measure.forecast import forecast

    work = work_of(bench)
    if run is not None and run.exists:
        left = sum(len(parse_key("", key)) for key in run.missing())
        work = replace(work, images=left)
    if not work.images:
        return None
    config, chosen = bench.config, bench.choice
    if chosen is None:
        return forecast(config, work, speeds_of(bench))
    # which has checked the method already
    config = config.model_copy(update={"sanity": config.sanity.model_copy(update={"images": 0})})
    spent = StageCost(CHOICE, chosen.images, chosen.passes, chosen.seconds)
    return Forecast((spent, *forecast(config, work, speeds_of(bench)).stages))


def fitted_to(seconds: float, bench: Bench) -> Budget:
    """Budgets for ``seconds``, loading the model included. Raises InputError where they are too few."""
    from pipeline.measure.budgets import fit
    from pipeline.measure.calibration import work_of

    return fit(bench.config, work_of(bench), speeds_of(bench), seconds, bench.seconds)


def begun(config: Config, run: Store) -> Config:
    """``config`` with the budgets that ``run`` was begun with: an unfinished run keeps them."""
    from pipeline.config import parse_config

    if not run.exists:
        return config
    stored = parse_config(run.manifest["config"], run.path)
    update = {"limit": stored.dataset.limit, "choice": stored.dataset.choice}
    dataset = config.dataset.model_copy(update=update)
    return config.model_copy(update={"dataset": dataset, "perturbation": stored.perturbation})
