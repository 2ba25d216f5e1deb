"""What a task costs beside its work: sleep-bound tasks over two workers of each runner.

    python -m benchmarks.runners [--tasks 1000] [--sleep 0.05] [--runner processes ...]

Per task, in ms: the time between the first tenth of the results and the last, over their number, without the
sleep of ``1 / workers`` tasks. ``start``: seconds to the first result. Alone on the machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from flows.settings import prepare_prefect

prepare_prefect()

from prefect import flow, task  # noqa: E402 - its settings are read at import
from prefect.cache_policies import NO_CACHE  # noqa: E402

from flows import progress, runners  # noqa: E402
from flows.server import start_server  # noqa: E402
from pipeline.config_sections import ExecutionConfig  # noqa: E402

WORKERS = 2


@task(name="sleep", task_run_name="{key}", cache_policy=NO_CACHE, persist_result=False)
def sleep_task(key: str, seconds: float) -> int:
    """One task."""
    time.sleep(seconds)
    return 1


@flow(name="sleepy", validate_parameters=False, persist_result=False)
def sleepy_flow(runner: str, tasks: int, seconds: float) -> list[float]:
    """Moments at which results came, in seconds since the start."""
    moments: list[float] = []
    began = time.perf_counter()

    class Noted(progress.Meter):
        def finish(self, shard: str, images: int) -> None:
            moments.append(time.perf_counter() - began)
            super().finish(shard, images)

    progress.Meter, meter = Noted, progress.Meter  # type: ignore[misc]
    try:
        execution = ExecutionConfig(runner=runner, workers=WORKERS)  # type: ignore[arg-type]
        runners.run_tasks(sleep_task, {f"t{i}": 1 for i in range(tasks)}, {"seconds": seconds}, execution)
    finally:
        progress.Meter = meter  # type: ignore[misc]
    return moments


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--sleep", type=float, default=0.05)
    parser.add_argument("--runner", nargs="*", default=list(runners.RUNNERS))
    given = parser.parse_args(arguments)
    if (server := start_server()) is not None:
        server.wait()
    print(f"{given.tasks} tasks of {given.sleep * 1000:.0f} ms, {WORKERS} workers")
    for runner in given.runner:
        moments = sleepy_flow(runner, given.tasks, given.sleep)
        first = given.tasks // 10
        apart = (moments[-1] - moments[first]) / (given.tasks - 1 - first)
        overhead = 1000 * (apart - given.sleep / WORKERS)
        print(f"{runner:10} start {moments[0]:5.1f} s, overhead {overhead:6.1f} ms per task", flush=True)


if __name__ == "__main__":
    main()
