"""A flow that says that it ran: what is scheduled in place of an audit."""

import os

from prefect import flow
from prefect.runtime import flow_run


@flow(name="tick")
def tick(log: str) -> None:
    """One line, written whole: the moment for which this run was scheduled, and the id of the run."""
    line = f"{flow_run.scheduled_start_time.isoformat()} {flow_run.id}\n"
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)
