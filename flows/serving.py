"""The audit on a schedule, served by this machine.

With ``PREFECT_API_URL`` the deployment goes to that server. Without one a local server is started for as long
as this process serves: the temporary server of single runs has no scheduler.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from flows.beside import refuse_unusable
from flows.lifeline import follow_parent
from flows.nightly import THEN, Night
from flows.schedule import Schedule, check_schedule
from flows.server import scheduling_server
from flows.settings import load_tensorflow
from pipeline.config import Config, parse_config
from pipeline.errors import InputError
from pipeline.measure.beforehand import glance
from pipeline.trust import NOTHING, Trust


def serve_audit(
    config: Config, night: Night, schedule: Schedule, trust: Trust = NOTHING, then: str = ""
) -> None:
    """Try the configuration out, then serve it until interrupted (Ctrl-C, SIGTERM), which is no failure.

    ``night``: where runs go and what follows them; ``then``: a command that follows, which stays in this
    process's environment. ``trust``: what its runs may execute for the model; it goes with the deployment.

    Raises:
        ConfigError, InputError: the schedule or something in the configuration cannot be used; nothing is
            served then.
    """
    check_schedule(night.out, schedule)
    night.check(then)
    refuse_unusable(config)
    glance(config, trust)
    try_out(config, trust)
    with scheduling_server():
        from flows.audit_runner import serve

        os.environ[THEN] = then
        given = {"config": config.model_dump(mode="json"), "out": night.out, "trust": trust.to_dict()}
        given["night"] = night.to_dict()
        serve(given, schedule)


def try_out(config: Config, trust: Trust) -> None:
    """Open dataset, model and methods in a process of its own, whose memory is given back."""
    with ProcessPoolExecutor(1, get_context("spawn"), follow_parent) as pool:
        pool.submit(_open, config.model_dump(mode="json"), trust).result()


def _open(config: dict, trust: Trust) -> None:
    load_tensorflow()
    from pipeline.measure.bench import open_bench
    from pipeline.measure.benches import bench_for

    tried = parse_config(config)
    try:
        # which method it would choose is asked when it runs
        (open_bench if tried.automatic else bench_for)(tried, trust)
    except ValueError as error:  # ExplainError's own constructors do not survive the way between processes
        if type(error).__name__ in ("ConfigError", "InputError"):
            raise
        raise InputError(str(error)) from None
