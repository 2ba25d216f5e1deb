"""An audit that a person waits for: what can start side by side does, progress and result are printed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from flows import progress, terminal
from flows.server import start_server
from flows.settings import load_tensorflow
from pipeline.config import Config, parse_config
from pipeline.measure.beforehand import glance
from pipeline.run.store import Store
from pipeline.trust import NOTHING, Trust

if TYPE_CHECKING:
    from flows.run import AuditResult
    from pipeline.inputs.datasets import Dataset


def audit(config: Config, out: str, report: bool = True, trust: Trust = NOTHING) -> AuditResult:
    """Run the audit with progress, then print the ranking and where the report is.

    ``trust``: what may be executed for the model.

    Raises:
        InputError, ConfigError, ExplainError: something cannot be used; too many images failed.
    """
    dataset = glance(config, trust, Store(out))
    _get_ready(config, trust, dataset)
    from flows.run import RANKING, REPORT, TooManyFailed, run_audit
    from pipeline.run.documents import GroupsDocument, SanityDocument

    try:
        with progress.looks_shown_by(terminal.print_decisions):
            result = run_audit(config, out, REPORT if report else RANKING, terminal.console, trust)
    except TooManyFailed as error:
        terminal.print_result(error.result)
        raise
    terminal.print_result(result)
    terminal.print_groups(GroupsDocument.current(Store(out)))
    checks = SanityDocument.read(Store(out))
    terminal.print_unchecked((checks and checks.unchecked) or {})
    return result


def _get_ready(config: Config, trust: Trust, dataset: Dataset | None) -> None:
    """Prefect's server starts while the model is loaded and compiled."""
    server = start_server()
    with terminal.console.status("loading the model, compiling the methods"):
        load_tensorflow()
        from pipeline.measure.bench import bench_for

        bench_for(config, trust, dataset)
        if server is not None:
            server.wait()


def demo(out: str) -> None:
    """Draw, train, audit, rank, report; say what was planted and where it ended up."""
    started = time.perf_counter()
    root = Path(out)
    config = parse_config(
        {
            "dataset": {"source": "planted", "path": str(root / "data")},
            "model": {"source": "planted"},
            "methods": [{"name": "lrp.preset_a"}],
            "confirm": {"top": 5, "controls": 7},
        },
        "demo",
    )
    result = audit(config, str(root / "run"))
    if result.ranking is not None:
        terminal.print_planted(result.ranking)
    terminal.print_line(f"demo finished in {time.perf_counter() - started:.0f} s")
