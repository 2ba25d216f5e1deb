"""An audit that a person waits for: what can start side by side does, progress and result are printed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from flows import foresight, progress, terminal
from flows.beside import refuse_unusable
from flows.metrics_file import MetricsFile
from flows.server import start_server
from flows.settings import load_tensorflow
from pipeline.config import Config, parse_config
from pipeline.measure.beforehand import glance, glance_reference
from pipeline.run import start_up
from pipeline.run.costs import duration
from pipeline.run.store import Store
from pipeline.trust import NOTHING, Trust

if TYPE_CHECKING:
    from flows.run import AuditResult
    from pipeline.inputs.datasets import Dataset


def audit(
    config: Config,
    out: str,
    report: bool = True,
    trust: Trust = NOTHING,
    seconds: float | None = None,
    metrics: str | None = None,
) -> AuditResult:
    """Run the audit with progress, then print the ranking and where the report is.

    ``trust``: what may be executed for the model; ``seconds``: how long it may take: budgets are chosen that
    fit, unless the run was begun before; ``metrics``: a file that Prometheus reads.

    Raises:
        InputError, ConfigError, ExplainError: something cannot be used; too many images failed.
    """
    start_up.begin()
    start_up.reached(start_up.COMMAND)
    file = MetricsFile(Path(metrics), out) if metrics else None
    with progress.shown_on(terminal.console, file):
        return _audit(config, out, report, trust, seconds)


def _audit(config: Config, out: str, report: bool, trust: Trust, seconds: float | None) -> AuditResult:
    run = Store(out)
    if seconds is not None:
        config = foresight.begun(config, run)
    refuse_unusable(config)
    dataset = glance(config, trust, run)
    glance_reference(config, trust)
    config = run.settled(config)
    start_up.reached(start_up.INPUT)
    _get_ready(config, trust, dataset, run)
    if seconds is not None:
        config = _fitted(config, trust, run, seconds)
    from flows.run import RANKING, REPORT, TooManyFailed, run_audit
    from pipeline.run.documents import GroupsDocument, ReferenceDocument, SanityDocument

    try:
        with progress.looks_shown_by(terminal.print_decisions):
            result = run_audit(config, out, REPORT if report else RANKING, terminal.console, trust)
    except TooManyFailed as error:
        terminal.print_result(error.result)
        raise
    terminal.print_result(result)
    terminal.print_groups(GroupsDocument.current(run))
    if result.ranking is not None:
        terminal.print_reference(ReferenceDocument.current(run), result.ranking)
    checks = SanityDocument.read(run)
    terminal.print_unchecked((checks and checks.unchecked) or {})
    return result


def _get_ready(config: Config, trust: Trust, dataset: Dataset | None, run: Store) -> None:
    """Prefect's server starts while the model is loaded and compiled; a new run looks at images then, too."""
    server = start_server()
    work = "choosing the method on a few images" if config.automatic else "compiling the methods"
    with progress.waiting(f"loading the model, {work}"):
        load_tensorflow()
        start_up.reached(start_up.FRAMEWORK)
        from pipeline.measure.benches import bench_for

        looks = not run.exists and not config.audit.precision  # which holds for all threads
        bench = bench_for(config, trust, dataset, looks)
        if server is not None:
            server.wait()
        start_up.reached(start_up.SERVER)
    if bench.choice is not None:
        terminal.print_choice(bench.choice)


def _fitted(config: Config, trust: Trust, run: Store, seconds: float) -> Config:
    """The configuration with budgets that fit, said; as it is, where the run was begun before."""
    from pipeline.measure.bench import rebudgeted
    from pipeline.measure.benches import bench_for, keep

    if run.exists:
        terminal.print_line("--time: the run was begun before; it keeps its budgets")
        return config
    bench = bench_for(config, trust)
    with progress.waiting("measuring what it costs here"):
        budget = foresight.fitted_to(seconds, bench)
    terminal.print_line(f"--time {duration(seconds)}: {budget.words}")
    if budget.config != config:
        keep(rebudgeted(bench, budget.config), trust)
    return budget.config


def demo(out: str) -> None:
    """Draw, train, audit, rank, report; say what was planted and where it ended up."""
    started = time.perf_counter()
    root = Path(out)
    config = parse_config(
        {
            "dataset": {"source": "planted", "path": str(root / "data")},
            "model": {"source": "planted"},
            "methods": [{"name": "lrp.preset_a"}],
        },
        "demo",
    )
    result = audit(config, str(root / "run"))
    if result.ranking is not None:
        terminal.print_planted(result.ranking)
    terminal.print_line(f"demo finished in {time.perf_counter() - started:.0f} s")
